"""The two maps as rows: what `treering maps` shows.

A row is a run of neighbouring blocks of one file. The lock is held only while the bitmaps of a few
files are copied, for writers wait for it: what changes meanwhile may be in the rows or not. Runs
are found by whole bitmaps, not block by block: a file of 2 TiB is one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from pyroaring import BitMap64

from ..store.batches import batched
from .block_map import BlockMap, Serial
from .map_pair import BlockStatus, MapPair

FILES: Final = 64
"""Whose bitmaps are copied at once."""


class MapRow(NamedTuple):
    """So many `blocks` of a file from `first` on; `path` is empty for one that has lost its name.
    `base` is the path it has in the map's base root, None for none."""

    path: bytes
    base: bytes | None
    first: int
    blocks: int
    status: BlockStatus


def map_rows(pair: MapPair) -> Iterator[MapRow]:
    """The rows of both maps, by serial. Takes the pair's lock now and then."""
    for status in (BlockStatus.FROZEN, BlockStatus.ACTIVE):
        with pair.lock:
            changes = _map(pair, status)
            known = list(changes.files) if changes is not None else []
        for few in batched(BitMap64(known), FILES):
            for path, base, blocks in _files(pair, status, few):
                for first, count in runs(blocks):
                    yield MapRow(path, base, first, count, status)


def _map(pair: MapPair, status: BlockStatus) -> BlockMap | None:
    return pair.frozen if status is BlockStatus.FROZEN else pair.active


def _files(
    pair: MapPair, status: BlockStatus, serials: Iterable[int]
) -> list[tuple[bytes, bytes | None, BitMap64]]:
    """Of those files that a map still has: their paths now and in the base, and copies of their
    bitmaps."""
    with pair.lock:
        changes = _map(pair, status)
        there = map(Serial, serials if changes is not None else ())
        return [
            (
                pair.names.path(serial) or b"",
                pair.bound(serial, changes),
                changes.files[serial].blocks(),
            )
            for serial in there
            if changes is not None and serial in changes.files
        ]


def runs(blocks: BitMap64) -> Iterator[tuple[int, int]]:
    """Runs of consecutive numbers, as (first, count)."""
    firsts, lasts = blocks - blocks.shift(1), blocks - blocks.shift(-1)
    for first, last in zip(firsts, lasts, strict=True):
        yield first, last - first + 1
