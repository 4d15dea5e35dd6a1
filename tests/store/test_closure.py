"""The closure: all objects of a root, no other, and no lie of a node goes unnoticed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    BLOCK,
    Memory,
    Tree,
    build_folder,
    file_entry,
    folder_entry,
    put_tree,
    reachable,
)

from treering.store.closure import ClosureWalk
from treering.store.content import IndexBuilder
from treering.store.directories import Folder, leaf_child, leaves, load_directory, load_leaf
from treering.store.errors import Corrupt
from treering.store.ids import NULL, block_id, node_key
from treering.store.nodes import BranchNode, Child, Entry, IndexNode, LeafNode, decode


class Walked:
    """What a walk visited: nodes in order, and the keys of everything."""

    def __init__(self, walk: ClosureWalk, store: Memory, limit: int = 7) -> None:
        self.nodes: list[bytes] = []
        self.keys: set[bytes] = set()
        while taken := walk.take(limit):
            assert len(taken) <= limit
            for identity in taken:
                self.nodes.append(identity)
                walk.visit(identity, store.objects[node_key(identity)])
            self.keys.update(walk.drain_blocks())
        assert walk.blocks_waiting == 0
        self.keys.update(map(node_key, self.nodes))


def walk(store: Memory, root: bytes, base: bytes | None = None, limit: int = 7) -> Walked:
    found = ClosureWalk(store)
    found.add_root(root, base)
    return Walked(found, store, limit)


def refuse(store: Memory, *roots: bytes, base: bytes | None = None) -> None:
    found = ClosureWalk(store)
    for root in roots:
        found.add_root(root, base)
    with pytest.raises(Corrupt):
        Walked(found, store)


def block(number: int) -> bytes:
    return block_id(b"%d" % number)


def index(store: Memory, ids: Iterable[bytes]) -> bytes:
    builder = IndexBuilder(store.put_node)
    builder.add(b"".join(ids))
    return builder.finish()


def large_file(name: bytes, content: bytes, blocks: int) -> Entry:
    return file_entry(name, size=blocks * BLOCK, content=content)


def root_of(store: Memory, *entries: Entry) -> bytes:
    return store.put_root(store.put_folder(b"", sorted(entries, key=lambda entry: entry.name)))


def changed(entry: Entry, **fields: object) -> Entry:
    return msgspec.structs.replace(entry, **fields)


def numbered(count: int, size: int = 1) -> list[Entry]:
    return [file_entry(b"%06d" % n, size=size, content=block(n)) for n in range(count)]


class Content(bytes):
    """The content of a file, short when hypothesis prints it."""

    def __repr__(self) -> str:
        return f"{self[:1]!r} * {len(self)}"


contents = st.sampled_from(
    [Content(b"x" * size) for size in (0, 1, BLOCK, 3 * BLOCK)] + [Content(2 * BLOCK)]
)
small_trees: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), contents, max_size=3),
    lambda inner: st.dictionaries(
        st.sampled_from([b"a", b"b", b"c", b"d"]), contents | inner, max_size=3
    ),
    max_leaves=8,
)


@given(small_trees, st.integers(1, 9))
def test_visits_all_objects_and_each_node_once(tree: Tree, limit: int) -> None:
    store = Memory()
    root = store.put_root(put_tree(store, tree))
    found = walk(store, root, limit=limit)
    assert found.keys == reachable(store, root)
    if store.objects:
        assert len(set(found.nodes)) <= len(found.nodes) <= 2 * len(set(found.nodes))


@given(small_trees, small_trees)
def test_less_the_base(old: Tree, new: Tree) -> None:
    store = Memory()
    base = store.put_root(put_tree(store, old))
    root = store.put_root(put_tree(store, new))
    found = walk(store, root, base)
    assert reachable(store, root) - reachable(store, base) <= found.keys
    assert found.keys <= reachable(store, root)
    assert walk(store, root, root).keys == set()


def test_large_folder_and_file() -> None:
    store = Memory()
    ids = [block(n) if n % 3 else NULL for n in range(70_000)]
    folder = store.put_folder(b"folder", numbered(5000))
    root = root_of(store, folder, large_file(b"image", index(store, ids), len(ids)))
    found = walk(store, root, limit=64)
    assert found.keys == reachable(store, root)
    assert len(found.nodes) == len(set(found.nodes))


@pytest.mark.parametrize("position", [0, 255, 256, 40_000, 69_999])
def test_one_changed_block_costs_its_path(position: int) -> None:
    store = Memory()
    ids = [block(n) for n in range(70_000)]
    folder = store.put_folder(b"folder", numbered(5000))
    base = root_of(store, folder, large_file(b"image", index(store, ids), len(ids)))
    ids[position] = block(-1)
    root = root_of(store, folder, large_file(b"image", index(store, ids), len(ids)))
    found = walk(store, root, base)
    assert found.keys == reachable(store, root) - reachable(store, base)
    assert len(found.keys) == 6


@pytest.mark.parametrize(
    ("before", "after"),
    list(itertools.permutations([0, 1, 2, 256, 257, 300, 65536, 65537, 65800], 2)),
)
def test_file_that_grew_or_shrank(before: int, after: int) -> None:
    """What both lengths share at one place is not visited, also across levels."""
    store = Memory()
    ids = [block(n) for n in range(65800)]
    base = root_of(store, large_file(b"f", index(store, ids[:before]), before))
    root = root_of(store, large_file(b"f", index(store, ids[:after]), after))
    found = walk(store, root, base)
    missing = reachable(store, root) - reachable(store, base)
    extra = found.keys - missing
    assert missing <= found.keys <= reachable(store, root)
    assert len(extra) <= 1 + 256, "no more than one cut node's children again"


def test_one_changed_entry_of_a_large_folder() -> None:
    store = Memory()
    entries = numbered(20_000)
    base = root_of(store, store.put_folder(b"folder", entries))
    entries[12_345] = changed(entries[12_345], content=block(-1))
    root = root_of(store, store.put_folder(b"folder", entries))
    found = walk(store, root, base)
    missing = reachable(store, root) - reachable(store, base)
    assert missing <= found.keys
    assert len(missing) <= 7
    again = [decode(store.objects[key]) for key in found.keys - missing]
    assert all(isinstance(node, BranchNode) for node in again), "no leaf of the base, no block"


def test_shared_nodes_are_visited_once() -> None:
    """40 levels, each holding the one below twice: 2**40 paths, 42 nodes."""
    store = Memory()
    folder = build_folder(store, [file_entry(b"f", size=1, content=block(0))])
    for _ in range(40):
        pair = folder_entry(b"a", folder), folder_entry(b"b", folder)
        folder = build_folder(store, pair)
    root = store.put_root(folder_entry(b"", folder))
    found = walk(store, root)
    assert len(found.nodes) == 42
    assert folder.files == 2**40
    store.put_root(folder_entry(b"", folder), 1 << 20)
    again = ClosureWalk(store)
    again.add_root(root, None)
    again.add_root(root_of(store, folder_entry(b"x", folder)), None)
    assert len(Walked(again, store).nodes) == 44


def test_shared_index_nodes_are_visited_once() -> None:
    """A file of 2**40 blocks whose every node holds one child 256 times."""
    store = Memory()
    identity = block(1)
    for level in range(5):
        identity = store.put(IndexNode(level, identity * 256))
    root = root_of(store, large_file(b"f", identity, 1 << 40))
    found = walk(store, root)
    assert len(found.nodes) == 2 + 5


def test_missing_nodes_can_be_skipped() -> None:
    store = Memory()
    root = store.put_root(put_tree(store, {b"a": {b"x": b"1"}, b"b": {b"y": b"2"}}))
    found = ClosureWalk(store)
    found.add_root(root, None)
    visited = 0
    while taken := found.take(10):
        for identity in taken:
            node = decode(store.objects[node_key(identity)])
            if isinstance(node, LeafNode) and node.entries[0].name == b"x":
                found.skip(identity)
            else:
                found.visit(identity, store.objects[node_key(identity)])
                visited += 1
    assert visited == 3
    assert found.drain_blocks() == [b"\x01" + block_id(b"2")]


# -- nodes that lie ------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["files", "size"])
@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("count", [3, 3000])
def test_folder_entry_that_lies_about_sums(field: str, depth: int, count: int) -> None:
    store = Memory()
    folder = store.put_folder(b"" if depth == 0 else b"folder", numbered(count))
    liar = changed(folder, **{field: getattr(folder, field) + 1})
    honest, root = (
        (store.put_root(entry) if depth == 0 else root_of(store, entry)) for entry in (folder, liar)
    )
    walk(store, honest)
    refuse(store, root)
    refuse(store, root, base=honest)
    refuse(store, honest, root)


def deep_branch(store: Memory) -> tuple[list[Child], BranchNode]:
    """The leaves of a folder of 20,000 and its top branch, which has branches below."""
    folder = build_folder(store, numbered(20_000))
    top = load_directory(store, folder.node)
    assert isinstance(top, BranchNode) and top.height == 2
    return list(leaves(store, folder.node)), top


def root_over(store: Memory, *branches: BranchNode) -> bytes:
    """A root with one folder for each top branch, its sums as the branch states them."""
    entries = []
    for number, node in enumerate(branches):
        files = sum(child.files for child in node.children)
        size = sum(child.size for child in node.children)
        folder = Folder(store.put(node), files, size)
        entries.append(folder_entry(b"folder%d" % number, folder))
    return root_of(store, *entries)


LIES = {"entries": 7, "files": 7, "size": 7, "last": b"zzz"}


@pytest.mark.parametrize("field", LIES)
@pytest.mark.parametrize("height", [1, 2])
def test_branch_that_lies_about_a_child(field: str, height: int) -> None:
    """Alone, beside an honest one that visits the same nodes first or last, and over a base that
    holds the same leaves."""
    store = Memory()
    found, top = deep_branch(store)
    if height == 1:
        top = BranchNode(1, tuple(found[:20]))
    lie = msgspec.structs.replace(top.children[-1], **{field: LIES[field]})
    liar = BranchNode(height, (*top.children[:-1], lie))
    honest = root_over(store, top)
    walk(store, honest)
    refuse(store, root_over(store, liar))
    refuse(store, root_over(store, liar), base=honest)
    refuse(store, root_over(store, top, liar))
    refuse(store, root_over(store, liar, top))


def test_leaf_that_is_a_folder_elsewhere_is_checked_as_part_too() -> None:
    store = Memory()
    found, _ = deep_branch(store)
    part = found[1]
    whole = leaf_child(list(load_leaf(store, part.node).entries), part.node)
    folder = folder_entry(b"folder", Folder(part.node, whole.files, whole.size))
    liar = BranchNode(1, (found[0], msgspec.structs.replace(part, entries=part.entries + 1)))
    files, size = found[0].files + part.files, found[0].size + part.size
    for name in (b"a", b"z"):
        other = folder_entry(name, Folder(store.put(liar), files, size))
        refuse(store, root_of(store, folder, other))


def test_leaves_that_overlap() -> None:
    """Each leaf is in order, and the last names are too, but one starts before another ends."""
    store = Memory()
    found, _ = deep_branch(store)
    inside = [*load_leaf(store, found[0].node).entries[:1], file_entry(found[1].last[:-1] + b"~")]
    crafted = leaf_child(inside, store.put(LeafNode(tuple(inside))))
    assert found[0].last < crafted.last
    order = sorted([crafted, found[1], found[2]], key=lambda child: child.last)
    refuse(store, root_over(store, BranchNode(1, tuple(order))))
    honest = root_over(store, BranchNode(1, tuple(found[:3])))
    refuse(store, root_over(store, BranchNode(1, tuple(order))), base=honest)


def test_new_leaf_that_reaches_into_a_leaf_of_the_base() -> None:
    """The second leaf is held by the base as it is, but there another name stood before it."""
    store = Memory()
    found, _ = deep_branch(store)
    held = load_leaf(store, found[1].node).entries
    inside = [*load_leaf(store, found[0].node).entries[:1], file_entry(held[-2].name + b"~")]
    crafted = leaf_child(inside, store.put(LeafNode(tuple(inside))))
    assert held[0].name < crafted.last < found[1].last
    honest = root_over(store, BranchNode(1, tuple(found[:3])))
    liar = root_over(store, BranchNode(1, (crafted, *found[1:3])))
    refuse(store, liar)
    refuse(store, liar, base=honest)


def test_parts_of_the_wrong_height() -> None:
    store = Memory()
    found, top = deep_branch(store)
    refuse(store, root_over(store, BranchNode(2, tuple(found[:3]))))
    refuse(store, root_over(store, BranchNode(1, top.children)))
    empty = Child(b"x", store.put(LeafNode(())), 1, 0, 0)
    refuse(store, root_over(store, BranchNode(1, (empty,))))


@pytest.mark.parametrize("claimed", [2, 256, 257, 513, 65537])
@pytest.mark.parametrize("real", [10, 300])
def test_file_that_lies_about_its_length(real: int, claimed: int) -> None:
    """Alone, and over a base where the same content has its right length."""
    store = Memory()
    content = index(store, map(block, range(real)))
    base = root_of(store, large_file(b"f", content, real))
    walk(store, base)
    root = root_of(store, large_file(b"f", content, claimed))
    refuse(store, root)
    refuse(store, root, base=base)
    refuse(store, base, root)


def test_part_of_a_file_that_fits_the_base_and_not_the_file() -> None:
    store = Memory()
    base = root_of(store, large_file(b"f", index(store, map(block, range(257))), 257))
    first = store.put(IndexNode(0, b"".join(map(block, range(1000, 1256)))))
    short = store.put(IndexNode(0, block(256)))
    crafted = store.put(IndexNode(1, first + short))
    root = root_of(store, large_file(b"f", crafted, 300))
    refuse(store, root)
    refuse(store, root, base=base)


def test_index_node_of_the_wrong_level() -> None:
    """A full node of level 0 stands where a node of level 1 over it belongs."""
    store = Memory()
    low = store.put(IndexNode(0, b"".join(map(block, range(256)))))
    middle = store.put(IndexNode(1, low * 256))
    crafted = store.put(IndexNode(2, middle + low))
    honest = large_file(b"m", low, 256)
    liar = changed(large_file(b"x", crafted, 65536 + 256))
    refuse(store, root_of(store, liar))
    for name in (b"a", b"z"):
        refuse(store, root_of(store, honest, changed(liar, name=name)))
    refuse(store, root_of(store, liar), base=root_of(store, changed(honest, name=b"x")))


def test_sparse_tail_may_change_its_length() -> None:
    """257 and 300 blocks, all but the first null: one content, two honest lengths."""
    store = Memory()
    entries = []
    for size in (257, 300):
        builder = IndexBuilder(store.put_node)
        builder.add(block(1))
        builder.add_nulls(size - 1)
        entries.append(large_file(b"f", builder.finish(), size))
    assert entries[0].content == entries[1].content
    base, root = (root_of(store, entry) for entry in entries)
    assert walk(store, root, base).keys == reachable(store, root) - reachable(store, base)
    assert walk(store, root).keys == reachable(store, root)


def test_block_size_is_part_of_what_is_checked() -> None:
    """One folder in two roots, but only for the first block size do the files fit."""
    store = Memory()
    file = large_file(b"f", index(store, map(block, range(300))), 300)
    top = store.put_folder(b"", [file])
    good, bad = store.put_root(top, BLOCK), store.put_root(top, 4 * BLOCK)
    walk(store, good)
    refuse(store, bad)
    refuse(store, good, bad)
    refuse(store, bad, good)
    refuse(store, bad, base=good)


def test_nodes_of_another_kind() -> None:
    store = Memory()
    file = large_file(b"f", index(store, map(block, range(300))), 300)
    folder = store.put_folder(b"d", [file])
    refuse(store, folder.content)
    refuse(store, root_of(store, changed(folder, content=file.content)))
    refuse(store, root_of(store, changed(file, content=folder.content)))
    refuse(store, root_of(store, changed(folder, content=root_of(store, file))))
