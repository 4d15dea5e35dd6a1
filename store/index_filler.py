"""Filling a new block index with all that the packs hold, in the order of keys.

Ids are random, so that packs added one by one would change a page of a large index for each object,
and each page many times over. Here the rows of their footers are sorted in runs, which wait in
unnamed files beside the index, and then merged: every page is filled and written once. Memory holds
one run, or a piece of each. Nothing is durable before `finish`: who fills throws the folder away
when it does not come to that. Belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Final

from .block_index import NUMBER, VALUE, BlockIndex
from .errors import storage_error
from .ids import KEY_LENGTH
from .packfile import Footer

ROW: Final = KEY_LENGTH + VALUE.size
"""A key and its location, as the index has them."""
RUN: Final = 1 << 19
"""Rows that are sorted in memory: 100 bytes each."""
PIECE: Final = 1 << 12
"""Rows of a run that are read at once."""
AT_ONCE: Final = 1 << 15
"""Rows of one transaction: they fill some 600 pages."""


class IndexFiller:
    """Fills the empty `folder`. End it with `finish` or `close`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = BlockIndex(folder, durable=False)
        self._rows: list[bytes] = []
        self._runs: list[BinaryIO] = []

    def add_pack(self, name: bytes, footer: Footer) -> None:
        """Take the objects of a pack that is there whole. Of one that several packs hold, any copy
        may count."""
        number = NUMBER.pack(self._index.number_pack(name))
        self._rows += [row[:KEY_LENGTH] + number + row[KEY_LENGTH:] for row in footer.rows()]
        if len(self._rows) >= RUN:
            self._rows.sort()
            self._runs.append(self._written(self._rows))
            self._rows = []

    def finish(self) -> int:
        """The number of objects in the index, which is closed, durable and settled."""
        self._rows.sort()
        rows = _once(merge(self._rows, *map(_read, self._runs)))
        while batch := list(islice(rows, AT_ONCE)):
            self._index.append([(row[:KEY_LENGTH], row[KEY_LENGTH:]) for row in batch])
        self._index.settle()
        self._index.sync()
        objects = len(self._index)
        self.close()
        return objects

    def close(self) -> None:
        for run in self._runs:
            run.close()
        self._index.close()

    def _written(self, rows: list[bytes]) -> BinaryIO:
        try:
            run = TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed in `close`
            for start in range(0, len(rows), PIECE):
                run.write(b"".join(rows[start : start + PIECE]))
            run.seek(0)
        except OSError as error:
            raise storage_error("sorting the objects of the packs", error) from error
        return run


def _read(run: BinaryIO) -> Iterator[bytes]:
    while piece := run.read(ROW * PIECE):
        for start in range(0, len(piece), ROW):
            yield piece[start : start + ROW]


def _once(rows: Iterable[bytes]) -> Iterator[bytes]:
    """The first row of each key."""
    last = b""
    for row in rows:
        if not row.startswith(last) or not last:
            last = row[:KEY_LENGTH]
            yield row
