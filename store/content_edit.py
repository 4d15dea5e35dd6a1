"""Editing the content of one file: other ids for some blocks, or another number of blocks.

Only the nodes on the way to what changes are loaded and made anew; the result is the very content
that `IndexBuilder` makes of all ids in order, for the shape follows from the number of blocks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from .content import NodeSource, PutNode, load_index, top_level
from .ids import ID_LENGTH, NULL
from .nodes import FANOUT, IndexNode, encode

GROWN: Final = b"grown"
"""Stands for the left edge of a tree above the old top: its first child is what was there."""


def edited_content(
    source: NodeSource,
    put_node: PutNode,
    content: bytes,
    blocks: tuple[int, int],
    changes: Iterable[tuple[int, bytes]],
) -> bytes:
    """The id of a content that has the blocks of another one but for `changes`: numbers, below the
    second of `blocks` and in order, and ids. `blocks` are how many there were and are; those that
    come behind the old end, and are not among the changes, are null."""
    found = list(changes)
    edit = _Edit(source, put_node, content, blocks, found)
    return edit.run()


class _Edit:
    def __init__(
        self,
        source: NodeSource,
        put_node: PutNode,
        content: bytes,
        blocks: tuple[int, int],
        changes: Sequence[tuple[int, bytes]],
    ) -> None:
        self._source = source
        self._put_node = put_node
        self._content = content
        self._before, self._after = blocks
        self._old_top = top_level(self._before)
        self._numbers = [number for number, _ in changes]
        self._ids = [identity for _, identity in changes]

    def run(self) -> bytes:
        top = top_level(self._after)
        if top < 0:
            return self._ids[0] if self._ids else self._leftmost(-1) if self._after else NULL
        old = self._leftmost(top) if top <= self._old_top else GROWN
        return self._node(top, 0, old)

    def _leftmost(self, level: int) -> bytes:
        """The id of the old subtree of this level that holds the first blocks."""
        identity = self._content
        for above in range(self._old_top, level, -1):
            if identity == NULL:
                break
            identity = load_index(self._source, identity, above, self._before).child(0)
        return identity

    def _node(self, level: int, first: int, old: bytes) -> bytes:
        """The id of the subtree of this level from block `first` on, which was `old`."""
        step = FANOUT**level
        span = step * FANOUT
        before = min(max(self._before - first, 0), span)
        after = min(self._after - first, span)
        place, end = (bisect_left(self._numbers, first + n) for n in (0, after))
        if place == end and (old == NULL or (before == after and old != GROWN)):
            return old
        count = -(-after // step)
        children = bytearray(self._children(level, first, old)[: count * ID_LENGTH])
        children += bytes(count * ID_LENGTH - len(children))
        if level == 0:
            for spot in range(place, end):
                start = (self._numbers[spot] - first) * ID_LENGTH
                children[start : start + ID_LENGTH] = self._ids[spot]
        else:
            grown = level - 1 > self._old_top and old == GROWN
            for position in self._touched(first, step, (place, end), min(before, after)):
                start = position * ID_LENGTH
                below = children[start : start + ID_LENGTH]
                was = GROWN if grown and position == 0 else bytes(below)
                children[start : start + ID_LENGTH] = self._node(
                    level - 1, first + position * step, was
                )
        if not any(children):
            return NULL
        return self._put_node(encode(IndexNode(level, bytes(children))))

    def _children(self, level: int, first: int, old: bytes) -> bytes:
        if old == NULL:
            return b""
        if old == GROWN:
            return self._content if level - 1 == self._old_top else NULL
        return load_index(self._source, old, level, self._before - first).children

    def _touched(self, first: int, step: int, changed: tuple[int, int], kept: int) -> Iterator[int]:
        """The children in which something changed, or that hold the end of what was `kept`: the
        first so many blocks."""
        last = -1
        edge = kept // step if kept % step else -1
        for spot in range(*changed):
            position = (self._numbers[spot] - first) // step
            if position != last:
                if last < edge < position:
                    yield edge
                yield position
                last = position
        if last < edge:
            yield edge
