"""The root of an attached tree as it stood at one instant.

    freeze ─► rows of the frozen map ─► files that changed ─► folders around them ─► top folder

The maps say nothing of what is ignored, so where rules changed, or what lies around an object that
came from elsewhere may have been ignored, it is for a scan.
"""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from ...store.filesystem import filesystem_type
from ...store.nodes import Entry
from ...store.object_writer import ObjectWriter
from ...store.path_finder import PathFinder
from ...store.progress import Progress
from ...store.quoting import quote_path
from ...store.repository import Repository
from ..block_reader import Hasher
from ..build import Totals
from ..ignore import FILE_NAME
from ..links import LinkTable
from ..metadata import XattrFilter
from ..reading import MAX_THREADS, FileReader, ReaderOptions
from ..report import Report
from ..scan_state import ScanState, granularity
from ..unrestored import Unrestored
from .blocks import BlockCapture
from .files import Changed, FileEntries
from .folders import FolderCapture
from .link import CaptureLink
from .links import LinkKeeper
from .parts import Parts
from .plan import Plan, Unusable
from .sample import differing, drawn
from .state import StateKeeper
from .wire import FrozenObject

MAX_DEPTH = 30_000
"""Frames for a path of 4,096 bytes, several for each folder."""


class Capture:
    """One commit's view of a frozen tree; `base` is the top folder of the base root `root`, in hex.
    `left` are serials of what did not enter. `processes`: whether others may store for it."""

    def __init__(
        self,
        repository: Repository,
        link: CaptureLink,
        base: Entry | None,
        root: str,
        writer: ObjectWriter,
        keep: XattrFilter,
        progress: Progress,
        *,
        processes: bool = True,
    ) -> None:
        self._processes = processes
        self._repository = repository
        self._link = link
        self._base = base
        self._root = root
        self._writer = writer
        self._keep = keep
        self._progress = progress
        self._savers: list[Callable[[], None]] = []
        self.totals = Totals()
        self.report = Report()
        self.left: list[int] = []
        self.owners: tuple[set[int], set[int]] = (set(), set())

    def run(self, backing: int) -> None:
        """Make the top folder's `entry`. Unusable where a scan must tell; StorageError. `backing`
        is the top folder below the mount."""
        self._look_at_some(backing)
        plan = Plan(self._link.objects(), self._link.names())
        if not plan and self._base is not None:
            self.entry = self._base
            return
        folders: Iterable[Iterable[bytes]] = chain(plan.names.values(), plan.inside.values())
        if any(FILE_NAME in names for names in folders):
            raise Unusable
        deepest = sys.getrecursionlimit()
        sys.setrecursionlimit(MAX_DEPTH)
        try:
            self.entry = self._run(plan, backing)
        finally:
            sys.setrecursionlimit(deepest)

    def _look_at_some(self, backing: int) -> None:
        """Clean files are as the base has them, or somebody writes past the driver: then all of the
        tree is to be looked at."""
        if self._base is None:
            return
        for path, number in differing(backing, drawn(self._repository.store, self._base)):
            if self._link.is_clean(path, number):
                self._repository.notice(
                    f"{quote_path(path)} was changed past the driver, so the tree is scanned"
                )
                raise Unusable

    def save_state(self) -> None:
        """Remember what the files looked like; after what was stored of them is durable."""
        for save in self._savers:
            save()

    def _run(self, plan: Plan, backing: int) -> Entry:
        repository, size = self._repository, self._repository.block_size
        threads = min(repository.threads, MAX_THREADS)
        options = ReaderOptions(size, threads, self._keep, self._processes)
        reader = FileReader(self._writer, repository.store, options, self._progress)
        hasher = Hasher(self._writer, repository.store.codec, size)
        table = LinkTable(repository.catalog)
        known = self._base is None or table.is_of(self._root)
        links = LinkKeeper(table, plan, known=known)
        state = StateKeeper(
            ScanState(repository.catalog, backing), granularity(filesystem_type(backing))
        )
        try:
            some = max(1, threads - 1)  # programs and the driver want to run, too
            with BlockCapture(self._link, hasher, size, some, self._progress) as blocks:
                files = FileEntries(
                    self._link, blocks, repository.store, self._writer, size, self._keep
                )
                parts = Parts(
                    repository,
                    self._writer,
                    self._link,
                    plan,
                    files,
                    reader,
                    self._keep,
                    Unrestored(repository),
                    self.report,
                    links,
                    state,
                )
                changed = self._changed(parts)
                folders = FolderCapture(parts, self._base, changed)
                entry = folders.run()
            reader.finish()
        finally:
            reader.close()
        self.owners = folders.owners
        self._savers = [state.save, links.save]
        return links.settle(repository.store, self._writer, entry)

    def _changed(self, parts: Parts) -> dict[int, Changed]:
        found = {}
        for changed in parts.files.changed(self._with_base(parts.plan)):
            found[changed.found.serial] = changed
            parts.links.changed(changed)
        for serial, error in parts.files.left.items():
            self.report.failed(parts.plan.path(serial) or b"?", "read", error)
            self.left.append(serial)
        return found

    def _with_base(self, plan: Plan) -> Iterator[tuple[FrozenObject, Entry]]:
        """What changed and is no folder, beside what the base has of it, by path there."""
        finder = PathFinder(self._repository.store, self._base)
        marked = (
            (plan.bound(found.serial) or b"", found)
            for found in plan.objects.values()
            if not stat.S_ISDIR(found.kind) and _is_marked(found)
        )
        for path, found in sorted(marked, key=lambda each: each[0]):
            before = finder.find(path)
            if before is not None and not before.is_folder:
                yield found, before


def _is_marked(found: FrozenObject) -> bool:
    return found.attributes or bool(found.blocks) or found.smallest is not None
