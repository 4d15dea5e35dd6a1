"""Status of an attached tree: what the driver's maps say, without a walk.

Each path that the maps name is looked up in the base, and looked at in the tree where that tells
more: whether it is ignored, a socket or a repository of its own, whether a folder has more than new
times. So the cost follows what changed. A map may say too much: a file that was written with what
it held is modified here, until the next commit.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from ..store import trees
from ..store.errors import NotFound
from ..store.nodes import Entry
from ..store.progress import SILENT, Progress
from ..store.repository import Repository
from .attached import Attachment, attachment
from .changes import Region
from .fuse.control import Reply, raw
from .ignore import FILE_NAME, NO_RULES, IgnoreRules
from .links import LinkTable
from .metadata import KINDS, folder_entry, read_xattrs
from .placing import is_foreign
from .report import Report
from .scan import FOLDER_FLAGS, MAX_RULES, RESERVED
from .snapshot import head_commit, top_entry, xattr_filter
from .status import StatusItem, StatusScan, What, live_regions
from .unrestored import Unrestored


class Unusable(Exception):
    """The maps cannot tell: a scan must."""


class MapStatus:
    """One comparison of the attached tree at `top` with HEAD, as `StatusScan` has it. `into_new` is
    not for it: Unusable from `items` where there is a new folder."""

    def __init__(
        self,
        repository: Repository,
        top: Path,
        attached: Attachment,
        *,
        want_regions: bool = False,
        into_new: bool = False,
    ) -> None:
        self._repository = repository
        self._top = top
        self._attached = attached
        self._want_regions = want_regions
        self._into_new = into_new
        self.head = head_commit(repository)
        self._base = top_entry(repository, self.head)
        self._keep = xattr_filter(repository)
        self._unrestored = Unrestored(repository)
        self._rules: dict[bytes, IgnoreRules | None] = {}
        self.report = Report()
        self.touched = 0

    def are_of(self, base: Entry | None) -> bool:
        """Whether the maps say what differs from HEAD, and that is `base`, if one is given."""
        head = self.head.root.hex() if self.head else ""
        return self._attached.base == head and base in (None, self._base)

    def items(self) -> list[StatusItem]:
        """By path. Unusable where the maps cannot tell."""
        rows = list(self._attached.pages("changes", "after"))
        if any(raw(row["path"]).rpartition(b"/")[2] == FILE_NAME for row in rows):
            raise Unusable
        if any(row["other"] and row["folder"] and self._had_folder(row) for row in rows):
            raise Unusable
        found: dict[bytes, StatusItem] = {}
        for row in rows:
            if row["what"] != "names":
                for item in self._row(row):
                    found[item.path] = item
        folders = {raw(row["path"]).rstrip(b"/") for row in rows if self._may_be_touched(row)}
        for path in sorted(folders):
            self._folder(path, found)
        self._add_links(found)
        if self._into_new and any(item.is_folder and item.sizes is None for item in found.values()):
            raise Unusable
        if self._want_regions:
            self._add_regions(found)
            self._compare({raw(row["path"]) for row in rows if row["other"]}, found)
        return sorted(found.values(), key=lambda item: item.path)

    def _had_folder(self, row: Reply) -> bool:
        """Whether the base has a folder there: another in its place differs in all that is in it,
        which only a walk tells."""
        before = self._stored(raw(row["path"]))
        return before is not None and before.is_folder

    def _may_be_touched(self, row: Reply) -> bool:
        if row["what"] == "names":
            return True
        return row["what"] == "modified" and (row["folder"] or not row["path"])

    # -- names and files -------------------------------------------------------------------------

    def _row(self, row: Reply) -> Iterator[StatusItem]:
        """What a row comes to, beside the base and the live tree."""
        path = raw(row["path"])
        if not path:
            return
        before = self._stored(path)
        info = self._live(path)
        if info is None:
            if before is not None:
                yield StatusItem("deleted", path, before.is_folder)
        elif stat.S_ISDIR(info.st_mode):
            if before is None or not before.is_folder:
                yield StatusItem(_there(before), path + b"/", True, (), info.st_ino)
        else:
            alike = before is not None and before.is_file and stat.S_ISREG(info.st_mode)
            sizes = (before.size, info.st_size) if before is not None and alike else None
            yield StatusItem(_there(before), path, False, (), info.st_ino, sizes)

    def _stored(self, path: bytes) -> Entry | None:
        try:
            return trees.lookup(self._repository.store, self._base, path) if self._base else None
        except NotFound:
            return None

    def _live(self, path: bytes) -> os.stat_result | None:
        """The stat of what is part of the tree there."""
        folder, _, name = path.rpartition(b"/")
        try:
            info = os.stat(self._full(path), follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unusable from error  # the scan says which folder cannot be read
        is_folder = stat.S_ISDIR(info.st_mode)
        rules = self._rules_of(folder)
        if rules is None or rules.excludes(path, is_folder) or name.lower() == RESERVED:
            return None
        if not is_folder:
            if stat.S_IFMT(info.st_mode) in KINDS:
                return info
            self.report.socket(path)
            return None
        return None if self._is_foreign(path, info) else info

    def _is_foreign(self, path: bytes, info: os.stat_result) -> bool:
        folder, _, name = path.rpartition(b"/")
        descriptor = os.open(self._full(folder), FOLDER_FLAGS)
        try:
            return is_foreign(descriptor, name, info, os.fstat(descriptor).st_dev)
        finally:
            os.close(descriptor)

    def _full(self, path: bytes) -> bytes:
        top = os.fsencode(self._top)
        return top + b"/" + path if path else top

    def _rules_of(self, folder: bytes) -> IgnoreRules | None:
        """The rules in force in a folder, None where it is ignored itself."""
        if folder not in self._rules:
            above: IgnoreRules | None = NO_RULES
            if folder:
                parent = folder.rpartition(b"/")[0]
                above = self._rules_of(parent)
                if above is not None and above.excludes(folder, True):
                    above = None
            if above is not None:
                text = self._read_rules(folder)
                above = above.below(folder + b"/" if folder else b"", text) if text else above
            self._rules[folder] = above
        return self._rules[folder]

    def _read_rules(self, folder: bytes) -> bytes:
        path = self._full(folder + b"/" + FILE_NAME if folder else FILE_NAME)
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return os.read(descriptor, MAX_RULES)
            finally:
                os.close(descriptor)
        return b""

    # -- folders ---------------------------------------------------------------------------------

    def _folder(self, path: bytes, found: dict[bytes, StatusItem]) -> None:
        """Of a folder of the base that has changed attributes, or new times by its names."""
        before = self._stored(path) if path else self._base
        if before is None or not before.is_folder:
            return
        try:
            descriptor = os.open(self._full(path), FOLDER_FLAGS)
        except OSError:
            return
        try:
            info = os.fstat(descriptor)
            xattrs = read_xattrs(descriptor, self._keep)
        finally:
            os.close(descriptor)
        live = folder_entry(before.name, info, xattrs, before.content, 0, 0)
        live = self._unrestored.apply(path, live)
        wanted = (before.mode, before.uid, before.gid, before.more.xattrs)
        if (live.mode, live.uid, live.gid, live.more.xattrs) != wanted:
            shown = path + b"/" if path else b"./"
            found[shown] = StatusItem("modified", shown, True, (), info.st_ino, (0, 0))
        elif live.mtime_ns != before.mtime_ns:
            self.touched += 1

    # -- further names, regions ------------------------------------------------------------------

    def _add_links(self, found: dict[bytes, StatusItem]) -> None:
        """The other names of a file of several, which the driver may never have met."""
        links = LinkTable(self._repository.catalog)
        for item in list(found.values()):
            if item.what == "modified" and item.sizes is not None:
                for other in links.others(item.path):
                    info = self._live(other) if other not in found else None
                    if info is not None and info.st_ino == item.inode:
                        found[other] = item._replace(path=other)

    def _add_regions(self, found: dict[bytes, StatusItem]) -> None:
        """A block map has blocks; what is behind the end of the file is no region of it."""
        size = self._repository.block_size
        regions: dict[bytes, list[Region]] = {}
        for row in self._attached.pages("maps", "from"):
            item = found.get(path := raw(row["file"]))
            if item is None or item.sizes is None:
                continue
            start = row["block"] * size
            end = min((row["block"] + row["count"]) * size, item.sizes[1])
            if start < end:
                regions.setdefault(path, []).append(Region(path, start, end - start))
        for path, those in regions.items():
            found[path] = found[path]._replace(regions=tuple(sorted(those)))

    def _compare(self, others: set[bytes], found: dict[bytes, StatusItem]) -> None:
        """A file that came into the place of another: its marks say how it differs from what it
        was, so it is read."""
        size = self._repository.block_size
        with ThreadPoolExecutor(self._repository.threads, thread_name_prefix="compare") as pool:
            for path in others & found.keys():
                item, old = found[path], self._stored(path)
                if item.sizes is None or old is None:
                    continue
                with suppress(FileNotFoundError), open(self._full(path), "rb") as file:
                    those = live_regions(
                        self._repository.store, old, file.fileno(), path, size, pool
                    )
                    found[path] = item._replace(regions=tuple(those))


def _there(before: Entry | None) -> What:
    """What is said of a path where something lies."""
    return "new" if before is None else "modified"


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
        maps = MapStatus(repository, top, attached, want_regions=want_regions, into_new=into_new)
        if maps.are_of(base):
            with suppress(Unusable):
                return maps, maps.items()
    scan = StatusScan(
        repository, top, base=base, want_regions=want_regions, into_new=into_new, progress=progress
    )
    return scan, sorted(scan.items(), key=lambda item: item.path)
