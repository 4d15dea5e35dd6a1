"""A pool of writer processes (`write_worker`). A batch goes to the one with the fewest in hand."""

from __future__ import annotations

import os
from concurrent.futures import Future
from typing import Final

from ..store.repository import Repository
from .metadata import XattrFilter
from .small_files import FileTask, Written
from .worker_process import WorkerProcess, least_busy, own_number
from .write_worker import WriteAnswer, WriteRequest, WriterSettings

MODULE: Final = "treering.tracker.write_worker"


class WriteProcesses:
    """`count` processes that write from this repository. All methods are called from one thread."""

    def __init__(
        self, count: int, repository: Repository, keep: XattrFilter, *, sparse: bool
    ) -> None:
        settings = WriterSettings(
            own_number(), os.fsencode(repository.path), repository.block_size, sparse, *keep
        )
        self._workers: list[WorkerProcess[WriteAnswer]] = []
        try:
            for _ in range(count):
                self._workers.append(WorkerProcess(MODULE, settings, WriteAnswer))
        except BaseException:
            self.close()
            raise

    def small(self, tasks: list[FileTask]) -> Future[list[Written]]:
        """Bring files to their entries; their folders stay open until that is done."""
        worker = least_busy(self._workers)
        number = worker.next_number()
        return worker.ask(number, WriteRequest(number, tasks), lambda answer: answer.written)

    def close(self) -> None:
        """Waits until all that was handed in is written."""
        for worker in self._workers:
            worker.end()
        for worker in self._workers:
            worker.join()
