"""The order of a restore: files go to the workers in batches, everything else waits its turn.

Steps are done in the order in which they were queued, a batch of files when its worker has
finished: a hard link thus comes after the file it names, and a folder's own metadata after all that
is in it. The queue is bounded, so that memory is, too. Used by the one thread that drives the
restore.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from .file_writer import PIECE_BLOCKS, FileTask, FileWriter, Written

BATCH_FILES: Final = 64
MAX_QUEUED: Final = 24

Place = tuple[list[bytes], int]
"""Where a file's signature belongs: in the list of its leaf, at a position."""
Done = Callable[[FileTask, Place, Written], None]
Step = Callable[[], None]


class RestoreQueue:
    """`done` is told what became of each file."""

    def __init__(self, writer: FileWriter, block_size: int, done: Done) -> None:
        self._writer = writer
        self._piece = PIECE_BLOCKS * block_size
        self._done = done
        self._steps: deque[tuple[Future[list[Written]] | None, Callable[[list[Written]], None]]]
        self._steps = deque()
        self._batch: list[tuple[FileTask, Place]] = []
        self._batch_size = 0

    def file(self, task: FileTask, place: Place) -> None:
        """Queue a file: a small one joins the open batch, a large one is a step of its own."""
        if task.entry.size > self._piece:
            self.step(lambda: self._done(task, place, self._writer.large(task)))
            return
        self._batch.append((task, place))
        self._batch_size += task.entry.size
        if len(self._batch) >= BATCH_FILES or self._batch_size >= self._piece:
            self._flush()

    def step(self, step: Step) -> None:
        """Queue something to be done here, behind all files handed in before."""
        self._flush()
        self._steps.append((None, lambda _written: step()))
        self._drain(MAX_QUEUED)

    def finish(self) -> None:
        """Do all that is left."""
        self._flush()
        self._drain(0)

    def _flush(self) -> None:
        if not self._batch:
            return
        batch, self._batch, self._batch_size = self._batch, [], 0

        def done(written: list[Written]) -> None:
            for (task, place), item in zip(batch, written, strict=True):
                self._done(task, place, item)

        tasks = [task for task, _ in batch]
        self._steps.append((self._writer.pool.submit(self._writer.small, tasks), done))
        self._drain(MAX_QUEUED)

    def _drain(self, keep: int) -> None:
        while len(self._steps) > keep:
            future, done = self._steps.popleft()
            done(future.result() if future is not None else [])
