"""A live file against a stored one, block by block.

For restore in place, and for status where the stat alone cannot tell. Reads only what is not a
hole on both sides; hashing runs in the given pool, a few pieces ahead. Nothing is stored.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from pyroaring import BitMap64

from ..store.content import NodeSource, block_count, blocks_of
from ..store.ids import NULL, block_id
from ..store.nodes import Entry
from .large_file import data_pieces
from .reading import PIECE

AHEAD: Final = 4


def live_ids(
    descriptor: int, size: int, block_size: int, pool: ThreadPoolExecutor
) -> Iterator[tuple[int, bytes]]:
    """(number, id) of the blocks of an open file that are not all zero, in order."""
    zeros = block_id(bytes(block_size))

    def hash_piece(offset: int, length: int) -> list[tuple[int, bytes]]:
        data = memoryview(os.pread(descriptor, length, offset))
        found: list[tuple[int, bytes]] = []
        for start in range(0, len(data), block_size):
            block = data[start : start + block_size]
            identity = block_id(block)
            short = len(block) < block_size
            if identity != zeros and not (short and block == bytes(len(block))):
                found.append(((offset + start) // block_size, identity))
        return found

    flying: deque[Future[list[tuple[int, bytes]]]] = deque()
    for offset, length in data_pieces(descriptor, size, block_size, max(PIECE, block_size)):
        flying.append(pool.submit(hash_piece, offset, length))
        if len(flying) > AHEAD:
            yield from flying.popleft().result()
    while flying:
        yield from flying.popleft().result()


def suspect_differences(
    source: NodeSource,
    entry: Entry,
    descriptor: int,
    size: int,
    block_size: int,
    suspects: BitMap64,
) -> Iterator[int]:
    """The numbers of those blocks among `suspects` in which an open file of this size differs from
    a file entry. Nothing else of it is read."""
    stored, blocks = block_count(entry.size, block_size), block_count(size, block_size)
    for number in suspects:
        if number >= blocks:
            return
        data = os.pread(descriptor, block_size, number * block_size)
        identity = block_id(data) if any(data) else NULL
        wanted = NULL
        if number < stored:
            found = blocks_of(source, entry.content, stored, number, number + 1)
            wanted = next((each for _, each in found), NULL)
        if identity != wanted:
            yield number


def live_differences(
    source: NodeSource,
    entry: Entry,
    descriptor: int,
    size: int,
    block_size: int,
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[int, bytes, bytes]]:
    """(number, live id, wanted id) of the blocks in which an open file of this size differs from a
    file entry, up to the longer of both. The last block counts as different when lengths differ in
    it, unless it is zero on both sides."""
    wanted = blocks_of(source, entry.content, block_count(entry.size, block_size))
    live = live_ids(descriptor, size, block_size, pool)
    a, b = next(live, None), next(wanted, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0] < b[0]):
            assert a is not None
            yield a[0], a[1], NULL
            a = next(live, None)
        elif a is None or b[0] < a[0]:
            yield b[0], NULL, b[1]
            b = next(wanted, None)
        else:
            if a[1] != b[1]:
                yield a[0], a[1], b[1]
            a, b = next(live, None), next(wanted, None)
