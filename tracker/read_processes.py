"""A pool of reader processes (`read_worker`). A request goes to the one with the fewest in hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

import msgspec

from ..store.claims import claim_log
from ..store.object_writer import Stored
from .block_reader import Files, SmallFile
from .read_worker import Piece, ReadAnswer, Request, WorkerSettings
from .worker_process import WorkerProcess, died, least_busy, own_number

MODULE: Final = "treering.tracker.read_worker"
Value = TypeVar("Value")


class ReadProcesses:
    """`count` processes with these settings. All methods are called from one thread."""

    def __init__(self, count: int, settings: WorkerSettings) -> None:
        self._workers: list[WorkerProcess[ReadAnswer]] = []
        log = claim_log()
        try:
            settings = msgspec.structs.replace(settings, parent=own_number(), claims=log)
            for _ in range(count):
                worker = WorkerProcess(MODULE, settings, ReadAnswer, inherited=[log])
                self._workers.append(worker)
        except BaseException:
            self._end()
            raise
        finally:
            os.close(log)

    def read_files(self, files: Files) -> Future[list[SmallFile]]:
        return self._ask(list(files), None, lambda answer: answer.files)

    def read_piece(self, descriptor: int, offset: int, length: int) -> Future[bytes]:
        return self._ask([], (descriptor, offset, length), lambda answer: answer.ids)

    def _ask(
        self,
        files: list[tuple[int, bytes]],
        piece: Piece | None,
        value: Callable[[ReadAnswer], Value],
    ) -> Future[Value]:
        worker = least_busy(self._workers)
        number = worker.next_number()
        return worker.ask(number, Request(number, files, piece), value)

    def close(self) -> list[Stored]:
        """StorageError when a process died; what it failed with when it could not finish."""
        return [_stored(answer) for answer in self._end()]

    def _end(self) -> list[ReadAnswer | None]:
        for worker in self._workers:
            worker.end()
        return [worker.join() for worker in self._workers]


def _stored(last: ReadAnswer | None) -> Stored:
    if last is not None and last.failure is not None:
        raise last.failure.error()
    if last is None or last.stored is None:
        raise died()
    return last.stored
