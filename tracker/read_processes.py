"""A pool of reader processes (`read_worker`), with the face of an executor.

One thread for each process writes requests and waits for answers. Processes start with their first
batch and end when the pool is closed, or when this process dies.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from ..store.errors import StorageError
from .batch_reader import Batch
from .read_worker import Files, Settings, read_frame, write_frame


class ReadProcesses:
    """`count` processes with these settings. `read` is called from one thread."""

    def __init__(self, count: int, settings: Settings) -> None:
        self._argument = msgspec.json.encode(settings).decode()
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="reader")
        self._local = threading.local()
        self._children: list[subprocess.Popen[bytes]] = []
        self._decoder = msgspec.msgpack.Decoder(Batch)
        self._encoder = msgspec.msgpack.Encoder()

    def read(self, files: Sequence[tuple[int, bytes]]) -> Future[Batch]:
        """Read a batch of (folder descriptor of ours, name)."""
        return self._pool.submit(self._ask, list(files))

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        for child in list(self._children):
            child.terminate()
        self._pool.shutdown(cancel_futures=True)
        for child in self._children:
            child.communicate()

    def _ask(self, files: Files) -> Batch:
        child = self._child()
        assert child.stdin is not None and child.stdout is not None
        try:
            write_frame(child.stdin, self._encoder.encode(files))
            answer = read_frame(child.stdout)
        except OSError as error:
            raise StorageError(f"a reader process died: {error}") from error
        if answer is None:
            raise StorageError("a reader process died")
        return self._decoder.decode(answer)

    def _child(self) -> subprocess.Popen[bytes]:
        try:
            child: subprocess.Popen[bytes] = self._local.child
        except AttributeError:
            command = [sys.executable, "-m", "treering.tracker.read_worker", self._argument]
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pipesize=1 << 20
            )
            self._local.child = child
            self._children.append(child)
        return child
