"""The order of a restore: files go to the workers in batches, everything else waits its turn.

A *batch* is small files and the steps that were queued among them; batches end in the order in
which they were begun, each with its steps when all its files are written. A hard link thus comes
after the file it names, and a folder's own metadata after all that is in it. Batches are small and
few are in flight, so that memory and open folders are bounded. Used by the one thread that drives
the restore.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from ..store.progress import Progress
from .file_writer import PIECE_BLOCKS, FileWriter
from .small_files import FileTask, Written

BATCH_FILES: Final = 64
BATCH_STEPS: Final = 32
"""A folder takes two and keeps a descriptor open until then."""
MAX_BATCHES: Final = 12

Place = tuple[list[bytes], int]
"""Where a file's signature belongs: in the list of its leaf, at a position."""
Done = Callable[[FileTask, Place, Written], None]
Step = Callable[[], None]


@dataclass(eq=False)
class _Batch:
    tasks: list[FileTask] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    size: int = 0
    written: Future[list[Written]] | None = None


class RestoreQueue:
    """`done` is told what became of each file, `progress` of small ones."""

    def __init__(self, writer: FileWriter, block_size: int, done: Done, progress: Progress) -> None:
        self._writer = writer
        self._progress = progress
        self._piece = PIECE_BLOCKS * block_size
        self._done = done
        self._flying: deque[_Batch] = deque()
        self._batch = _Batch()

    def file(self, task: FileTask, place: Place) -> None:
        """Queue a file: a small one joins the open batch, a large one is a step of its own."""
        if task.entry.size > self._piece:
            self.step(lambda: self._done(task, place, self._writer.large(task)))
            return
        batch = self._batch
        batch.tasks.append(task)
        batch.places.append(place)
        batch.size += task.entry.size
        if len(batch.tasks) >= BATCH_FILES or batch.size >= self._piece:
            self._flush()

    def step(self, step: Step) -> None:
        """Queue something to be done here, behind all files handed in before."""
        self._batch.steps.append(step)
        if len(self._batch.steps) >= BATCH_STEPS:
            self._flush()

    def finish(self) -> None:
        """Do all that is left."""
        self._flush()
        self._drain(0)

    def _flush(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if batch.tasks:
            batch.written = self._writer.small(batch.tasks)
        self._flying.append(batch)
        self._drain(MAX_BATCHES)

    def _drain(self, keep: int) -> None:
        while len(self._flying) > keep:
            batch = self._flying.popleft()
            if batch.written is not None:
                written = self._writer.result(batch.tasks, batch.written)
                self._progress.advance(files=len(written), size=sum(w.size for w in written))
                for item in zip(batch.tasks, batch.places, written, strict=True):
                    self._done(*item)
            for step in batch.steps:
                step()
