"""Status: what differs between the live tree and HEAD.

The same walk as a commit's, comparing instead of building. Files whose stat fits the state of the
scan are not read; others are read only when nothing in their stat tells them apart. A new folder is
one line and not walked, unless `into_new` asks for what is in it. Folders themselves are reported
when more than their mtime changed; those with new times only are counted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from ..store import directories
from ..store.content import NodeSource
from ..store.nodes import Child, Entry
from ..store.progress import SILENT, Progress
from ..store.repository import Repository
from .changes import Region, changed_regions
from .live_file import LiveFiles, Suspects
from .live_top import live_top
from .metadata import XattrFilter, folder_entry
from .placing import is_foreign
from .report import Report
from .scan import Closed, Filled, Group, LiveFolder, Opened, Slot, Walk
from .scan_state import MAPPED, Part, ScanState, file_signature
from .snapshot import head_commit, top_entry, xattr_filter
from .unrestored import Unrestored

What = Literal["new", "modified", "deleted"]


class StatusItem(NamedTuple):
    """One path that differs. `regions` are given for modified files when they were asked for.
    `inode` is the number of what lies there, 0 for nothing; `sizes`, in bytes, those of the base
    and of the live tree, where both have a file, or both a folder (0 for these)."""

    what: What
    path: bytes
    is_folder: bool
    regions: tuple[Region, ...] = ()
    inode: int = 0
    sizes: tuple[int, int] | None = None


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
    """One comparison of the repository's tree at `top` with what `head` holds, HEAD's commit, or
    with another stored tree, by its top folder `base`. `items` may be iterated once; `report` and
    `touched` (folders with new times only, each told to `on_touched`) are complete after it.
    `suspects` may spare reading a changed file whole; `trust` is as a walk's. `folders`
    are those that the walk is in when it gives an item, the top first."""

    def __init__(
        self,
        repository: Repository,
        top: Path,
        *,
        base: Entry | None = None,
        want_regions: bool = False,
        into_new: bool = False,
        on_touched: Callable[[LiveFolder], None] = lambda _folder: None,
        suspects: Suspects = lambda _path, _info, _size: None,
        trust: int = MAPPED,
        progress: Progress = SILENT,
    ) -> None:
        self._repository = repository
        self._source = repository.store
        self._top = top
        self._want_regions = want_regions
        self._into_new = into_new
        self._on_touched = on_touched
        self._files = LiveFiles(repository, suspects, want_regions=want_regions)
        self._trust = trust
        self._progress = progress
        self._keep: XattrFilter = xattr_filter(repository)
        self._cursors: list[_HeadCursor] = []
        self._folders: dict[bytes, Entry | None] = {}
        self.head = head_commit(repository)
        self._base = base or top_entry(repository, self.head)
        self._unrestored = Unrestored(repository)
        self.report = Report()
        self.touched = 0
        self.other_links = False
        """Whether a file with several names was met that is not the one that was recorded."""
        self.folders: list[LiveFolder] = []

    def items(self) -> Iterator[StatusItem]:
        with live_top(self._repository, self._top) as top, self._files:
            yield from self._items(top)

    def _items(self, top: int) -> Iterator[StatusItem]:
        try:
            walk = Walk(
                top,
                ScanState(self._repository.catalog, top),
                self.report,
                keep=self._keep,
                on_file=lambda _folder, _slot: None,
                trust=self._trust,
                enter=lambda folder: folder.path in self._folders,
            )
            for event in walk.events():
                match event:
                    case Opened(folder):
                        self.folders.append(folder)
                        yield from self._opened(folder)
                    case Filled(group):
                        yield from self._filled(group)
                    case Closed(folder):
                        yield from self._closed(folder)
                        self.folders.pop()
        finally:
            for folder in self.folders:
                folder.close()

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
            path, inode = folder.path or b"./", folder.info.st_ino
            yield StatusItem("modified", path, True, (), inode, (0, 0))
        elif live.mtime_ns != before.mtime_ns:
            self.touched += 1
            self._on_touched(folder)

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
            self._look_at_links(part, slot, old)
            yield from self._name(group.folder, slot, old, stored.get(slot.name))
        for entry in before.values():
            yield StatusItem("deleted", group.folder.path + entry.name, entry.is_folder)

    def _look_at_links(self, part: Part | None, slot: Slot, old: Entry | None) -> None:
        """A file with other names, now or in the base, must be the very one that was recorded, or
        it is not known whose names they are."""
        if slot.info is None or slot.is_folder or slot.kept >= 0:
            return
        if slot.info.st_nlink > 1 or (old is not None and old.more.group is not None):
            spot = part.names.index(slot.name) if part and slot.name in part.names else -1
            if part is None or spot < 0 or part.signature(spot) != file_signature(slot.info):
                self.other_links = True

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
                what: What = "new" if old is None else "modified"
                yield StatusItem(what, path + b"/", True, (), slot.info.st_ino)
                if self._into_new and not slot.hollow:
                    self._folders[path + b"/"] = None
            elif old is not None:  # a repository of its own is no part of the tree
                yield StatusItem("deleted", path, False)
            return
        if old is None:
            yield StatusItem("new", path, False, (), slot.info.st_ino)
        elif slot.kept >= 0 and stored is not None:
            if stored != old:
                found = self._stored_regions(path, old, stored)
                yield _modified(path, slot.info, old, found)
        else:
            there = folder.descriptor, path, slot.info
            yield from live_difference(self._files, self.report, *there, old)

    def _stored_regions(self, path: bytes, old: Entry, new: Entry) -> tuple[Region, ...]:
        if not self._want_regions or not new.is_file:
            return ()
        size = self._repository.block_size
        return tuple(changed_regions(self._source, path, old, new, size))


def live_difference(
    files: LiveFiles, report: Report, folder: int, path: bytes, info: os.stat_result, old: Entry
) -> Iterator[StatusItem]:
    """What there is to say of a live name in an open folder that has an entry, `old`, and is no
    folder itself; what could not be read is told to the report."""
    try:
        found = files.difference(folder, path, info, old)
    except FileNotFoundError:
        yield StatusItem("deleted", path, False)
    except OSError as error:
        report.failed(path, "read", error)
    else:
        if found is not None:
            yield _modified(path, info, old, found)


def _modified(
    path: bytes, info: os.stat_result, old: Entry, regions: tuple[Region, ...] = ()
) -> StatusItem:
    alike = old.is_file and stat.S_ISREG(info.st_mode)
    sizes = (old.size, info.st_size) if alike else None
    return StatusItem("modified", path, False, regions, info.st_ino, sizes)
