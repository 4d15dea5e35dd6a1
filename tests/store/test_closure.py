"""The closure: all objects of a root, and no other."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import BLOCK, Memory, Tree, build_folder, file_entry, folder_entry, put_tree, reachable
from walking import Walked, block, changed, index, large_file, numbered, root_of, walk

from treering.store.closure import ClosureWalk
from treering.store.ids import NULL, block_id, block_key, node_key
from treering.store.nodes import IndexNode, LeafNode, decode


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


@pytest.mark.parametrize("position", [0, 12_345, 19_999])
def test_one_changed_entry_of_a_large_folder_costs_its_path(position: int) -> None:
    store = Memory()
    entries = numbered(20_000)
    base = root_of(store, store.put_folder(b"folder", entries))
    entries[position] = changed(entries[position], content=block(-1))
    root = root_of(store, store.put_folder(b"folder", entries))
    store.loaded.clear()
    found = walk(store, root, base)
    read = len(store.loaded)
    missing = reachable(store, root) - reachable(store, base)
    assert found.keys == missing
    assert len(missing) <= 7
    assert len(set(store.loaded[:read])) <= 7, "of the base's folder, its path too"


def test_a_large_folder_that_grew_and_shrank() -> None:
    """What both have at the same place is not visited, whole branches at a time."""
    store = Memory()
    entries = numbered(30_000)
    shorter = store.put_folder(b"folder", entries[:20_000])
    longer = store.put_folder(b"folder", entries)
    for old, new in ((shorter, longer), (longer, shorter)):
        base, root = root_of(store, old), root_of(store, new)
        found = walk(store, root, base)
        missing = reachable(store, root) - reachable(store, base)
        assert missing <= found.keys
        assert len(found.keys - missing) <= 2, "the way to where the shorter one ends"


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
    assert found.drain_blocks() == ([block_key(block_id(b"2"))], [1])
