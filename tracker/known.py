"""What is known of live files without reading them, and whether one is as an entry says.

The state of the scan is asked a row at a time, so that the cost follows the names asked for and not
the folder. Times are not compared: a file that was only touched is as it was.
"""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor

from msgspec.structs import replace

from ..store import content, directories
from ..store.content import NodeSource, block_count
from ..store.ids import NULL, block_id
from ..store.nodes import Entry, EntryKind
from ..store.repository import Repository
from .block_reader import OPEN_FLAGS
from .compare import live_differences
from .metadata import KINDS, Stat, at, make_entry, read_xattrs
from .scan_state import MAPPED, Part, ScanState, file_signature
from .snapshot import xattr_filter
from .unrestored import Unrestored


def is_alike(one: Entry, other: Entry) -> bool:
    """Whether two entries that are no folders say the same, but for name, times and hard links."""
    return _essence(one) == _essence(other)


def _essence(entry: Entry) -> tuple[object, ...]:
    more = entry.more
    owner = entry.mode if entry.kind != EntryKind.SYMLINK else 0, entry.uid, entry.gid
    what = entry.kind, entry.size, entry.content, more.target, more.device
    return owner, what, more.xattrs


class Rows:
    """The rows of the scan state, looked up by open folder and name; the last one is kept."""

    def __init__(self, state: ScanState) -> None:
        self._state = state
        self._last: tuple[int, Part, dict[bytes, int]] | None = None

    def find(self, inode: int, name: bytes) -> tuple[Part, int] | None:
        """The row that knows a name of the folder with this inode number, and its place there."""
        last = self._last
        if last is None or last[0] != inode or not last[1].names[0] <= name <= last[1].names[-1]:
            rows = self._state.parts_between(inode, name, name)
            if not rows:
                return None
            part = rows[0]
            self._last = last = inode, part, {text: spot for spot, text in enumerate(part.names)}
        place = last[2].get(name)
        return None if place is None else (last[1], place)

    def recorded(
        self, source: NodeSource, folder: int, name: bytes, info: os.stat_result, trust: int
    ) -> Entry | None:
        """What the state says that a live name of an open folder is, if it has that very stat, and
        the doubt is not above `trust`."""
        found = self.find(os.fstat(folder).st_ino, name)
        if found is None:
            return None
        part, place = found
        if part.signature(place) != file_signature(info) or part.flag(place) > trust:
            return None
        return directories.load_leaf(source, part.leaf).entries[place]


class Known:
    """Used by one thread; `pool` hashes."""

    def __init__(self, repository: Repository, state: ScanState, pool: ThreadPoolExecutor) -> None:
        self._source = repository.store
        self._block_size = repository.block_size
        self._keep = xattr_filter(repository)
        self._unrestored = Unrestored(repository)
        self._rows = Rows(state)
        self._pool = pool

    def is_as(self, folder: int, path: bytes, info: os.stat_result, entry: Entry) -> bool:
        """Whether the live name, no folder, is as `entry` says. OSError."""
        name = path.rpartition(b"/")[2]
        if KINDS.get(stat.S_IFMT(info.st_mode)) != entry.kind:
            return False
        stored = self._rows.recorded(self._source, folder, name, info, MAPPED)
        if stored is not None:
            return is_alike(stored, entry)
        return self._rest_fits(folder, name, path, info, entry) and self._data_fits(
            folder, name, entry
        )

    def _rest_fits(
        self, folder: int, name: bytes, path: bytes, info: os.stat_result, entry: Entry
    ) -> bool:
        xattrs = read_xattrs(at(folder, name), self._keep)
        live = self._unrestored.apply(path, make_entry(name, _as_file(info), xattrs=xattrs))
        mode = live.mode if entry.kind != EntryKind.SYMLINK else entry.mode
        if (mode, live.uid, live.gid, live.more.xattrs) != (
            entry.mode,
            entry.uid,
            entry.gid,
            entry.more.xattrs,
        ):
            return False
        if entry.kind == EntryKind.SYMLINK:
            return os.readlink(name, dir_fd=folder) == entry.more.target
        return entry.more.device is None or info.st_rdev == entry.more.device

    def _data_fits(self, folder: int, name: bytes, entry: Entry) -> bool:
        if not entry.is_file:
            return True
        descriptor = os.open(name, OPEN_FLAGS, dir_fd=folder)
        try:
            size = os.fstat(descriptor).st_size
            if size != entry.size:
                return False
            found = live_differences(
                self._source, entry, descriptor, size, self._block_size, self._pool
            )
            return next(found, None) is None
        finally:
            os.close(descriptor)

    def stores_came_late(self, folder: int, name: bytes, old: Entry, new: Entry) -> bool:
        """Whether a file of which the state is sure but for stores through a mapping, which move no
        time, has other blocks than `old` where `new` would be written."""
        found = self._rows.find(os.fstat(folder).st_ino, name)
        if found is None or found[0].flag(found[1]) != MAPPED or not (old.is_file and new.is_file):
            return False
        size = self._block_size
        sides = [(entry.content, block_count(entry.size, size)) for entry in (old, new)]
        descriptor = os.open(name, OPEN_FLAGS, dir_fd=folder)
        try:
            for item in content.differences(self._source, sides[0], sides[1]):
                data = os.pread(descriptor, size, item.number * size)
                if (block_id(data) if data.strip(b"\0") else NULL) != item.old:
                    return True
            return False
        finally:
            os.close(descriptor)

    def folder_fits(self, path: bytes, descriptor: int, entries: tuple[Entry, ...]) -> bool:
        """Whether a live folder's own metadata, but for times, are those of one of the entries."""
        info = os.fstat(descriptor)
        live = make_entry(b".", _as_file(info), xattrs=read_xattrs(descriptor, self._keep))
        live = self._unrestored.apply(path, live)
        return own_metadata(live) in map(own_metadata, entries)


def own_metadata(folder: Entry) -> tuple[object, ...]:
    """What a folder's entry says of the folder itself, but for times."""
    return folder.mode, folder.uid, folder.gid, folder.more.xattrs


def _as_file(info: os.stat_result) -> Stat:
    """The stat with the type of a plain file: only owner and mode are asked for."""
    return replace(Stat.of(info, 0), st_mode=stat.S_IFREG | stat.S_IMODE(info.st_mode))
