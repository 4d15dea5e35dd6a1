"""Who writes the files of a restore.

Small files go in batches to threads, and to processes of their own once it is clear that there are
many: threads share one interpreter lock, and small files are mostly interpreter work (measured in
docs/performance.md). A large file goes alone, piece by piece, to the threads. All methods are
called from the one thread that drives the restore.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from typing import Final

from ..store import trees
from ..store.content import block_count
from ..store.errors import TreeringError
from ..store.ids import NULL
from ..store.nodes import Entry
from ..store.progress import Progress
from ..store.repository import Repository
from .compare import live_differences
from .direct_writes import DirectWrites
from .metadata import XattrFilter
from .small_files import (
    FLAGS,
    Change,
    FileTask,
    Put,
    SmallFileWriter,
    Written,
    failed,
    set_size,
)
from .write_processes import WriteProcesses

PIECE_BLOCKS: Final = 64
MANY_FILES: Final = 1024
"""From this many small files on, processes pay for their start of 0.1 s."""
MAX_PROCESSES: Final = 3
UNCACHED: Final = 64 << 20
"""From this size on a new file is written past the page cache."""


class FileWriter:
    """`progress` hears of the bytes of large files while they are written."""

    def __init__(
        self, repository: Repository, keep: XattrFilter, *, sparse: bool, progress: Progress
    ) -> None:
        self._repository = repository
        self._store = repository.store
        self._block_size = repository.block_size
        self._keep = keep
        self._sparse = sparse
        self._progress = progress
        self._threads = repository.threads
        self._small = SmallFileWriter(self._store, self._block_size, keep, sparse=sparse)
        self._files = 0
        self._processes: WriteProcesses | None = None
        # One more than there are processors: one at a time waits for the disk.
        self.pool = ThreadPoolExecutor(self._threads + 1, thread_name_prefix="restore")

    def close(self) -> None:
        """What was handed in may still be written."""
        self.pool.shutdown(cancel_futures=True)
        if self._processes is not None:
            self._processes.close()

    def small(self, tasks: list[FileTask]) -> Future[list[Written]]:
        """Bring files of at most one piece each to their entries. Their folders stay open until
        that is done."""
        self._files += len(tasks)
        if self._processes is None and self._files > MANY_FILES and self._threads > 1:
            self._processes = self._start_processes()
        if self._processes is not None:
            return self._processes.small(tasks)
        return self.pool.submit(self._small.small, tasks)

    def result(self, tasks: list[FileTask], written: Future[list[Written]]) -> list[Written]:
        """What became of a batch. One that failed as a whole, be it that its process died or that
        it met damage, is done again here: what is damaged must leave the index."""
        try:
            return written.result()
        except TreeringError:
            return self._small.small(tasks)

    def _start_processes(self) -> WriteProcesses:
        count = min(self._threads, MAX_PROCESSES)
        return WriteProcesses(count, self._repository, self._keep, sparse=self._sparse)

    def content_differs(self, folder: int, entry: Entry) -> bool:
        """Whether a live file has other content than its entry. Reads it."""
        flags = os.O_RDONLY | FLAGS & ~os.O_RDWR
        descriptor = os.open(entry.name, flags, dir_fd=folder)
        try:
            size = os.fstat(descriptor).st_size
            found = live_differences(
                self._store, entry, descriptor, size, self._block_size, self.pool
            )
            return size != entry.size or next(found, None) is not None
        finally:
            os.close(descriptor)

    def large(self, task: FileTask) -> Written:
        """Bring a file of any size to its entry; its pieces are written by the workers."""
        try:
            with self._small.opened(task) as (descriptor, fresh):
                changes = self._plan_large(task, descriptor, fresh)
                with self._writes(task, descriptor, fresh) as put:
                    written = self._write_pieces(descriptor, task.entry, changes, put)
                self._progress.advance(files=1)
                return self._small.complete(task, descriptor, written)
        except OSError as error:
            return failed(error)

    def _plan_large(self, task: FileTask, descriptor: int, fresh: bool) -> Iterator[Change]:
        if fresh:
            return self._small.wanted(task.entry)
        if task.changes is not None:
            return iter(task.changes)
        size = os.fstat(descriptor).st_size
        blocks = block_count(task.entry.size, self._block_size)
        found = live_differences(
            self._store, task.entry, descriptor, size, self._block_size, self.pool
        )
        # Compared whole before the first block is written: the comparison reads the same file.
        return iter([(number, goal) for number, _, goal in found if number < blocks])

    @contextmanager
    def _writes(self, task: FileTask, descriptor: int, fresh: bool) -> Iterator[Put | None]:
        """How to write the pieces of a file; None for the usual way."""
        if not fresh or task.entry.size < UNCACHED:
            yield None
            return
        with closing(DirectWrites(task.folder, task.entry.name, descriptor)) as direct:
            yield direct.write

    def _write_pieces(
        self, descriptor: int, entry: Entry, changes: Iterator[Change], put: Put | None
    ) -> int:
        def write(piece: list[Change]) -> int:
            wanted = {identity for _, identity in piece if identity != NULL}
            written = self._small.write(
                descriptor, entry, piece, trees.read_blocks(self._store, wanted), put
            )
            self._progress.advance(size=written)
            return written

        set_size(descriptor, entry.size)
        flying: deque[Future[int]] = deque()
        total = 0
        try:
            while piece := list(islice(changes, PIECE_BLOCKS)):
                flying.append(self.pool.submit(write, piece))
                if len(flying) > 2 * self._threads:
                    total += flying.popleft().result()
            while flying:
                total += flying.popleft().result()
        finally:
            for future in flying:
                future.cancel()
            for future in flying:
                if not future.cancelled():
                    future.exception()
        return total
