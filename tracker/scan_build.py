"""The root of a work tree by a scan of it: the passes of one build, from the opened top folder to
its entry, for a commit whose instant the maps of a driver do not give."""

from __future__ import annotations

import os
from pathlib import Path

from ..store.errors import NotFound, storage_error
from ..store.filesystem import filesystem_type
from ..store.nodes import Entry
from ..store.object_writer import ObjectWriter
from ..store.progress import Progress
from ..store.quoting import quote_path
from ..store.repository import Repository
from ..store.trees import lookup
from .build import Context, Totals, TreeBuilder
from .links import LinkTable
from .live_top import live_top
from .metadata import XattrFilter
from .reading import MAX_THREADS, FileReader, ReaderOptions
from .report import Report
from .scan_state import ScanState, granularity
from .scope import Scope
from .unrestored import Unrestored

MAX_PASSES = 3


class ScanBuild:
    """The passes of one build: a second one where the hard links turned out to be others than the
    last scan's."""

    def __init__(
        self,
        repository: Repository,
        top: Path,
        scope: Scope,
        base: Entry | None,
        writer: ObjectWriter,
        keep: XattrFilter,
        progress: Progress,
    ) -> None:
        self._repository = repository
        self._top = top
        self._scope = scope
        self._base = base
        self._writer = writer
        self._keep = keep
        self._progress = progress
        self.report = Report()
        self.totals = Totals()
        self.owners: tuple[set[int], set[int]] = (set(), set())

    def run(self) -> None:
        """Make the top folder's `entry`."""
        repository = self._repository
        links = LinkTable(repository.catalog)
        notes = Unrestored(repository)
        with live_top(repository, self._top, barrier=True) as descriptor:
            _check_scope(repository, descriptor, self._scope, self._base)
            for number in range(1, MAX_PASSES + 1):
                self._progress.begin("reading" if number == 1 else "linking")
                self.entry = self._pass(descriptor, links, notes, first=number == 1)
                if links.settle() or number == MAX_PASSES:
                    break
                # The next pass finds in the state, and in the store, what this one has read.
                self._writer.flush()
                self.save_state()

    def save_state(self) -> None:
        """Remember what the files looked like; after what was stored of them is durable."""
        self._state.save(whole=self._scope.whole)

    def _pass(self, descriptor: int, links: LinkTable, notes: Unrestored, *, first: bool) -> Entry:
        repository = self._repository
        state = ScanState(repository.catalog, descriptor)
        state.begin()
        links.begin()
        self.report = Report()
        threads = min(repository.threads, MAX_THREADS)
        reader = FileReader(
            self._writer,
            repository.store,
            ReaderOptions(repository.block_size, threads, self._keep),
            self._progress,
        )
        context = Context(
            repository.store,
            self._writer,
            reader,
            state,
            links,
            notes,
            self.report,
            self._keep,
            self._base,
            granularity(filesystem_type(descriptor)),
            self._scope,
            self._progress,
        )
        builder = TreeBuilder(context)
        try:
            entry = builder.run(descriptor)
            reader.finish()
        except OSError as error:
            raise storage_error(f"reading {self._top}", error) from error
        finally:
            reader.close()
        self._state = state
        if first:
            self.totals = builder.totals
        self.owners = builder.owners
        return entry


def _check_scope(repository: Repository, top: int, scope: Scope, base: Entry | None) -> None:
    """Each given path must exist, or have existed."""
    for path in scope.paths:
        try:
            os.stat(path, dir_fd=top, follow_symlinks=False)
        except OSError as error:
            try:
                if base is None:
                    raise error
                lookup(repository.store, base, path)
            except (OSError, NotFound):
                raise NotFound(f"{quote_path(path)}: {error.strerror}") from error
