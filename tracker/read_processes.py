"""A pool of reader processes (`read_worker`).

A request goes to the process that has the fewest in hand; a thread for each process takes its
answers. Processes end when the pool is closed, or when this process dies.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from ..store.claims import claim_log
from ..store.errors import StorageError
from ..store.object_writer import Stored
from .block_reader import Files, SmallFile
from .read_worker import Answer, Piece, Request, WorkerSettings, read_frame, write_frame


class ReadProcesses:
    """`count` processes with these settings. All methods are called from one thread."""

    def __init__(self, count: int, settings: WorkerSettings) -> None:
        self._children: list[_Child] = []
        log = claim_log()
        try:
            settings = msgspec.structs.replace(settings, parent=_own_number(), claims=log)
            for _ in range(count):
                self._children.append(_Child(settings))
        except BaseException:
            self._end()
            raise
        finally:
            os.close(log)

    def read_files(self, files: Files) -> Future[list[SmallFile]]:
        return self._least_busy().ask(files)

    def read_piece(self, descriptor: int, offset: int, length: int) -> Future[bytes]:
        return self._least_busy().ask([], (descriptor, offset, length))

    def close(self) -> list[Stored]:
        """StorageError when a process died; what it failed with when it could not finish."""
        return [_stored(answer) for answer in self._end()]

    def _end(self) -> list[Answer | None]:
        for child in self._children:
            child.end()
        return [child.join() for child in self._children]

    def _least_busy(self) -> _Child:
        return min(self._children, key=lambda child: len(child.flying))


class _Child:
    """One process. `flying` are the requests it has not answered."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._process = _start(settings)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests = self._process.stdin
        self._answers = self._process.stdout
        self._encoder = msgspec.msgpack.Encoder()
        self._number = 0
        self.flying: dict[int, Future[Any]] = {}
        self._last: Answer | None = None
        self._ended = False
        self._receiver = threading.Thread(target=self._receive, name="answers", daemon=True)
        self._receiver.start()

    def ask(self, files: Files, piece: Piece | None = None) -> Future[Any]:
        self._number += 1
        future: Future[Any] = Future()
        self.flying[self._number] = future
        if not self._ended:
            self._send(Request(self._number, list(files), piece))
        if self._ended:
            self._fail_all()
        return future

    def _send(self, request: Request) -> None:
        try:
            write_frame(self._requests.fileno(), self._encoder.encode(request))
        except OSError:
            self._ended = True
        except BaseException:
            self._ended = True  # interrupted: nothing may follow half a frame
            raise

    def end(self) -> None:
        """Let it finish: it reads the end of its input."""
        with suppress(OSError):
            self._requests.close()

    def join(self) -> Answer | None:
        """Its last answer; None when it died before."""
        self._receiver.join()
        self._process.wait()
        self._answers.close()
        return self._last

    def _receive(self) -> None:
        decoder = msgspec.msgpack.Decoder(Answer)
        try:
            while (frame := read_frame(self._answers)) is not None:
                self._take(decoder.decode(frame))
        finally:
            self._ended = True
            self._fail_all()

    def _take(self, answer: Answer) -> None:
        if answer.number is None:
            self._last = answer
            return
        # What `ask` has given up already may still be answered from the pipe.
        future = self.flying.pop(answer.number, None)
        if future is not None:
            _settle(future, answer)

    def _fail_all(self) -> None:
        """Nobody will answer what is still flying."""
        last = self._last
        error = last.failure.error() if last and last.failure else _died()
        for number in list(self.flying):
            future = self.flying.pop(number, None)
            if future is not None:
                future.set_exception(error)


def _start(settings: WorkerSettings) -> subprocess.Popen[bytes]:
    """Start a process, deaf to Ctrl-C from its first moment. It must not import what lies in the
    current folder (-P): that is the user's data."""
    argument = msgspec.json.encode(settings).decode()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "treering.tracker.read_worker", argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[settings.claims],
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _own_number() -> int:
    """This process as /proc has it: in a namespace without a /proc of its own, our number is that
    of a stranger there."""
    return int(Path("/proc/self").readlink().name)


def _settle(future: Future[Any], answer: Answer) -> None:
    if answer.failure is not None:
        future.set_exception(answer.failure.error())
    else:
        future.set_result(answer.ids or answer.files)


def _stored(last: Answer | None) -> Stored:
    if last is None or (last.stored is None and last.failure is None):
        raise _died()
    if last.failure is not None:
        raise last.failure.error()
    assert last.stored is not None
    return last.stored


def _died() -> StorageError:
    return StorageError("a reader process died")
