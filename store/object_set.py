"""A set of stored objects, a bit each, by where they lie.

Records of a pack are at least a header apart, so that the pack's number and the offset, counted in
headers, tell objects apart. Compressed bitmaps hold that in 2 to 5 bytes an object: 70 MiB for the
16 million blocks of a full terabyte, measured. A Python set of numbers takes 66 bytes each, and a
temporary SQLite table six times as long.

Belongs to one thread. A set means nothing to another opening of the block index.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pyroaring import BitMap64

from .block_index import Location
from .packfile import RECORD_HEADER

OFFSET_BITS: Final = 32
"""Enough for packs of 192 GiB; ours have 64 MiB."""


def place(location: Location) -> int:
    """A number that no other object of the block index has."""
    return location.pack << OFFSET_BITS | location.offset // RECORD_HEADER.size


class ObjectSet:
    """Objects by their location in one block index."""

    def __init__(self) -> None:
        self._places = BitMap64()

    def __contains__(self, location: Location) -> bool:
        return place(location) in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, locations: Iterable[Location]) -> list[Location]:
        """Put objects in; those that were not there, once each."""
        known = self._places
        found = {place(location): location for location in locations}
        fresh = {number: found[number] for number in found if number not in known}
        known.update(fresh)
        return list(fresh.values())
