"""Status: what differs between the live tree and HEAD.

The same walk as a commit's, comparing instead of building. Files whose stat fits the state of the
scan are not read; others are read only when nothing in their stat tells them apart. A new folder is
one line and not walked, unless `into_new` asks for what is in it. Folders themselves are reported
when more than their mtime changed; those with new times only are counted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

from ..store import directories
from ..store.content import NodeSource
from ..store.errors import storage_error
from ..store.nodes import Child, Entry, EntryKind
from ..store.progress import SILENT, Progress
from ..store.repository import Repository
from .block_reader import OPEN_FLAGS
from .changes import Region, changed_regions, regions
from .compare import live_differences
from .metadata import KINDS, XattrFilter, at, folder_entry, read_xattrs
from .placing import is_foreign
from .report import Report
from .scan import FOLDER_FLAGS, Closed, Filled, Group, LiveFolder, Opened, Slot, Walk
from .scan_state import MAPPED, ScanState
from .snapshot import head_commit, top_entry, xattr_filter
from .unrestored import Unrestored

What = Literal["new", "modified", "deleted"]


class StatusItem(NamedTuple):
    """One path that differs. `regions` are given for modified files when they were asked for."""

    what: What
    path: bytes
    is_folder: bool
    regions: tuple[Region, ...] = ()


class _HeadCursor:
    """The entries that HEAD has in one folder, taken in order beside the live names."""

    def __init__(self, source: NodeSource, folder: Entry | None) -> None:
        self._source = source
        self._leaves: list[Child] = (
            list(directories.leaves(source, folder.content)) if folder else []
        )
        self._next_leaf = 0
        self._loaded: list[Entry] = []

    def skip(self, leaf: bytes) -> bool:
        """Pass over a whole leaf, if it is the next thing."""
        if self._loaded or self._next_leaf == len(self._leaves):
            return False
        if self._leaves[self._next_leaf].node != leaf:
            return False
        self._next_leaf += 1
        return True

    def take(self, upto: bytes | None) -> list[Entry]:
        """The entries not taken yet whose names are at most `upto`; all of them for None."""
        while self._next_leaf < len(self._leaves):
            if upto is not None and self._loaded and self._loaded[-1].name >= upto:
                break
            leaf = self._leaves[self._next_leaf]
            self._next_leaf += 1
            self._loaded += directories.load_leaf(self._source, leaf.node).entries
        count = len(self._loaded)
        if upto is not None:
            count = sum(entry.name <= upto for entry in self._loaded)
        taken, self._loaded = self._loaded[:count], self._loaded[count:]
        return taken


class StatusScan:
    """One comparison of the tree at `top` with what `head` holds, HEAD's commit, or with another
    stored tree, by its top folder `base`. `items` may be iterated once; `report` and `touched`
    (folders with new times only) are complete after it."""

    def __init__(
        self,
        repository: Repository,
        top: Path,
        *,
        base: Entry | None = None,
        want_regions: bool = False,
        into_new: bool = False,
        progress: Progress = SILENT,
    ) -> None:
        self._repository = repository
        self._source = repository.store
        self._top = top
        self._want_regions = want_regions
        self._into_new = into_new
        self._progress = progress
        self._keep: XattrFilter = xattr_filter(repository)
        self._cursors: list[_HeadCursor] = []
        self._folders: dict[bytes, Entry | None] = {}
        self.head = head_commit(repository)
        self._base = base or top_entry(repository, self.head)
        self._unrestored = Unrestored(repository)
        self.report = Report()
        self.touched = 0

    def items(self) -> Iterator[StatusItem]:
        try:
            top = os.open(self._top, FOLDER_FLAGS)
        except OSError as error:
            raise storage_error(f"opening {self._top}", error) from error
        self._pool = ThreadPoolExecutor(self._repository.threads, thread_name_prefix="compare")
        open_folders: list[LiveFolder] = []
        try:
            walk = Walk(
                top,
                ScanState(self._repository.catalog, self._top),
                self.report,
                keep=self._keep,
                on_file=lambda _folder, _slot: None,
                trust=MAPPED,
                enter=lambda folder: folder.path in self._folders,
            )
            for event in walk.events():
                match event:
                    case Opened(folder):
                        open_folders.append(folder)
                        yield from self._opened(folder)
                    case Filled(group):
                        yield from self._filled(group)
                    case Closed(folder):
                        yield from self._closed(folder)
                        open_folders.pop()
        finally:
            for folder in open_folders:
                folder.close()
            self._pool.shutdown(cancel_futures=True)
            os.close(top)

    # -- folders ---------------------------------------------------------------------------------

    def _opened(self, folder: LiveFolder) -> Iterator[StatusItem]:
        before = self._folders.pop(folder.path) if folder.path else self._base
        self._cursors.append(_HeadCursor(self._source, before))
        if before is not None:
            yield from self._folder_itself(folder, before)

    def _folder_itself(self, folder: LiveFolder, before: Entry) -> Iterator[StatusItem]:
        live = folder_entry(folder.name, folder.info, folder.xattrs, before.content, 0, 0)
        live = self._unrestored.apply(folder.path[:-1], live)
        wanted = (before.mode, before.uid, before.gid, before.more.xattrs)
        if (live.mode, live.uid, live.gid, live.more.xattrs) != wanted:
            yield StatusItem("modified", folder.path or b"./", True)
        elif live.mtime_ns != before.mtime_ns:
            self.touched += 1

    def _closed(self, folder: LiveFolder) -> Iterator[StatusItem]:
        for entry in self._cursors.pop().take(None):
            yield StatusItem("deleted", folder.path + entry.name, entry.is_folder)
        folder.close()

    # -- names -----------------------------------------------------------------------------------

    def _filled(self, group: Group) -> Iterator[StatusItem]:
        cursor = self._cursors[-1]
        part = group.part
        self._progress.advance(files=len(group.slots))
        whole = part is not None and group.same and all(slot.kept >= 0 for slot in group.slots)
        if whole and part is not None and cursor.skip(part.leaf):
            return
        if not group.slots:
            return
        before = {entry.name: entry for entry in cursor.take(group.slots[-1].name)}
        stored: dict[bytes, Entry] = {}
        if part is not None and any(slot.kept >= 0 for slot in group.slots):
            leaf = directories.load_leaf(self._source, part.leaf)
            stored = {entry.name: entry for entry in leaf.entries}
        for slot in group.slots:
            old = before.pop(slot.name, None)
            yield from self._name(group.folder, slot, old, stored.get(slot.name))
        for entry in before.values():
            yield StatusItem("deleted", group.folder.path + entry.name, entry.is_folder)

    def _name(
        self, folder: LiveFolder, slot: Slot, old: Entry | None, stored: Entry | None
    ) -> Iterator[StatusItem]:
        path = folder.path + slot.name
        if slot.info is None:
            return
        if slot.is_folder:
            if old is not None and old.is_folder:
                self._folders[path + b"/"] = old
            elif not is_foreign(folder.descriptor, slot.name, slot.info, slot.info.st_dev):
                yield StatusItem("new" if old is None else "modified", path + b"/", True)
                if self._into_new and not slot.hollow:
                    self._folders[path + b"/"] = None
            elif old is not None:  # a repository of its own is no part of the tree
                yield StatusItem("deleted", path, False)
            return
        if old is None:
            yield StatusItem("new", path, False)
        elif slot.kept >= 0 and stored is not None:
            if stored != old:
                found = self._stored_regions(path, old, stored)
                yield StatusItem("modified", path, False, found)
        else:
            try:
                yield from self._live_file(folder, slot, old)
            except FileNotFoundError:
                yield StatusItem("deleted", path, False)
            except OSError as error:
                self.report.failed(path, "read", error)

    def _stored_regions(self, path: bytes, old: Entry, new: Entry) -> tuple[Region, ...]:
        if not self._want_regions or not new.is_file:
            return ()
        size = self._repository.block_size
        return tuple(changed_regions(self._source, path, old, new, size))

    def _live_file(self, folder: LiveFolder, slot: Slot, old: Entry) -> Iterator[StatusItem]:
        """A file whose stat is not the one that is known."""
        path = folder.path + slot.name
        info = slot.info
        assert info is not None
        if KINDS.get(stat.S_IFMT(info.st_mode)) != old.kind:
            yield StatusItem("modified", path, False)
            return
        differs = self._stat_differs(info, old)
        if old.is_file and (self._want_regions or not differs):
            found = self._live_regions(folder.descriptor, slot.name, path, old)
            if differs or found:
                yield StatusItem("modified", path, False, found if self._want_regions else ())
                return
        if not differs:
            differs = self._rest_differs(folder.descriptor, slot.name, old)
        if differs:
            yield StatusItem("modified", path, False)

    def _stat_differs(self, info: os.stat_result, old: Entry) -> bool:
        live = (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns)
        if live != (old.mode, old.uid, old.gid, old.mtime_ns):
            return True
        return old.is_file and info.st_size != old.size

    def _rest_differs(self, folder: int, name: bytes, old: Entry) -> bool:
        if old.kind == EntryKind.SYMLINK and os.readlink(name, dir_fd=folder) != old.more.target:
            return True
        return read_xattrs(at(folder, name), self._keep) != old.more.xattrs

    def _live_regions(
        self, folder: int, name: bytes, path: bytes, old: Entry
    ) -> tuple[Region, ...]:
        """The regions in which a live file differs; only the first unless regions were asked."""
        size = self._repository.block_size
        descriptor = os.open(name, OPEN_FLAGS, dir_fd=folder)
        try:
            length = os.fstat(descriptor).st_size
            found = live_differences(self._source, old, descriptor, length, size, self._pool)
            numbers = (number for number, _, _ in found if number * size < length)
            runs = regions(path, numbers, length, size)
            if self._want_regions:
                return tuple(runs)
            first = next(runs, None)
            return (first,) if first else ()
        finally:
            os.close(descriptor)
