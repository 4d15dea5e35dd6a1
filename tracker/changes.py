"""What differs between two snapshots, down to regions: for the summary of a commit, and status.

Costs what differs: equal nodes are skipped by id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..store import content, trees
from ..store.content import BlockDifference, NodeSource, block_count
from ..store.ids import NULL
from ..store.nodes import Entry
from ..store.root_record import Change


class Region(NamedTuple):
    """A run of blocks of one file, as a byte range."""

    path: bytes
    offset: int
    length: int


def changed_blocks(
    source: NodeSource, old: Entry | None, new: Entry, block_size: int
) -> Iterator[BlockDifference]:
    """The blocks in which a file differs from what stood at its path, up to its own length."""
    blocks = block_count(new.size, block_size)
    if old is not None and old.is_file:
        before = old.content, block_count(old.size, block_size)
    else:
        before = NULL, 0
    for found in content.differences(source, before, (new.content, blocks)):
        if found.number < blocks:
            yield found


def regions(path: bytes, numbers: Iterable[int], size: int, block_size: int) -> Iterator[Region]:
    """Runs of block numbers (ascending) of a file of this size, as regions."""
    first = following = -1
    for number in numbers:
        if number != following:
            if first >= 0:
                yield _region(path, first, following, size, block_size)
            first = number
        following = number + 1
    if first >= 0:
        yield _region(path, first, following, size, block_size)


def _region(path: bytes, first: int, end: int, size: int, block_size: int) -> Region:
    offset = first * block_size
    return Region(path, offset, min(size, end * block_size) - offset)


def changed_regions(
    source: NodeSource, path: bytes, old: Entry | None, new: Entry, block_size: int
) -> Iterator[Region]:
    """The regions in which the file at `path` differs from what stood there."""
    numbers = (found.number for found in changed_blocks(source, old, new, block_size))
    return regions(path, numbers, new.size, block_size)


def count_changes(source: NodeSource, old: Entry, new: Entry, block_size: int) -> Change:
    """Files, regions and bytes in which the folder `new` differs from `old`; nothing stored."""
    files = count = size = 0
    for found in trees.differences(source, old, new):
        if found.new is None:
            files += found.old.files if found.old and found.old.is_folder else 1
            continue
        if found.new.is_folder:
            continue
        files += 1
        if found.new.is_file:
            for region in changed_regions(source, found.path, found.old, found.new, block_size):
                count += 1
                size += region.length
    return Change(files, count, size)
