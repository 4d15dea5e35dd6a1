"""Frozen blocks of files, read, settled with the driver, and stored, a few MiB at a time.

A piece is read from the live file; then the driver is asked which of its blocks had changed since
the swap, and gives what those held. Only then is it hashed. Several threads are at it, each with a
piece of its own, which may be of many files.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final, NamedTuple

from pyroaring import BitMap64

from ...store.progress import Progress
from ..block_reader import Hasher, fill
from ..map_listing import runs
from .link import CaptureLink

PIECE: Final = 4 << 20
MAX_SPANS: Final = 128
NICE: Final = 10
IN_FLIGHT: Final = 2
"""Pieces for each thread."""


class Wanted(NamedTuple):
    """The blocks to capture of a file that is open for reading, `size` bytes long at the swap."""

    serial: int
    descriptor: int
    size: int
    blocks: BitMap64


class Captured(NamedTuple):
    """Block ids of a file, one behind the other from block `first` on, or why there are none."""

    serial: int
    first: int
    ids: bytes
    error: OSError | None = None


class _Span(NamedTuple):
    file: Wanted
    first: int
    blocks: int
    length: int


def _give_way() -> None:
    """This thread is behind those of programs: whoever writes waits for the driver, and that for a
    processor."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


class BlockCapture:
    """Used from one thread, in a `with`."""

    def __init__(
        self,
        link: CaptureLink,
        hasher: Hasher,
        block_size: int,
        threads: int,
        progress: Progress,
    ) -> None:
        self._link = link
        self._hasher = hasher
        self._block_size = block_size
        self._progress = progress
        self._most = IN_FLIGHT * threads
        self._pool = ThreadPoolExecutor(
            threads, thread_name_prefix="capture", initializer=_give_way
        )

    def __enter__(self) -> BlockCapture:
        return self

    def __exit__(self, *_error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def capture(self, files: Iterable[Wanted]) -> Iterator[Captured]:
        """In the order of files and blocks. A file's descriptor must stay open until the last of it
        has come. StorageError where the driver could not save something."""
        flying: deque[Future[list[Captured]]] = deque()
        for spans in self._pieces(files):
            flying.append(self._pool.submit(self._piece, spans))
            if len(flying) >= self._most:
                yield from flying.popleft().result()
        while flying:
            yield from flying.popleft().result()

    def _pieces(self, files: Iterable[Wanted]) -> Iterator[list[_Span]]:
        some: list[_Span] = []
        size = 0
        for span in self._spans(files):
            some.append(span)
            size += span.length
            if size >= PIECE or len(some) >= MAX_SPANS:
                yield some
                some, size = [], 0
        if some:
            yield some

    def _spans(self, files: Iterable[Wanted]) -> Iterator[_Span]:
        most = max(1, PIECE // self._block_size)
        for file in files:
            for start, total in runs(file.blocks):
                for first in range(start, start + total, most):
                    count = min(most, start + total - first)
                    begin = first * self._block_size
                    length = min(count * self._block_size, file.size - begin)
                    yield _Span(file, first, count, length)

    def _piece(self, spans: list[_Span]) -> list[Captured]:
        views: list[memoryview] = []
        errors: dict[int, OSError] = {}
        for span in spans:
            # What is behind an end that came nearer meanwhile stays zero, and has been saved.
            view = memoryview(bytearray(span.length))
            try:
                fill(span.file.descriptor, view, span.first * self._block_size)
            except OSError as error:
                errors[span.file.serial] = error
            views.append(view)
        self._settle(spans, views)
        found = []
        for span, ids in zip(spans, self._hasher.store(views), strict=True):
            found.append(Captured(span.file.serial, span.first, ids, errors.get(span.file.serial)))
            self._progress.advance(size=span.length)
        return found

    def _settle(self, spans: list[_Span], views: list[memoryview]) -> None:
        """Put what was saved in the place of what was read."""
        read = [
            (span.file.serial, BitMap64(range(span.first, span.first + span.blocks)))
            for span in spans
        ]
        saved = self._link.settle(read)
        if not saved:
            return
        for span, view in zip(spans, views, strict=True):
            for number in range(span.first, span.first + span.blocks):
                data = saved.get((span.file.serial, number))
                if data is not None:
                    start = (number - span.first) * self._block_size
                    room = view[start : start + self._block_size]
                    kept = data[: len(room)]
                    room[: len(kept)] = kept
                    room[len(kept) :] = bytes(len(room) - len(kept))
