"""Status of an attached tree: what the driver's maps say, without a walk.

Each path that the maps name is looked up in the base, and looked at in the tree, below the mount,
as a scan looks at what it meets: a file that the maps have, but whose stat tells it from the base
in nothing, is read where it is marked. So the cost follows what changed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from operator import itemgetter
from pathlib import Path

from pyroaring import BitMap64

from ..store.nodes import Entry
from ..store.path_finder import PathFinder
from ..store.progress import SILENT, Progress
from ..store.repository import Repository
from .attached import Attachment, attachment
from .folder_chain import FolderChain
from .fuse.control import Reply, raw
from .ignore import FILE_NAME, NO_RULES, IgnoreRules
from .known import Rows, own_metadata
from .links import LinkTable
from .live_file import LiveFiles
from .metadata import KINDS, at, folder_entry, read_xattrs
from .placing import is_foreign, rules_in
from .report import Report
from .scan import RESERVED
from .scan_state import CLEAN, ScanState
from .snapshot import head_commit, top_entry, xattr_filter
from .status import StatusItem, StatusScan, What, live_difference
from .unrestored import Unrestored


class Unusable(Exception):
    """The maps cannot tell: a scan must."""


class MapStatus:
    """One comparison of the attached tree with HEAD, as `StatusScan` has it. `into_new` is not for
    it: Unusable from `items` where there is a new folder."""

    def __init__(
        self,
        repository: Repository,
        attached: Attachment,
        *,
        want_regions: bool = False,
        into_new: bool = False,
    ) -> None:
        self._repository = repository
        self._attached = attached
        self._into_new = into_new
        self.head = head_commit(repository)
        self._base = top_entry(repository, self.head)
        self._stored = PathFinder(repository.store, self._base)
        self._keep = xattr_filter(repository)
        self._unrestored = Unrestored(repository)
        self._links = LinkTable(repository.catalog)
        self._files = LiveFiles(repository, self._suspects, want_regions=want_regions)
        self._serials: dict[bytes, int] = {}
        self._rules: dict[bytes, IgnoreRules | None] = {}
        self.report = Report()
        self.touched = 0

    def are_of(self, base: Entry | None) -> bool:
        """Whether the maps say what differs from HEAD, and that is `base`, if one is given."""
        head = self.head.root.hex() if self.head else ""
        return self._attached.base == head and base in (None, self._base)

    def items(self) -> list[StatusItem]:
        """By path. Unusable where the maps cannot tell."""
        top = self._attached.backing()
        try:
            self._known = Rows(ScanState(self._repository.catalog, top))
            with FolderChain(top) as self._folders, self._files:
                return sorted(self._found().values(), key=lambda item: item.path)
        finally:
            os.close(top)

    def _found(self) -> dict[bytes, StatusItem]:
        rows = sorted(self._attached.rows("changes"), key=itemgetter("path"))
        if any(raw(row["path"]).rpartition(b"/")[2] == FILE_NAME for row in rows):
            raise Unusable
        if any(row["other"] and row["folder"] and self._had_folder(row) for row in rows):
            raise Unusable
        found: dict[bytes, StatusItem] = {}
        for row in rows:
            if row["what"] != "names" and row["path"]:
                for item in self._row(row):
                    found[item.path] = item
        for path in sorted({raw(row["path"]).rstrip(b"/") for row in filter(_is_folders, rows)}):
            for item in self._folder(path):
                found[item.path] = item
        if self._into_new and any(item.is_folder and item.sizes is None for item in found.values()):
            raise Unusable
        return found

    def _had_folder(self, row: Reply) -> bool:
        """Whether the base has a folder there: another in its place differs in all that is in it,
        which only a walk tells."""
        before = self._stored.find(raw(row["path"]))
        return before is not None and before.is_folder

    # -- names and files -------------------------------------------------------------------------

    def _row(self, row: Reply) -> Iterator[StatusItem]:
        """What a row comes to, beside the base and the live tree."""
        path = raw(row["path"])
        before = self._stored.find(path)
        info = self._live(path)
        if info is None:
            if before is not None:
                yield StatusItem("deleted", path, before.is_folder)
        elif stat.S_ISDIR(info.st_mode):
            if before is None or not before.is_folder:
                what: What = "new" if before is None else "modified"
                yield StatusItem(what, path + b"/", True, (), info.st_ino)
        elif before is None:
            yield StatusItem("new", path, False, (), info.st_ino)
        else:
            if not row["other"]:
                self._serials[path] = row["serial"]
            yield from self._file(path, info, before)

    def _file(self, path: bytes, info: os.stat_result, before: Entry) -> Iterator[StatusItem]:
        """A name that may be modified; so may the other names of the same file be, by which the
        driver need not have met it."""
        yield from self._difference(path, info, before)
        for other in self._links.others(path) if info.st_nlink > 1 else ():
            stored, there = self._stored.find(other), self._live(other)
            if stored is not None and there is not None and there.st_ino == info.st_ino:
                if path in self._serials:
                    self._serials[other] = self._serials[path]
                yield from self._difference(other, there, stored)

    def _difference(self, path: bytes, info: os.stat_result, before: Entry) -> Iterator[StatusItem]:
        parent, _, name = path.rpartition(b"/")
        folder = self._folders.reach(parent)
        # Of stores through a mapping, which move no time, the maps know better.
        known = self._known.recorded(self._repository.store, folder, name, info, CLEAN)
        if known != before:
            yield from live_difference(self._files, self.report, folder, path, info, before)

    def _suspects(self, path: bytes, info: os.stat_result, base_size: int) -> BitMap64 | None:
        """The blocks that are marked. Of a file that came into the place of another none are: its
        marks say how it differs from what it was."""
        serial = self._serials.get(path)
        if serial is None:
            return None
        change = self._attached.file_change(serial)
        return change.differing(self._repository.block_size, base_size, info.st_size)

    def _live(self, path: bytes) -> os.stat_result | None:
        """The stat of what is part of the tree there."""
        folder, _, name = path.rpartition(b"/")
        try:
            descriptor = self._folders.reach(folder)
            info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unusable from error  # the scan says which folder cannot be read
        is_folder = stat.S_ISDIR(info.st_mode)
        rules = self._rules_of(folder)
        if rules is None or rules.excludes(path, is_folder) or name.lower() == RESERVED:
            return None
        if is_folder:
            descriptor = self._folders.reach(folder)
            device = os.fstat(descriptor).st_dev
            return None if is_foreign(descriptor, name, info, device) else info
        if stat.S_IFMT(info.st_mode) in KINDS:
            return info
        self.report.socket(path)
        return None

    def _rules_of(self, folder: bytes) -> IgnoreRules | None:
        """The rules in force in a folder, None where it is ignored itself."""
        if folder not in self._rules:
            above: IgnoreRules | None = NO_RULES
            if folder:
                above = self._rules_of(folder.rpartition(b"/")[0])
                if above is not None and above.excludes(folder, True):
                    above = None
            if above is not None:
                path = folder + b"/" if folder else b""
                above = rules_in(above, self._folders.reach(folder), path)
            self._rules[folder] = above
        return self._rules[folder]

    # -- folders ---------------------------------------------------------------------------------

    def _folder(self, path: bytes) -> Iterator[StatusItem]:
        """A folder of the base that has changed attributes, or new times by its names."""
        before = self._stored.find(path)
        if before is None or not before.is_folder:
            return
        try:
            descriptor = self._folders.reach(path)
            info = os.fstat(descriptor)
            xattrs = read_xattrs(at(descriptor, b"."), self._keep)
        except OSError:
            return
        live = folder_entry(before.name, info, xattrs, before.content, 0, 0)
        live = self._unrestored.apply(path, live)
        if own_metadata(live) != own_metadata(before):
            shown = path + b"/" if path else b"./"
            yield StatusItem("modified", shown, True, (), info.st_ino, (0, 0))
        elif live.mtime_ns != before.mtime_ns:
            self.touched += 1


def _is_folders(row: Reply) -> bool:
    """Whether a row may tell of a folder's own metadata."""
    if row["what"] == "names":
        return True
    return row["what"] == "modified" and (row["folder"] or not row["path"])


def live_status(
    repository: Repository,
    top: Path,
    *,
    base: Entry | None = None,
    want_regions: bool = False,
    into_new: bool = False,
    progress: Progress = SILENT,
) -> tuple[MapStatus | StatusScan, list[StatusItem]]:
    """What differs between the live tree and HEAD, or another stored tree by its top folder, by
    path: from the maps of an attached tree where they are of HEAD's root and this is what is asked
    for, by a scan elsewhere."""
    attached = attachment(repository)
    if attached is not None:
        maps = MapStatus(repository, attached, want_regions=want_regions, into_new=into_new)
        if maps.are_of(base):
            with suppress(Unusable):
                return maps, maps.items()
    scan = StatusScan(
        repository, top, base=base, want_regions=want_regions, into_new=into_new, progress=progress
    )
    return scan, sorted(scan.items(), key=lambda item: item.path)
