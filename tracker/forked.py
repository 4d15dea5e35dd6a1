"""Work that needs the interpreter, done beside it by a process forked from this one.

Forked, not started: it has all modules, and what it is to work on. It may hold nothing that does
not survive a fork, such as an open block index, and no other thread may run: see `can_fork`. What
it finds lies in a temporary file until it is asked for, so that it never waits for us. Whatever
happens to it, be it a full disk or damage that it met, the answer is none: who asked does the work
again, and meets the same.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import IO, Any, Final, Generic, TypeVar

Item = TypeVar("Item")
AT_ONCE: Final = 1000


def can_fork() -> bool:
    """Whether this process has no other thread, whose locks a child would wait for in vain."""
    return threading.active_count() == 1


class Forked(Generic[Item]):
    """A process that goes through `work`. End it with `results` or `close`."""

    def __init__(self, work: Callable[[], Iterable[Item]]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - read by `results`
        self._pid = os.fork()
        if self._pid == 0:
            _run(work, self._file)

    def results(self) -> list[Iterator[Item]]:
        """What `work` yielded, as one iterator to go through; empty when it did not come to an end.
        Waits."""
        pid, self._pid = self._pid, 0
        _, status = os.waitpid(pid, 0)
        if status:
            self._file.close()
            return []
        return [self._read()]

    def _read(self) -> Iterator[Item]:
        with self._file as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(0)
            while file.tell() < end:
                yield from pickle.load(file)

    def close(self) -> None:
        """Stop it, if it still runs."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0
            self._file.close()


def _run(work: Callable[[], Iterable[Any]], file: IO[bytes]) -> None:
    """In the child: never returns, and leaves nothing of the parent's to be written or closed."""
    status = 1
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        found = iter(work())
        while batch := list(islice(found, AT_ONCE)):
            pickle.dump(batch, file)
        file.flush()
        status = 0
    finally:
        os._exit(status)
