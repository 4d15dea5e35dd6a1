"""A set that remembers only what it was given by a fingerprint of 64 bits.

Eight bytes an item, 11 to 21 with the room in the tables, where a Python set of short strings takes
150: a walk over ten million nodes needs 134 MiB. Fingerprints are salted anew in each process, so
that nobody can make two items that share one. That two of ten million share one by chance has a
probability of three in a million, and means that one of them counts as met before.

Belongs to one thread.
"""

from __future__ import annotations

import os
from array import array
from typing import Final, TypeAlias

TABLES: Final = 64
"""The set grows a table at a time, so that only one of them is in memory twice."""
SMALLEST: Final = 1 << 6
ALL_BITS: Final = (1 << 64) - 1
TABLE_BITS: Final = 58
"""The highest six bits choose the table, the lowest the place in it."""

Table: TypeAlias = "array[int]"


class Fingerprints:
    """A set of byte strings that only grows."""

    def __init__(self) -> None:
        self._salt = os.urandom(16)  # PYTHONHASHSEED may be known
        self._tables = [_empty(SMALLEST) for _ in range(TABLES)]
        self._counts = [0] * TABLES

    def __len__(self) -> int:
        return sum(self._counts)

    def add(self, item: bytes) -> bool:
        """Whether the item was not there; it is from now on."""
        mark = hash(self._salt + item) & ALL_BITS or 1
        number = mark >> TABLE_BITS
        table = self._tables[number]
        if not _put(table, mark):
            return False
        self._counts[number] += 1
        if 4 * self._counts[number] > 3 * len(table):
            self._tables[number] = larger = _empty(2 * len(table))
            for each in table:
                if each:
                    _put(larger, each)
        return True


def _empty(length: int) -> Table:
    return array("Q", [0]) * length


def _put(table: Table, mark: int) -> bool:
    """Put a mark at the first free place from its own on; False when it is there. 0 is free."""
    last = len(table) - 1
    place = mark & last
    while found := table[place]:
        if found == mark:
            return False
        place = (place + 1) & last
    table[place] = mark
    return True
