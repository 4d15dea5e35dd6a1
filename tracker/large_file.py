"""A large file on its way through the readers, in pieces.

It is opened when its first piece is due, and its pieces go out ahead of the thread that takes them:
in order of their offsets, holes left out (SEEK_DATA). Opening counts as a part of the work, so that
files of nothing but holes are not all open at once.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, wait
from typing import NamedTuple

from ..store.content import IndexBuilder, block_count
from ..store.ids import ID_LENGTH, NULL
from .block_reader import OPEN_FLAGS, unchanged
from .read_threads import Amount, Readers


class Piece(NamedTuple):
    """Bytes of a file that hold data, from a block boundary on."""

    offset: int
    length: int
    ids: Future[bytes]


class LargeFile:
    """One file: `name` in the open folder `folder`. `piece` is the length of a whole piece."""

    def __init__(self, folder: int, name: bytes, block_size: int, piece: int) -> None:
        self._folder = folder
        self._name = name
        self._block_size = block_size
        self._piece = piece
        self._pieces: Iterator[tuple[int, int]] | None = None
        self._error: OSError | None = None
        self._opened = False
        self._flying: deque[Piece] = deque()
        self.descriptor = -1
        self.info = os.stat_result((0,) * 10)
        self.read_at_ns = 0

    def start(self, readers: Readers) -> Amount | None:
        """Open it, then hand the next piece to the readers; None when there is no other."""
        try:
            if self._pieces is None:
                self._open()
                return Amount(0, 0)
            offset, length = next(self._pieces)
        except StopIteration:
            return None
        except OSError as error:
            self._error = error
            self._pieces = iter(())
            return None
        ids = readers.read_piece(self.descriptor, offset, length)
        self._flying.append(Piece(offset, length, ids))
        return Amount(0, length)

    def next(self) -> Piece | None:
        """Take the piece that was handed out first; None when none is out. OSError for a file that
        could not be opened."""
        if self._error is not None:
            raise self._error
        return self._flying.popleft() if self._flying else None

    @property
    def stable(self) -> bool:
        """Whether it is now as it was before its first piece."""
        return unchanged(self.info, os.fstat(self.descriptor))

    def rewind(self) -> None:
        """Read it once more."""
        self.read_at_ns = time.time_ns()
        self.info = os.fstat(self.descriptor)
        if not stat.S_ISREG(self.info.st_mode):
            raise OSError(errno.ENOENT, "replaced")
        size = self.info.st_size
        self._pieces = data_pieces(self.descriptor, size, self._block_size, self._piece)

    def close(self) -> int:
        """End with it; how many of its parts were out. Readers use its descriptor."""
        out = len(self._flying) + self._opened
        self._opened = False
        self._pieces = iter(())
        # What a closed pool has cancelled would never count as done.
        wait([piece.ids for piece in self._flying if not piece.ids.cancelled()])
        self._flying.clear()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        return out

    def _open(self) -> None:
        self.descriptor = os.open(self._name, OPEN_FLAGS, dir_fd=self._folder)
        self.rewind()
        self._opened = True


class Content:
    """Puts the ids of a file's pieces together, in order of their offsets."""

    def __init__(self, builder: IndexBuilder, block_size: int) -> None:
        self._builder = builder
        self._block_size = block_size
        self._blocks = 0
        self._in_run = False
        self.regions = 0
        """Runs of blocks with data."""
        self.data = 0
        """Bytes read."""

    def add(self, offset: int, length: int, ids: bytes) -> None:
        first = offset // self._block_size
        if first > self._blocks:
            self._builder.add_nulls(first - self._blocks)
            self._in_run = False
        self._builder.add(ids)
        self.regions += count_runs(ids, self._in_run)
        self._in_run = ids[-ID_LENGTH:] != NULL
        self.data += length
        self._blocks = first + block_count(length, self._block_size)

    def finish(self, size: int) -> bytes:
        """The content id of the file of this size."""
        self._builder.add_nulls(block_count(size, self._block_size) - self._blocks)
        return self._builder.finish()


def data_pieces(
    descriptor: int, size: int, block_size: int, piece: int
) -> Iterator[tuple[int, int]]:
    """(offset, length) of the pieces of a file that hold data, block-aligned, holes left out."""
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            start, end = position, size  # a file system that cannot tell
        position = max(position, start - start % block_size)
        end = min(size, block_count(end, block_size) * block_size)
        while position < end:
            length = min(piece, end - position)
            yield position, length
            position += length


def count_runs(ids: bytes, in_run: bool = False) -> int:
    """Runs of blocks that are not null; a run that goes on from before is not counted again."""
    runs = 0
    for start in range(0, len(ids), ID_LENGTH):
        data = ids[start : start + ID_LENGTH] != NULL
        runs += data and not in_run
        in_run = data
    return runs
