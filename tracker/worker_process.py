"""A worker process: requests go out, futures come back.

Started with `python -m MODULE SETTINGS`, it reads requests from its standard input until that ends,
and answers in any order; a thread here takes the answers. It ends when its input is closed, or when
this process dies. All methods are called from one thread.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from ..store.errors import StorageError
from .worker_wire import Answer, read_frame, write_frame

Reply = TypeVar("Reply", bound=Answer)
Value = TypeVar("Value")


class WorkerProcess(Generic[Reply]):
    """A process of `module`. It inherits the descriptors in `inherited`. `flying` are the requests
    that it has not answered."""

    def __init__(
        self,
        module: str,
        settings: msgspec.Struct,
        reply: type[Reply],
        *,
        inherited: Sequence[int] = (),
    ) -> None:
        self._process = _start(module, settings, inherited)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests = self._process.stdin
        self._answers = self._process.stdout
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(reply)
        self._number = 0
        self.flying: dict[int, tuple[Future[Any], Callable[[Reply], Any]]] = {}
        self._last: Reply | None = None
        self._ended = False
        self._receiver = threading.Thread(target=self._receive, name="answers", daemon=True)
        self._receiver.start()

    def next_number(self) -> int:
        """The number of the next request."""
        self._number += 1
        return self._number

    def ask(
        self, number: int, request: msgspec.Struct, value: Callable[[Reply], Value]
    ) -> Future[Value]:
        """Send a request that carries this number; `value` takes from the answer what is wanted.
        The future fails with what the worker failed with, or with StorageError when it died."""
        future: Future[Value] = Future()
        self.flying[number] = future, value
        if not self._ended:
            self._send(request)
        if self._ended:
            self._fail_all()
        return future

    def _send(self, request: msgspec.Struct) -> None:
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

    def join(self) -> Reply | None:
        """Its last answer; None when it died before."""
        self._receiver.join()
        self._process.wait()
        self._answers.close()
        return self._last

    def _receive(self) -> None:
        try:
            while (frame := read_frame(self._answers)) is not None:
                self._take(self._decoder.decode(frame))
        finally:
            self._ended = True
            self._fail_all()

    def _take(self, answer: Reply) -> None:
        if answer.number is None:
            self._last = answer
            return
        # What `ask` has given up already may still be answered from the pipe.
        found = self.flying.pop(answer.number, None)
        if found is None:
            return
        future, value = found
        if answer.failure is not None:
            future.set_exception(answer.failure.error())
        else:
            future.set_result(value(answer))

    def _fail_all(self) -> None:
        """Nobody will answer what is still flying."""
        last = self._last
        error = last.failure.error() if last and last.failure else died()
        for number in list(self.flying):
            found = self.flying.pop(number, None)
            if found is not None:
                found[0].set_exception(error)


def least_busy(workers: Sequence[WorkerProcess[Reply]]) -> WorkerProcess[Reply]:
    return min(workers, key=lambda worker: len(worker.flying))


def died() -> StorageError:
    return StorageError("a worker process died")


def own_number() -> int:
    """This process as /proc has it: in a namespace without a /proc of its own, our number is that
    of a stranger there."""
    return int(Path("/proc/self").readlink().name)


def _start(
    module: str, settings: msgspec.Struct, inherited: Sequence[int]
) -> subprocess.Popen[Any]:
    """Start a process, deaf to Ctrl-C from its first moment. It must not import what lies in the
    current folder (-P): that is the user's data."""
    argument = msgspec.json.encode(settings).decode()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", module, argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=inherited,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
