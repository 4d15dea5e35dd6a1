"""The content of one file: its blocks, as a tree of index nodes.

The shape follows from the number of blocks alone: no block, no content; one block, its id; more,
the lowest tree of 256-way index nodes that holds them. Null ids stand for holes at every level, so
that building, comparing and reading cost nothing for what is all zero, whatever its length.

`IndexBuilder` belongs to one thread; reading is safe from any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol

from .errors import Corrupt
from .ids import ID_LENGTH, NULL
from .nodes import FANOUT, IndexNode, decode_as, encode

NULLS: Final = bytes(FANOUT * ID_LENGTH)
FULL: Final = FANOUT * ID_LENGTH


class NodeSource(Protocol):
    """Where nodes come from: the plain bytes of a node by its id."""

    def node(self, identity: bytes) -> bytes: ...


PutNode = Callable[[bytes], bytes]
"""Stores the plain bytes of a node if they are new; returns its id."""


def block_count(size: int, block_size: int) -> int:
    return -(-size // block_size)


def top_level(blocks: int) -> int:
    """The level of the top index node of a file of `blocks` blocks; -1 when it has none."""
    level, reach = -1, 1
    while reach < blocks:
        reach *= FANOUT
        level += 1
    return level


class IndexBuilder:
    """Builds the index tree of one file from its block ids, in order."""

    def __init__(self, put_node: PutNode) -> None:
        self._put_node = put_node
        self._levels: list[bytearray] = [bytearray()]
        self._blocks = 0

    def add(self, ids: bytes) -> None:
        """Append block ids, one behind the other."""
        self._blocks += len(ids) // ID_LENGTH
        position = 0
        while position < len(ids):
            room = FULL - len(self._levels[0])
            self._levels[0] += ids[position : position + room]
            position += room
            self._emit_full(0)

    def add_nulls(self, count: int) -> None:
        """Append `count` all-zero blocks, at no cost for whole nodes of them."""
        self._blocks += count
        self._fill(0, count)

    def finish(self) -> bytes:
        """The content id: null, a block id or the id of the top index node."""
        if self._blocks <= 1:
            return bytes(self._levels[0]) or NULL
        top = top_level(self._blocks)
        for level in range(top):
            if self._levels[level]:
                self._emit(level)
        if len(self._levels) > top + 1 and self._levels[top + 1]:
            return bytes(self._levels[top + 1])
        return self._node(top)

    def _fill(self, level: int, count: int) -> None:
        while count:
            buffer = self._level(level)
            if not buffer and count >= FANOUT:
                self._fill(level + 1, count // FANOUT)
                count %= FANOUT
                continue
            taken = min(count, FANOUT - len(buffer) // ID_LENGTH)
            buffer += NULLS[: taken * ID_LENGTH]
            count -= taken
            self._emit_full(level)

    def _level(self, level: int) -> bytearray:
        while len(self._levels) <= level:
            self._levels.append(bytearray())
        return self._levels[level]

    def _emit_full(self, level: int) -> None:
        while len(self._level(level)) == FULL:
            self._emit(level)
            level += 1

    def _emit(self, level: int) -> None:
        identity = self._node(level)
        self._levels[level].clear()
        self._level(level + 1).extend(identity)

    def _node(self, level: int) -> bytes:
        children = bytes(self._levels[level])
        if children == NULLS[: len(children)]:
            return NULL
        return self._put_node(encode(IndexNode(level, children)))


class BlockDifference(NamedTuple):
    """Block `number` of a file is `old` on one side and `new` on the other (null ids: zeros, or
    beyond the end)."""

    number: int
    old: bytes
    new: bytes


class _Side(NamedTuple):
    """One of two contents under comparison: `blocks` in all."""

    source: NodeSource
    blocks: int


class _Subtree(NamedTuple):
    """A subtree below a position: its id and its own level, -1 for a block. Its own level may lie
    below the level under comparison: then it is the first child, and its siblings are null."""

    identity: bytes
    level: int


def load_index(source: NodeSource, identity: bytes, level: int, blocks: int) -> IndexNode:
    """The index node `identity`, which must be of this level and hold `blocks` blocks (or more, and
    be full). Corrupt otherwise."""
    node = decode_as(IndexNode, source.node(identity))
    expected = min(FANOUT, -(-blocks // FANOUT**level))
    if node.level != level or len(node) != expected:
        raise Corrupt(f"index node {identity.hex()[:12]} does not fit its file")
    return node


def differences(
    source: NodeSource,
    old: tuple[bytes, int],
    new: tuple[bytes, int],
    *,
    old_source: NodeSource | None = None,
) -> Iterator[BlockDifference]:
    """The blocks in which two contents differ, in order; each content is (id, number of blocks).
    Equal subtrees are skipped by id, so the cost follows the difference."""
    sides = _Side(old_source or source, old[1]), _Side(source, new[1])
    levels = top_level(old[1]), top_level(new[1])
    pair = _Subtree(old[0], levels[0]), _Subtree(new[0], levels[1])
    yield from _compare(sides, pair, max(levels), 0)


def _compare(
    sides: tuple[_Side, _Side], pair: tuple[_Subtree, _Subtree], level: int, first: int
) -> Iterator[BlockDifference]:
    if pair[0].identity == pair[1].identity and pair[0].level == pair[1].level:
        return
    if level < 0:
        if pair[0].identity != pair[1].identity:
            yield BlockDifference(first, pair[0].identity, pair[1].identity)
        return
    step = FANOUT**level
    old = _children(sides[0], pair[0], level, first)
    new = _children(sides[1], pair[1], level, first)
    if level == 0:
        yield from _compare_ids(old, new, first)
        return
    lower = [
        (level - 1 if side.level == level else side.level) if side.identity != NULL else level - 1
        for side in pair
    ]
    length = max(len(old), len(new))
    for start in range(0, length, ID_LENGTH):
        a, b = old[start : start + ID_LENGTH] or NULL, new[start : start + ID_LENGTH] or NULL
        if a == b and (a == NULL or lower[0] == lower[1]):
            continue
        below = (
            _Subtree(a, lower[0] if a != NULL else -2),
            _Subtree(b, lower[1] if b != NULL else -2),
        )
        yield from _compare(sides, below, level - 1, first + start // ID_LENGTH * step)


def _compare_ids(old: bytes, new: bytes, first: int) -> Iterator[BlockDifference]:
    """Compared by halves: equal stretches cost no look at each id."""
    length = max(len(old), len(new))
    stack = [(0, 1 << (length // ID_LENGTH - 1).bit_length())] if length else []
    while stack:
        start, count = stack.pop()
        end = start + count * ID_LENGTH
        a, b = old[start:end], new[start:end]
        if a == b:
            continue
        if count > 1:
            stack.append((start + count // 2 * ID_LENGTH, count // 2))
            stack.append((start, count // 2))
        elif (a or NULL) != (b or NULL):
            yield BlockDifference(first + start // ID_LENGTH, a or NULL, b or NULL)


def _children(side: _Side, subtree: _Subtree, level: int, first: int) -> bytes:
    """The child ids of a subtree seen from `level`, one level or more below it."""
    if subtree.identity == NULL:
        return b""
    if subtree.level < level:
        return subtree.identity
    node = load_index(side.source, subtree.identity, level, side.blocks - first)
    return node.children


def blocks_of(
    source: NodeSource, content: bytes, blocks: int, first: int = 0, last: int | None = None
) -> Iterator[tuple[int, bytes]]:
    """(number, id) of the blocks of a content that are not null, from `first` up to but without
    `last`."""
    stop = blocks if last is None else min(last, blocks)
    yield from _walk_blocks(source, content, top_level(blocks), blocks, 0, first, stop)


def data_runs(source: NodeSource, content: bytes, blocks: int) -> Iterator[tuple[int, int]]:
    """Runs of blocks that are not null, (first, end), in order. Neighbours come as one."""
    first = end = 0
    for start, stop in _node_runs(source, content, top_level(blocks), blocks, 0):
        if start != end:
            if first < end:
                yield first, end
            first = start
        end = stop
    if first < end:
        yield first, end


def _node_runs(
    source: NodeSource, identity: bytes, level: int, blocks: int, base: int
) -> Iterator[tuple[int, int]]:
    """Like data_runs, below one node. Neighbours may come apart."""
    if identity == NULL:
        return
    if level < 0:
        yield base, base + 1
        return
    node = load_index(source, identity, level, blocks - base)
    if level == 0 and NULL not in node.children:
        yield base, base + len(node)
        return
    step = FANOUT**level
    for position in range(len(node)):
        yield from _node_runs(
            source, node.child(position), level - 1, blocks, base + position * step
        )


def _walk_blocks(
    source: NodeSource, identity: bytes, level: int, blocks: int, base: int, first: int, stop: int
) -> Iterator[tuple[int, bytes]]:
    if identity == NULL or base >= stop:
        return
    if level < 0:
        if first <= base:
            yield base, identity
        return
    node = load_index(source, identity, level, blocks - base)
    step = FANOUT**level
    begin = max(0, (first - base) // step)
    for position in range(begin, len(node)):
        start = base + position * step
        if start >= stop:
            return
        child = node.child(position)
        if child == NULL:
            continue
        if level == 0:
            yield start, child
        else:
            yield from _walk_blocks(source, child, level - 1, blocks, start, first, stop)
