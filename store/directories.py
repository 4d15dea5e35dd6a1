"""Folders as directory nodes, split by content so that one changed entry rewrites O(log n) nodes.

An entry closes its node when BLAKE3 of its name ends in enough zero bits - six for each height -
and the node has 16 entries or more; a node never has more than 1,024 entries or 1 MiB of xattrs.
The shape of a folder therefore depends on its entries alone, never on the order of edits (after
the "prolly trees" of Noms, with names in the place of content so that an edit moves no boundary).

`DirectoryBuilder` belongs to one thread; reading is safe from any.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from blake3 import blake3

from .content import NodeSource, PutNode
from .errors import Corrupt
from .nodes import (
    MAX_LEAF_ENTRIES,
    BranchNode,
    Child,
    DirectoryNode,
    Entry,
    EntryKind,
    LeafNode,
    decode,
    encode,
)

MIN_ENTRIES: Final = 16
BITS_PER_HEIGHT: Final = 6
LOWEST: Final = (1 << BITS_PER_HEIGHT) - 1
MAX_XATTR_BYTES: Final = 1 << 20


OnLeaf = Callable[[Child, bool, Sequence[Entry]], None]
"""Told of a leaf as it closes: the child that stands for it, whether it was closed by the end of
the folder, and its entries, unless it was taken over whole."""


class Folder(NamedTuple):
    """A finished folder: its directory node, and the sums over its entries."""

    node: bytes
    files: int
    size: int


def closes(name: bytes, height: int) -> bool:
    """Whether `name` ends a node of this height (0 is a leaf) by its hash."""
    digest = blake3(name).digest()
    if digest[-1] & LOWEST:  # as 63 of 64 names have it
        return False
    mask = (1 << BITS_PER_HEIGHT * (height + 1)) - 1
    return not int.from_bytes(digest[-16:]) & mask


def closed_by_rule(entries: Sequence[Entry]) -> bool:
    """Whether a leaf of these entries ends where it does wherever the folder goes on."""
    count = len(entries)
    named = count >= MIN_ENTRIES and closes(entries[-1].name, 0)
    full = count == MAX_LEAF_ENTRIES or sum(map(xattr_bytes, entries)) >= MAX_XATTR_BYTES
    return named or full


def xattr_bytes(entry: Entry) -> int:
    if entry.extras is None:
        return 0
    return sum(len(name) + len(value) for name, value in entry.extras.xattrs)


def leaf_child(entries: list[Entry], identity: bytes) -> Child:
    """The Child that stands for a leaf of these entries."""
    files = size = 0
    for entry in entries:
        if entry.kind == EntryKind.FOLDER:
            files += entry.files
            size += entry.size
        else:
            files += 1
            if entry.kind == EntryKind.FILE:
                size += entry.size
    return Child(entries[-1].name, identity, len(entries), files, size)


class DirectoryBuilder:
    """Builds one folder from its entries in name order. `on_leaf` is told of every leaf."""

    def __init__(self, put_node: PutNode, on_leaf: OnLeaf | None = None) -> None:
        self._put_node = put_node
        self._on_leaf = on_leaf
        self._entries: list[Entry] = []
        self._xattrs = 0
        self._heights: list[list[Child]] = []

    @property
    def at_boundary(self) -> bool:
        """Whether the next entry starts a leaf."""
        return not self._entries

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)
        if entry.extras is not None:
            self._xattrs += xattr_bytes(entry)
        count = len(self._entries)
        named = count >= MIN_ENTRIES and closes(entry.name, 0)
        if named or count == MAX_LEAF_ENTRIES or self._xattrs >= MAX_XATTR_BYTES:
            self._close_leaf(final=False)

    def add_leaf(self, child: Child, *, final: bool) -> None:
        """Take over a stored leaf whole. Only at a boundary; a leaf that was closed by the end of
        its folder only as the last."""
        if self._on_leaf:
            self._on_leaf(child, final, ())
        self._push(child, 1)

    def takes(self, height: int) -> bool:
        """Whether a stored node of this height (0 is a leaf) can be next: nothing that is begun
        would have to go before it into a node as low."""
        return not self._entries and not any(self._heights[:height])

    def add_node(self, child: Child, height: int) -> None:
        """Take over a stored node of this height whole, where it can be next; one that was closed
        by the end of its folder only as the last."""
        self._push(child, height + 1)

    def finish(self) -> Folder:
        """The folder. The builder is done, and lets go of whom it told: it may be who made it, and
        a million folders would then wait for the garbage collector."""
        folder = self._finished()
        self._on_leaf = None
        return folder

    def _finished(self) -> Folder:
        if self._entries or not self._heights:
            if not self._heights:
                return self._single_leaf()
            self._close_leaf(final=True)
        height = 1
        while True:
            children = self._heights[height - 1]
            if height == len(self._heights):
                if len(children) == 1:
                    break
                self._close_branch(height)
            elif children:
                self._close_branch(height)
            height += 1
        (top,) = children
        return Folder(top.node, top.files, top.size)

    def _single_leaf(self) -> Folder:
        identity = self._put_node(encode(LeafNode(tuple(self._entries))))
        if not self._entries:
            return Folder(identity, 0, 0)
        child = leaf_child(self._entries, identity)
        if self._on_leaf:
            self._on_leaf(child, True, self._entries)
        return Folder(identity, child.files, child.size)

    def _close_leaf(self, *, final: bool) -> None:
        identity = self._put_node(encode(LeafNode(tuple(self._entries))))
        entries, self._entries = self._entries, []
        self._xattrs = 0
        child = leaf_child(entries, identity)
        if self._on_leaf:
            self._on_leaf(child, final, entries)
        self._push(child, 1)

    def _push(self, child: Child, height: int) -> None:
        while len(self._heights) < height:
            self._heights.append([])
        children = self._heights[height - 1]
        children.append(child)
        count = len(children)
        if count == MAX_LEAF_ENTRIES or (count >= MIN_ENTRIES and closes(child.last, height)):
            self._close_branch(height)

    def _close_branch(self, height: int) -> None:
        children = self._heights[height - 1]
        branch = BranchNode(height, tuple(children))
        child = branch_child(branch, self._put_node(encode(branch)))
        self._heights[height - 1] = []
        self._push(child, height + 1)


def load_directory(source: NodeSource, identity: bytes) -> DirectoryNode:
    node = decode(source.node(identity))
    if not isinstance(node, LeafNode | BranchNode):
        raise Corrupt(f"node {identity.hex()[:12]} is not a directory")
    return node


def load_leaf(source: NodeSource, identity: bytes) -> LeafNode:
    node = load_directory(source, identity)
    if not isinstance(node, LeafNode):
        raise Corrupt(f"node {identity.hex()[:12]} is not a directory leaf")
    return node


def leaves(source: NodeSource, identity: bytes) -> Iterator[Child]:
    """The leaves of a folder in order, without loading those below a branch. An empty folder has
    none."""
    node = load_directory(source, identity)
    if isinstance(node, BranchNode):
        yield from _leaves_below(source, node)
    elif node.entries:
        yield leaf_child(list(node.entries), identity)


def _leaves_below(source: NodeSource, branch: BranchNode) -> Iterator[Child]:
    if branch.height == 1:
        yield from branch.children
        return
    for child in branch.children:
        yield from _leaves_below(source, load_branch(source, child, branch.height - 1))


def load_branch(source: NodeSource, child: Child, height: int) -> BranchNode:
    """The branch behind a child of a higher one. Corrupt unless it has this height and these
    sums."""
    node = load_directory(source, child.node)
    if not isinstance(node, BranchNode) or node.height != height:
        raise Corrupt(f"directory node {child.node.hex()[:12]} has the wrong height")
    if branch_child(node, child.node) != child:
        raise Corrupt(f"directory node {child.node.hex()[:12]} does not add up")
    return node


def branch_child(node: BranchNode, identity: bytes) -> Child:
    """The Child that stands for a branch."""
    entries = files = size = 0
    for child in node.children:
        entries += child.entries
        files += child.files
        size += child.size
    return Child(node.children[-1].last, identity, entries, files, size)


def entries(source: NodeSource, identity: bytes) -> Iterator[Entry]:
    """The entries of a folder in name order."""
    for leaf in leaves(source, identity):
        yield from load_leaf(source, leaf.node).entries


def find(source: NodeSource, identity: bytes, name: bytes) -> Entry | None:
    """The entry of this name, or None: one node for each height."""
    node = load_directory(source, identity)
    while isinstance(node, BranchNode):
        position = bisect_left(node.children, name, key=lambda child: child.last)
        if position == len(node.children):
            return None
        child = node.children[position]
        if node.height == 1:
            node = load_leaf(source, child.node)
        else:
            node = load_branch(source, child, node.height - 1)
    position = bisect_left(node.entries, name, key=lambda entry: entry.name)
    if position < len(node.entries) and node.entries[position].name == name:
        return node.entries[position]
    return None


def with_folder(entry: Entry, folder: Folder) -> Entry:
    """The folder entry with new content."""
    return Entry(
        name=entry.name,
        kind=entry.kind,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        mtime_ns=entry.mtime_ns,
        size=folder.size,
        files=folder.files,
        content=folder.node,
        extras=entry.extras,
    )
