"""A file that both sides changed, composed of the regions of both, where these do not meet.

Made of block ids: no content is read. At most one side may have changed the size. The other one's
changes then have to lie before the block in which the shorter of the two ends, since a block's
length, too, is part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..store import content
from ..store.content import BlockDifference, NodeSource, PutNode, block_count
from ..store.content_patch import patched
from ..store.nodes import Entry


class Composed(NamedTuple):
    """A content id and the size, in bytes, that goes with it."""

    content: bytes
    size: int


class _Sides(NamedTuple):
    """`host` is the side whose size counts; `guest` the one whose changes are put into it."""

    base: Entry
    host: Entry
    guest: Entry


def composed(
    source: NodeSource, put_node: PutNode, trio: tuple[Entry, Entry, Entry], block_size: int
) -> Composed | None:
    """The content that has the changes of both files of (base, ours, theirs); None where they
    meet."""
    base, ours, theirs = trio
    if theirs.size != base.size != ours.size:
        return None
    sides = _Sides(base, theirs, ours) if theirs.size != base.size else _Sides(base, ours, theirs)
    if not _apart(source, sides, block_size):
        return None
    blocks = block_count(sides.host.size, block_size)
    changes = ((item.number, item.new) for item in _changes(source, base, sides.guest, block_size))
    identity = patched(source, put_node, sides.host.content, blocks, changes)
    return Composed(identity, sides.host.size)


def _changes(
    source: NodeSource, base: Entry, changed: Entry, block_size: int
) -> Iterator[BlockDifference]:
    old = base.content, block_count(base.size, block_size)
    new = changed.content, block_count(changed.size, block_size)
    return content.differences(source, old, new)


def _apart(source: NodeSource, sides: _Sides, block_size: int) -> bool:
    """Whether no block was changed by both sides, but for the same change."""
    base, host, guest = sides
    resized = host.size != base.size
    end = min(host.size, base.size) // block_size
    others = _changes(source, base, host, block_size)
    other = next(others, None)
    for item in _changes(source, base, guest, block_size):
        if resized and item.number >= end:
            return False
        while other is not None and other.number < item.number:
            other = next(others, None)
        if other is not None and other.number == item.number and other.new != item.new:
            return False
    return True
