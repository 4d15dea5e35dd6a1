"""Other blocks in a stored file, at the cost of the index nodes on the way to them.

The number of blocks stays, and so does the shape of the tree. Where a subtree becomes all zero, it
becomes the null id, as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from .content import NodeSource, PutNode, load_index, top_level
from .ids import ID_LENGTH, NULL
from .nodes import FANOUT, IndexNode, encode

Changed = tuple[int, bytes]
"""(number, id) of a block."""

_NO_BLOCK: Final = -1


def patched(
    source: NodeSource, put_node: PutNode, content: bytes, blocks: int, changes: Iterable[Changed]
) -> bytes:
    """The content id of a content of `blocks` blocks with other blocks at some numbers, which come
    in order and lie below `blocks`."""
    return _Patch(source, put_node, blocks).node(content, top_level(blocks), 0, iter(changes))


class _Patch:
    def __init__(self, source: NodeSource, put_node: PutNode, blocks: int) -> None:
        self._source = source
        self._put_node = put_node
        self._blocks = blocks

    def node(self, identity: bytes, level: int, first: int, changes: Iterator[Changed]) -> bytes:
        """The subtree of this level at block `first` with all `changes`, which lie in it. As deep
        as the tree: seven levels at most."""
        if level == _NO_BLOCK:
            return _last(changes, identity)
        children = bytearray(self._children(identity, level, first))
        step = FANOUT**level
        for place, below in groupby(changes, key=lambda change: (change[0] - first) // step):
            start = place * ID_LENGTH
            old = bytes(children[start : start + ID_LENGTH])
            new = self.node(old, level - 1, first + place * step, below)
            children[start : start + ID_LENGTH] = new
        if not any(children):
            return NULL
        return self._put_node(encode(IndexNode(level, bytes(children))))

    def _children(self, identity: bytes, level: int, first: int) -> bytes:
        blocks = self._blocks - first
        if identity == NULL:
            step: int = FANOUT**level
            return NULL * min(FANOUT, -(-blocks // step))
        return load_index(self._source, identity, level, blocks).children


def _last(changes: Iterator[Changed], identity: bytes) -> bytes:
    for _, changed in changes:
        identity = changed
    return identity
