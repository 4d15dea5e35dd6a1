"""The two maps as rows, a page at a time: what `treering maps` shows.

A row is a run of neighbouring blocks of one file. The lock is held only while the bitmaps of a few
files are copied, for writers wait for it: what changes between two pages may be in either, or in
none. Runs are found by whole bitmaps, not block by block: a file of 2 TiB is one row.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nsmallest
from typing import Final, NamedTuple

from pyroaring import BitMap64

from .block_map import Serial
from .map_pair import BlockStatus, MapPair

MAPS: Final = (BlockStatus.FROZEN, BlockStatus.ACTIVE)
FILES: Final = 64
"""Whose bitmaps are copied at once."""


class Position(NamedTuple):
    """Where a page begins: in the map with this number, at this file, at this block of it."""

    map: int = 0
    serial: int = 0
    block: int = 0


class MapRow(NamedTuple):
    """So many `blocks` of a file from `first` on; `path` is empty for one that has lost its name.
    `base` is the path it has in the map's base root, None for none. `following` is where the next
    row would be looked for."""

    path: bytes
    base: bytes | None
    first: int
    blocks: int
    status: BlockStatus
    following: Position


def map_rows(pair: MapPair, start: Position) -> Iterator[MapRow]:
    """The rows from a position on, by map and serial. Takes the pair's lock now and then."""
    for number in range(start.map, len(MAPS)):
        position = start if number == start.map else Position(number)
        while found := _files(pair, position):
            for serial, path, base, blocks in found:
                first = position.block if serial == position.serial else 0
                for begin, count in runs(blocks, first):
                    following = Position(number, serial, begin + count)
                    yield MapRow(path, base, begin, count, MAPS[number], following)
            position = Position(number, found[-1][0] + 1)


def _files(pair: MapPair, position: Position) -> list[tuple[Serial, bytes, bytes | None, BitMap64]]:
    """The next files of a map, with their paths now and in the base, and copies of their
    bitmaps."""
    with pair.lock:
        changes = pair.frozen if MAPS[position.map] is BlockStatus.FROZEN else pair.active
        if changes is None:
            return []
        serials = nsmallest(FILES, (each for each in changes.files if each >= position.serial))
        return [
            (
                serial,
                pair.names.path(serial) or b"",
                pair.bound(serial, changes),
                changes.files[serial].blocks.copy(),
            )
            for serial in serials
        ]


def runs(blocks: BitMap64, start: int = 0) -> Iterator[tuple[int, int]]:
    """Runs of consecutive numbers from `start` on, as (first, count)."""
    blocks.remove_range(0, start)
    firsts, lasts = blocks - blocks.shift(1), blocks - blocks.shift(-1)
    for first, last in zip(firsts, lasts, strict=True):
        yield first, last - first + 1
