"""A writer of small files in a process of its own: `python -m treering.tracker.write_worker
SETTINGS`.

Folders are opened through /proc/PARENT/fd: names are resolved in the very folders that the walk
holds open. When its parent dies, so does the process, at once: it may not write into a tree that
somebody else might change by then.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from ..store.block_index import BlockIndex
from ..store.block_store import BlockStore
from ..store.codec import Codec
from ..store.errors import TreeringError
from .metadata import XattrFilter
from .small_files import FileTask, SmallFileWriter, Written
from .worker_wire import Answer, AnswerPipe, Failure, read_frame

PR_SET_PDEATHSIG: Final = 1


class WriterSettings(msgspec.Struct):
    """What a worker is started with, as JSON in its argument."""

    parent: int
    repository: bytes
    block_size: int
    sparse: bool
    root: bool
    labels: bool


class WriteRequest(msgspec.Struct, array_like=True):
    """A batch of small files. `folder` of a task is a descriptor of the parent."""

    number: int
    tasks: list[FileTask]


class WriteAnswer(Answer, array_like=True, omit_defaults=True):
    """What became of each file."""

    written: list[Written] = msgspec.field(default_factory=list)


class _Worker:
    def __init__(self, settings: WriterSettings) -> None:
        repository = Path(os.fsdecode(settings.repository))
        index = BlockIndex(repository / "index", writable=False)
        store = BlockStore(repository / "packs", repository / "tmp", index, Codec())
        keep = XattrFilter(settings.root, settings.labels)
        self._folders = f"/proc/{settings.parent}/fd"
        self._writer = SmallFileWriter(store, settings.block_size, keep, sparse=settings.sparse)

    def answer(self, request: WriteRequest) -> WriteAnswer:
        try:
            with self._opened(request.tasks):
                return WriteAnswer(request.number, written=self._writer.small(request.tasks))
        except Exception as error:
            return WriteAnswer(request.number, Failure.of(error))

    @contextmanager
    def _opened(self, tasks: list[FileTask]) -> Iterator[None]:
        """Meanwhile the folders of the tasks are descriptors of this process. O_PATH: a folder may
        be one that we may change, but not list."""
        own: dict[int, int] = {}
        try:
            for task in tasks:
                if task.folder not in own:
                    path = f"{self._folders}/{task.folder}"
                    own[task.folder] = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                task.folder = own[task.folder]
            yield
        finally:
            for descriptor in own.values():
                os.close(descriptor)


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if not Path(f"/proc/{parent}").exists():
        sys.exit(1)  # it died before


def main() -> None:
    # An interrupt is the parent's to handle: it closes our input. It has started us deaf to it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = msgspec.json.decode(sys.argv[1], type=WriterSettings)
    _die_with(settings.parent)
    requests, answers = sys.stdin.buffer, AnswerPipe(sys.stdout.fileno())
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)  # as in the command: few of our objects have cycles
    try:
        worker = _Worker(settings)
    except (TreeringError, OSError) as error:
        answers.send(WriteAnswer(None, Failure.of(error)))
        return
    decoder = msgspec.msgpack.Decoder(WriteRequest)
    while (request := read_frame(requests)) is not None:
        answers.send(worker.answer(decoder.decode(request)))


if __name__ == "__main__":
    main()
