"""A reader in a process of its own: `python -m treering.tracker.read_worker SETTINGS`.

Threads share one interpreter lock, and a hundred thousand small files are mostly interpreter work.
A process reads, hashes, claims and compresses, and writes packs of its own: only ids go back
(measured in docs/performance.md). What several of these processes meet at the same time is stored
by one of them (`store.claims`).

Files are opened through /proc/PARENT/fd, so that names are
resolved from the very folders that the walk holds open. At the end of its input, also when its
parent was killed, the process makes durable what it has stored, says so, and ends.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from concurrent.futures import Future
from pathlib import Path

import msgspec

from ..store.block_index import BlockIndex
from ..store.block_store import BlockStore
from ..store.claims import SharedClaims
from ..store.codec import Codec
from ..store.errors import TreeringError
from ..store.object_writer import ObjectWriter, Stored
from .block_reader import Hasher, SmallFile
from .metadata import XattrFilter
from .read_threads import ReaderSettings, ReadThreads
from .worker_wire import Answer, AnswerPipe, Failure, read_frame

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


class ReadAnswer(Answer, array_like=True, omit_defaults=True):
    """What was read. The last answer has `stored` or a failure."""

    files: list[SmallFile] = msgspec.field(default_factory=list)
    ids: bytes = b""
    stored: Stored | None = None


class _Worker:
    def __init__(self, settings: WorkerSettings, answers: AnswerPipe) -> None:
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
            self._answers.send(ReadAnswer(None, Failure.of(error)))
        else:
            stored = Stored(writer.stored_bytes, writer.stored_objects, writer.packs)
            self._answers.send(ReadAnswer(None, stored=stored))

    def _answer(self, done: Future[list[SmallFile]] | Future[bytes], number: int) -> None:
        if done.cancelled():
            return
        try:
            result = done.result()
            if isinstance(result, bytes):
                self._answers.send(ReadAnswer(number, ids=result))
            else:
                self._answers.send(ReadAnswer(number, files=result))
        except Exception as error:
            self._answers.send(ReadAnswer(number, Failure.of(error)))


def main() -> None:
    # An interrupt is the parent's to handle: it closes our input. It has started us deaf to it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = msgspec.json.decode(sys.argv[1], type=WorkerSettings)
    requests, answers = sys.stdin.buffer, AnswerPipe(sys.stdout.fileno())
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)  # as in the command: few of our objects have cycles
    try:
        worker = _Worker(settings, answers)
    except (TreeringError, OSError) as error:
        answers.send(ReadAnswer(None, Failure.of(error)))
        return
    decoder = msgspec.msgpack.Decoder(Request)
    while (request := read_frame(requests)) is not None:
        worker.start(decoder.decode(request))
    worker.end()


if __name__ == "__main__":
    main()
