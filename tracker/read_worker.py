"""A reader in a process of its own: `python -m treering.tracker.read_worker SETTINGS`.

Threads share one interpreter lock, and a hundred thousand small files are mostly interpreter work.
A process reads, hashes, claims and compresses, and writes packs of its own: only ids go back
(measured in docs/performance.md). What several of these processes meet at the same time is stored
by one of them (`store.claims`).

Frames are a length and msgpack. Files are opened through /proc/PARENT/fd, so that names are
resolved from the very folders that the walk holds open. At the end of its input, also when its
parent was killed, the process makes durable what it has stored, says so, and ends.
"""

from __future__ import annotations

import gc
import os
import signal
import struct
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import msgspec

from ..store import errors
from ..store.block_index import BlockIndex
from ..store.block_store import BlockStore
from ..store.claims import SharedClaims
from ..store.codec import Codec
from ..store.durable import write_all
from ..store.errors import TreeringError
from ..store.object_writer import ObjectWriter, Stored
from .block_reader import Hasher, SmallFile
from .metadata import XattrFilter
from .read_threads import ReaderSettings, ReadThreads

LENGTH: Final = struct.Struct("<Q")

Piece = tuple[int, int, int]
"""(descriptor, offset, length)"""


class WorkerSettings(msgspec.Struct):
    """What a worker is started with, as JSON in its argument. `claims` is the descriptor of the
    log, which it inherits."""

    parent: int
    repository: bytes
    claims: int
    threads: int
    level: int
    block_size: int
    piece: int
    root: bool
    labels: bool


class Request(msgspec.Struct, array_like=True):
    """A batch of files, or a piece."""

    number: int
    files: list[tuple[int, bytes]] = []
    piece: Piece | None = None


class Failure(msgspec.Struct, array_like=True):
    """An error on its way: `category` is the name of a class in `store.errors`, empty for an
    OSError. One that nobody foresaw must arrive, too: the parent waits for an answer."""

    category: str
    message: str
    hint: str | None = None
    errno: int = 0

    @staticmethod
    def of(error: Exception) -> Failure:
        if isinstance(error, OSError):
            return Failure("", error.strerror or "", None, error.errno or 0)
        if isinstance(error, TreeringError):
            return Failure(type(error).__name__, error.message, error.hint)
        return Failure(TreeringError.__name__, f"a reader process failed: {error!r}")

    def error(self) -> Exception:
        if not self.category:
            return OSError(self.errno, self.message)
        kind: type[TreeringError] = getattr(errors, self.category)
        return kind(self.message, hint=self.hint)


class Answer(msgspec.Struct, array_like=True, omit_defaults=True):
    """What came of request `number`. The last answer has `stored` or a failure, and no number."""

    number: int | None
    files: list[SmallFile] = []
    ids: bytes = b""
    failure: Failure | None = None
    stored: Stored | None = None


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The content of the next frame, None at the end."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    content = stream.read(length)
    return content if len(content) == length else None


def write_frame(descriptor: int, content: bytes) -> None:
    write_all(descriptor, LENGTH.pack(len(content)) + content)


class _Answers:
    """The way back. A parent that is gone needs no answer; what was stored is kept all the same."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._encoder = msgspec.msgpack.Encoder()

    def send(self, answer: Answer) -> None:
        with self._lock, suppress(BrokenPipeError):
            write_frame(self._descriptor, self._encoder.encode(answer))


class _Worker:
    def __init__(self, settings: WorkerSettings, answers: _Answers) -> None:
        repository = Path(os.fsdecode(settings.repository))
        index = BlockIndex(repository / "index")
        codec = Codec(settings.level)
        store = BlockStore(repository / "packs", repository / "tmp", index, codec)
        self._writer = ObjectWriter(store, SharedClaims(index, settings.claims))
        hasher = Hasher(self._writer, codec, settings.block_size)
        keep = XattrFilter(settings.root, settings.labels)
        how = ReaderSettings(settings.block_size, settings.piece, keep, settings.parent)
        self._threads = ReadThreads(settings.threads, hasher, how)
        self._answers = answers

    def start(self, request: Request) -> None:
        number = request.number
        if request.piece is None:
            files = self._threads.read_files(request.files)
            files.add_done_callback(lambda done: self._answer(done, number))
        else:
            ids = self._threads.read_piece(*request.piece)
            ids.add_done_callback(lambda done: self._answer(done, number))

    def end(self) -> None:
        """Make durable what was stored, and say what it is."""
        self._threads.close()
        writer = self._writer
        try:
            writer.finish()
        except TreeringError as error:
            writer.abort()
            self._answers.send(Answer(None, failure=Failure.of(error)))
        else:
            stored = Stored(writer.stored_bytes, writer.stored_objects, writer.packs)
            self._answers.send(Answer(None, stored=stored))

    def _answer(self, done: Future[list[SmallFile]] | Future[bytes], number: int) -> None:
        if done.cancelled():
            return
        try:
            result = done.result()
            if isinstance(result, bytes):
                self._answers.send(Answer(number, ids=result))
            else:
                self._answers.send(Answer(number, result))
        except Exception as error:
            self._answers.send(Answer(number, failure=Failure.of(error)))


def main() -> None:
    # An interrupt is the parent's to handle: it closes our input. It has started us deaf to it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = msgspec.json.decode(sys.argv[1], type=WorkerSettings)
    requests, answers = sys.stdin.buffer, _Answers(sys.stdout.fileno())
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)  # as in the command: few of our objects have cycles
    try:
        worker = _Worker(settings, answers)
    except (TreeringError, OSError) as error:
        answers.send(Answer(None, failure=Failure.of(error)))
        return
    decoder = msgspec.msgpack.Decoder(Request)
    while (request := read_frame(requests)) is not None:
        worker.start(decoder.decode(request))
    worker.end()


if __name__ == "__main__":
    main()
