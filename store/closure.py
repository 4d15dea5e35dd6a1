"""The closure of roots, walked in batches: all objects of a root that its base does not hold at the
same place.

One walk serves push (which objects may the remote lack?), finalize and fsck (is all of it there?)
and fetch (which nodes to ask for next?): the caller takes node ids, gets their bytes from wherever
it likes, and gives them back; block keys gather beside. Equal ids at the same place in the base
are skipped, nodes are visited once each (a crafted DAG does not explode), the stack holds a few
nodes' children for each level, and every node is checked against what its parent said of it. A walk
belongs to one thread.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from . import directories
from .content import NodeSource, block_count, load_index, top_level
from .errors import Corrupt
from .ids import ID_LENGTH, NULL, Key, block_key
from .nodes import (
    FANOUT,
    BranchNode,
    Child,
    Entry,
    IndexNode,
    LeafNode,
    RootNode,
    decode,
)
from .trees import load_root


class _Root(NamedTuple):
    base: bytes | None

    def claim(self) -> bytes:
        return b""


class _Folder(NamedTuple):
    """The directory node of a folder; `old` is the folder at the same place in the base."""

    files: int
    size: int
    old: bytes | None
    block_size: int

    def claim(self) -> bytes:
        """What the parent says of the node: a node is visited once for each claim, so that one
        that fits its first parent does not vouch for a lie of the second."""
        return b"folder %d %d %d" % (self.files, self.size, self.block_size)


class _Part(NamedTuple):
    """A node of a split folder: what its parent says of it, the name before its first, and the
    leaves of the folder in the base."""

    child: Child
    height: int
    before: bytes
    old: tuple[Child, ...]
    block_size: int

    def claim(self) -> bytes:
        child = self.child
        sums = b"%d %d %d" % (child.entries, child.files, child.size)
        return b"part %d %d %s %s\0%s" % (
            self.height,
            self.block_size,
            sums,
            child.last,
            self.before,
        )


class _Index(NamedTuple):
    """An index node that holds `blocks` blocks or is full; `old` is the node or block at its place
    in the base and `old_level` its level."""

    level: int
    blocks: int
    old: bytes
    old_level: int
    old_blocks: int

    def claim(self) -> bytes:
        return b"index %d %d" % (self.level, _clip(self.level, self.blocks))


_Item = _Root | _Folder | _Part | _Index


class ClosureWalk:
    """Visits the closures of the roots given to `add_root`, less those of their bases, which must
    be readable whole from `source`."""

    def __init__(self, source: NodeSource) -> None:
        self._source = source
        self._stack: list[tuple[bytes, _Item]] = []
        self._seen: set[bytes] = set()
        self._taken: dict[bytes, _Item] = {}
        """Nodes handed out and not yet given back."""
        self._blocks: list[Key] = []

    def add_root(self, root: bytes, base: bytes | None) -> None:
        """Walk `root`; `base` is a root whose closure need not be visited."""
        if root != base:
            self._push(root, _Root(base))

    def take(self, limit: int) -> list[bytes]:
        """Up to `limit` node ids to visit next; empty when the walk is done. Each must be given
        back through `visit`, or given up with `skip`, before the next `take`."""
        taken = self._taken
        while self._stack and len(taken) < limit and self._stack[-1][0] not in taken:
            identity, item = self._stack.pop()
            taken[identity] = item
        return list(taken)

    def visit(self, identity: bytes, plain: bytes) -> None:
        """Go on below a node, whose bytes must have this id. Corrupt when it is not what its
        parent said."""
        item = self._taken.pop(identity)
        node = decode(plain)
        before = len(self._stack)
        if isinstance(item, _Root) and isinstance(node, RootNode):
            self._visit_root(node, item)
        elif isinstance(item, _Index) and isinstance(node, IndexNode):
            self._visit_index(node, item)
        elif isinstance(item, _Folder) and isinstance(node, LeafNode | BranchNode):
            self._visit_folder(identity, node, item)
        elif isinstance(item, _Part) and isinstance(node, LeafNode | BranchNode):
            self._visit_part(identity, node, item)
        else:
            raise Corrupt(f"node {identity.hex()[:12]} is not of the kind its parent says")
        self._stack[before:] = self._stack[before:][::-1]

    def skip(self, identity: bytes) -> None:
        """Give up on a node that is not to be had, and on what lies below it."""
        del self._taken[identity]

    def drain_blocks(self) -> list[Key]:
        """The keys of blocks met since the last call; one may come more than once."""
        found, self._blocks = self._blocks, []
        return found

    @property
    def blocks_waiting(self) -> int:
        return len(self._blocks)

    def _push(self, identity: bytes, item: _Item) -> None:
        claim = identity + item.claim()
        if claim not in self._seen:
            self._seen.add(claim)
            self._stack.append((identity, item))

    def _visit_root(self, node: RootNode, item: _Root) -> None:
        old: Entry | None = None
        if item.base is not None:
            base = load_root(self._source, item.base)
            old = base.top if base.block_size == node.block_size else None
        self._visit_entry(node.top, old, node.block_size)

    def _visit_folder(self, identity: bytes, node: LeafNode | BranchNode, item: _Folder) -> None:
        old = tuple(directories.leaves(self._source, item.old)) if item.old else ()
        if isinstance(node, LeafNode):
            child = directories.leaf_child(list(node.entries), identity) if node.entries else None
            sums = (child.files, child.size) if child else (0, 0)
            self._visit_entries(node, b"", old, item.block_size)
        else:
            total = directories.branch_child(node, identity)
            sums = (total.files, total.size)
            self._visit_children(node, b"", old, item.block_size)
        if sums != (item.files, item.size):
            raise Corrupt(f"directory node {identity.hex()[:12]} does not add up")

    def _visit_part(self, identity: bytes, node: LeafNode | BranchNode, item: _Part) -> None:
        child = item.child
        if isinstance(node, LeafNode) and item.height == 0 and node.entries:
            good = directories.leaf_child(list(node.entries), identity) == child
            good = good and node.entries[0].name > item.before
            self._visit_entries(node, item.before, item.old, item.block_size)
        elif isinstance(node, BranchNode) and node.height == item.height:
            good = directories.branch_child(node, identity) == child
            self._visit_children(node, item.before, item.old, item.block_size)
        else:
            good = False
        if not good:
            raise Corrupt(f"directory node {identity.hex()[:12]} does not add up")

    def _visit_children(
        self, node: BranchNode, before: bytes, old: tuple[Child, ...], block_size: int
    ) -> None:
        follows = dict(zip(old, _lasts(old), strict=True))
        for child in node.children:
            if child.last <= before:
                raise Corrupt("directory children out of order")
            held = follows.get(child)
            if held is None or held < before:
                part = _Part(child, node.height - 1, before, old, block_size)
                self._push(child.node, part)
            before = child.last

    def _visit_entries(
        self, node: LeafNode, before: bytes, old: tuple[Child, ...], block_size: int
    ) -> None:
        known = self._old_entries(node, before, old)
        for entry in node.entries:
            self._visit_entry(entry, known.get(entry.name), block_size)

    def _old_entries(
        self, node: LeafNode, before: bytes, old: tuple[Child, ...]
    ) -> dict[bytes, Entry]:
        """The entries of the base that can share a name with this leaf."""
        if not old or not node.entries:
            return {}
        low = bisect_right(old, before, key=lambda leaf: leaf.last)
        high = bisect_left(old, node.entries[-1].name, key=lambda leaf: leaf.last) + 1
        return {
            entry.name: entry
            for leaf in old[low:high]
            for entry in directories.load_leaf(self._source, leaf.node).entries
        }

    def _visit_entry(self, entry: Entry, old: Entry | None, block_size: int) -> None:
        content = entry.content
        if content == NULL or (old is not None and _weight(old) == _weight(entry)):
            return
        if entry.is_folder:
            base = old.content if old is not None and old.is_folder else None
            self._push(content, _Folder(entry.files, entry.size, base, block_size))
            return
        if not entry.is_file:
            raise Corrupt("an entry that is neither file nor folder has content")
        blocks = block_count(entry.size, block_size)
        same = old if old is not None and old.is_file else None
        old_blocks = block_count(same.size, block_size) if same else 0
        before = (same.content, top_level(old_blocks)) if same else (NULL, -1)
        self._push_index(content, top_level(blocks), blocks, before, old_blocks)

    def _push_index(
        self, identity: bytes, level: int, blocks: int, old: tuple[bytes, int], old_blocks: int
    ) -> None:
        if identity == NULL:
            return
        if level < 0:
            if identity != old[0]:
                self._blocks.append(block_key(identity))
            return
        before, old_level = old
        while old_level > level and before != NULL:
            before = load_index(self._source, before, old_level, old_blocks).child(0)
            old_level -= 1
        if identity != before:
            self._push(identity, _Index(level, blocks, before, old_level, old_blocks))
        elif _clip(level, blocks) != _clip(level, old_blocks):
            self._check_edge(identity, level, blocks)

    def _check_edge(self, identity: bytes, level: int, blocks: int) -> None:
        """Corrupt unless an index node of the base also fits a file of `blocks` blocks: its right
        edge alone depends on their number."""
        while level >= 0 and identity != NULL:
            node = load_index(self._source, identity, level, blocks)
            identity = node.child(len(node) - 1)
            blocks -= (len(node) - 1) * FANOUT**level
            level -= 1

    def _visit_index(self, node: IndexNode, item: _Index) -> None:
        expected = min(FANOUT, block_count(item.blocks, FANOUT**item.level))
        if node.level != item.level or len(node) != expected:
            raise Corrupt("an index node does not fit its file")
        step = FANOUT**item.level
        for position, old, old_level in self._old_children(item, len(node)):
            first = position * step
            before = max(0, item.old_blocks - first)
            self._push_index(
                node.child(position), item.level - 1, item.blocks - first, (old, old_level), before
            )

    def _old_children(self, item: _Index, count: int) -> Iterator[tuple[int, bytes, int]]:
        """(position, id, level) of what the base has in the place of each child."""
        if item.old == NULL:
            held = b""
        elif item.old_level < item.level:
            held = item.old
        else:
            held = load_index(self._source, item.old, item.level, item.old_blocks).children
        level = min(item.old_level, item.level - 1)
        for position in range(count):
            start = position * ID_LENGTH
            yield position, held[start : start + ID_LENGTH] or NULL, level


def _lasts(leaves: tuple[Child, ...]) -> list[bytes]:
    """For each leaf the last name before it."""
    return [b"", *(leaf.last for leaf in leaves[:-1])][: len(leaves)]


def _weight(entry: Entry) -> tuple[int, bytes, int, int]:
    """What of an entry the closure depends on, or vouches for."""
    return entry.kind, entry.content, entry.size, entry.files


def _clip(level: int, blocks: int) -> int:
    """How many of `blocks` blocks one index node of this level holds."""
    reach: int = FANOUT ** (level + 1)
    return min(blocks, reach)
