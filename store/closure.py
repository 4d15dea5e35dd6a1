"""The closure of roots, walked in batches: all objects of a root that its base does not hold at the
same place.

One walk serves push (which objects may the remote lack?), finalize and fsck (is all of it there?)
and fetch (which nodes to ask for next?): the caller takes node ids, gets their bytes from wherever
it likes, and gives them back; block keys gather beside, with the lengths that their files want.
Equal ids at the same place in the base are skipped, nodes are visited once each (a crafted DAG does
not explode), the stack holds a few nodes' children for each level and of visited nodes only their
fingerprints are kept, so that memory stays flat over millions of them, and every node is checked
against what its parent said of it, folders also for being split as `DirectoryBuilder` splits them.
A walk belongs to one thread.
"""

from __future__ import annotations

from . import directories
from .closure_items import Blocks, FolderItem, Held, IndexItem, Item, PartItem, RootItem
from .content import NodeSource, block_count, load_index, top_level
from .errors import Corrupt
from .fingerprints import Fingerprints
from .ids import ID_LENGTH, NULL, block_key
from .nodes import FANOUT, BranchNode, Entry, IndexNode, LeafNode, RootNode, decode
from .old_folder import OldFolder
from .splitting import branch_fits, leaf_fits
from .trees import load_root


class ClosureWalk:
    """Visits the closures of the roots given to `add_root`, less those of their bases, which must
    be readable whole from `source`."""

    def __init__(self, source: NodeSource) -> None:
        self._source = source
        self._stack: list[tuple[bytes, Item]] = []
        self._seen = Fingerprints()
        self._taken: dict[bytes, Item] = {}
        """Nodes handed out and not yet given back."""
        self._blocks = Blocks([], [])

    def add_root(self, root: bytes, base: bytes | None) -> None:
        """Walk `root`; `base` is a root whose closure need not be visited."""
        if root != base:
            self._push(root, RootItem(base))

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
        if isinstance(item, RootItem) and isinstance(node, RootNode):
            self._visit_root(node, item)
        elif isinstance(item, IndexItem) and isinstance(node, IndexNode):
            self._visit_index(node, item)
        elif isinstance(item, FolderItem) and isinstance(node, LeafNode | BranchNode):
            self._visit_folder(identity, node, item)
        elif isinstance(item, PartItem) and isinstance(node, LeafNode | BranchNode):
            self._visit_part(identity, node, item)
        else:
            raise Corrupt(f"node {identity.hex()[:12]} is not of the kind its parent says")
        self._stack[before:] = self._stack[before:][::-1]

    def skip(self, identity: bytes) -> None:
        """Give up on a node that is not to be had, and on what lies below it."""
        del self._taken[identity]

    def drain_blocks(self) -> Blocks:
        """The blocks met since the last call; one may come more than once."""
        found, self._blocks = self._blocks, Blocks([], [])
        return found

    @property
    def blocks_waiting(self) -> int:
        return len(self._blocks.keys)

    def _push(self, identity: bytes, item: Item) -> None:
        if self._seen.add(identity + item.claim()):
            self._stack.append((identity, item))

    def _visit_root(self, node: RootNode, item: RootItem) -> None:
        old: Entry | None = None
        if item.base is not None:
            base = load_root(self._source, item.base)
            old = base.top if base.block_size == node.block_size else None
        self._visit_entry(node.top, old, node.block_size)

    def _visit_folder(self, identity: bytes, node: LeafNode | BranchNode, item: FolderItem) -> None:
        old = OldFolder(self._source, item.old) if item.old else None
        if isinstance(node, LeafNode):
            child = directories.leaf_child(list(node.entries), identity) if node.entries else None
            sums = (child.files, child.size) if child else (0, 0)
            fits = child is None or leaf_fits(node.entries, last=True)
            self._visit_entries(node, b"", old, item.block_size)
        else:
            total = directories.branch_child(node, identity)
            sums = (total.files, total.size)
            fits = branch_fits(node, last=True, top=True)
            self._visit_children(node, b"", True, old, item.block_size)
        _check(identity, sums == (item.files, item.size), fits)

    def _visit_part(self, identity: bytes, node: LeafNode | BranchNode, item: PartItem) -> None:
        child = item.child
        good = fits = False
        if isinstance(node, LeafNode) and item.height == 0 and node.entries:
            good = directories.leaf_child(list(node.entries), identity) == child
            good = good and node.entries[0].name > item.before
            fits = leaf_fits(node.entries, last=item.last)
            self._visit_entries(node, item.before, item.old, item.block_size)
        elif isinstance(node, BranchNode) and node.height == item.height:
            good = directories.branch_child(node, identity) == child
            fits = branch_fits(node, last=item.last, top=False)
            self._visit_children(node, item.before, item.last, item.old, item.block_size)
        _check(identity, good, fits)

    def _visit_children(
        self, node: BranchNode, before: bytes, last: bool, old: OldFolder | None, block_size: int
    ) -> None:
        height = node.height - 1
        held = old.between(height, before, node.children[-1].last) if old else {}
        # The last node of the base may be cut anywhere: in the middle it is looked at.
        cut = old.ending(height) if old else None
        for child in node.children:
            if child.last <= before:
                raise Corrupt("directory children out of order")
            ends = last and child is node.children[-1]
            follows = held.get(child)
            if follows is None or follows < before or (child == cut and not ends):
                self._push(child.node, PartItem(child, height, before, ends, old, block_size))
            before = child.last

    def _visit_entries(
        self, node: LeafNode, before: bytes, old: OldFolder | None, block_size: int
    ) -> None:
        known = self._old_entries(node, before, old)
        for entry in node.entries:
            self._visit_entry(entry, known.get(entry.name), block_size)

    def _old_entries(
        self, node: LeafNode, before: bytes, old: OldFolder | None
    ) -> dict[bytes, Entry]:
        """The entries of the base that can share a name with this leaf."""
        if old is None or not node.entries:
            return {}
        return {
            entry.name: entry
            for leaf in old.between(0, before, node.entries[-1].name)
            for entry in directories.load_leaf(self._source, leaf.node).entries
        }

    def _visit_entry(self, entry: Entry, old: Entry | None, block_size: int) -> None:
        content = entry.content
        if content == NULL or (old is not None and _weight(old) == _weight(entry)):
            return
        if entry.is_folder:
            base = old.content if old is not None and old.is_folder else None
            self._push(content, FolderItem(entry.files, entry.size, base, block_size))
            return
        if not entry.is_file:
            raise Corrupt("an entry that is neither file nor folder has content")
        held = Held()
        if old is not None and old.is_file:
            level = top_level(block_count(old.size, block_size))
            held = Held(old.content, level, old.size)
        level = top_level(block_count(entry.size, block_size))
        self._push_index(content, IndexItem(level, entry.size, block_size, held))

    def _push_index(self, identity: bytes, item: IndexItem) -> None:
        if identity == NULL:
            return
        level, size, block_size, old = item
        if level < 0:
            if identity != old.identity or item.own(size) != item.own(old.size):
                self._add_block(identity, item.own(size))
            return
        while old.level > level and old.identity != NULL:
            blocks = block_count(old.size, block_size)
            node = load_index(self._source, old.identity, old.level, blocks)
            old = old._replace(identity=node.child(0), level=old.level - 1)
        item = item._replace(old=old)
        if identity != old.identity:
            self._push(identity, item)
        elif item.own(size) != item.own(old.size):
            self._check_edge(identity, item)

    def _add_block(self, identity: bytes, length: int) -> None:
        self._blocks.keys.append(block_key(identity))
        self._blocks.lengths.append(length)

    def _check_edge(self, identity: bytes, item: IndexItem) -> None:
        """Corrupt unless an index node of the base also fits this file: its right edge alone
        depends on the length."""
        level, size, block_size, _ = item
        while level >= 0 and identity != NULL:
            node = load_index(self._source, identity, level, block_count(size, block_size))
            identity = node.child(len(node) - 1)
            size -= (len(node) - 1) * block_size * FANOUT**level
            level -= 1
        if identity != NULL:
            self._add_block(identity, min(size, block_size))

    def _visit_index(self, node: IndexNode, item: IndexItem) -> None:
        level, size, block_size, old = item
        step = block_size * FANOUT**level
        if node.level != level or len(node) != min(FANOUT, block_count(size, step)):
            raise Corrupt("an index node does not fit its file")
        held = self._old_children(item)
        if not level:
            self._visit_blocks(node, item, held)
            return
        old_level = min(old.level, level - 1)
        for number in range(len(node)):
            below = held[number * ID_LENGTH : (number + 1) * ID_LENGTH] or NULL
            first = number * step
            before = Held(below, old_level, max(0, old.size - first))
            self._push_index(
                node.child(number), IndexItem(level - 1, size - first, block_size, before)
            )

    def _visit_blocks(self, node: IndexNode, item: IndexItem, held: bytes) -> None:
        _, size, step, old = item
        for number in range(len(node)):
            start = number * ID_LENGTH
            identity = node.children[start : start + ID_LENGTH]
            first = number * step
            length = min(step, size - first)
            same = identity == held[start : start + ID_LENGTH]
            if identity != NULL and not (same and length == min(step, old.size - first)):
                self._add_block(identity, length)

    def _old_children(self, item: IndexItem) -> bytes:
        """The ids that the base has in the places of the children, as far as it goes."""
        identity, old_level, old_size = item.old
        if identity == NULL:
            return b""
        if old_level < item.level:
            return identity
        blocks = block_count(old_size, item.block_size)
        return load_index(self._source, identity, item.level, blocks).children


def _check(identity: bytes, adds_up: bool, fits: bool) -> None:
    """Corrupt for a directory node that is not what its parent says, or not split as it should."""
    if not adds_up:
        raise Corrupt(f"directory node {identity.hex()[:12]} does not add up")
    if not fits:
        raise Corrupt(f"directory node {identity.hex()[:12]} is split in a way of its own")


def _weight(entry: Entry) -> tuple[int, bytes, int, int]:
    """What of an entry the closure depends on, or vouches for."""
    return entry.kind, entry.content, entry.size, entry.files
