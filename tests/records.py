"""Records of objects made up for tests of the store."""

from __future__ import annotations

import os

from support import record_of

from treering.store.block_store import BlockStore
from treering.store.ids import Kind
from treering.store.packfile import Record, read_footer


def block(number: int, size: int = 100) -> Record:
    return record_of(Kind.BLOCK, (b"%d " % number * size)[:size])


def noise(size: int) -> Record:
    return record_of(Kind.BLOCK, os.urandom(size))


def node(number: int) -> Record:
    return record_of(Kind.NODE, b"node %d" % number)


def kinds(store: BlockStore) -> list[set[int]]:
    """For each pack on disk the kinds of its objects."""
    return [{entry.key[0] for entry in read_footer(path)} for path in store.packs.iterdir()]
