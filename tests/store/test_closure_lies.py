"""The closure: no lie of a node goes unnoticed."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from support import BLOCK, Memory, build_folder, file_entry, folder_entry, reachable
from walking import block, changed, index, large_file, numbered, refuse, root_of, walk

from treering.store.closure import ClosureWalk
from treering.store.content import IndexBuilder, block_count
from treering.store.directories import (
    MIN_ENTRIES,
    Folder,
    closes,
    leaf_child,
    leaves,
    load_directory,
    load_leaf,
)
from treering.store.ids import NULL, node_key
from treering.store.nodes import BranchNode, Child, IndexNode, LeafNode


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


def leaf_up_to(store: Memory, leaf: Child, name: bytes) -> Child:
    """A leaf that is split as it should be: it starts as another, and ends with a name that starts
    like this."""
    last = next(name + b"%d" % n for n in itertools.count() if closes(name + b"%d" % n, 0))
    first = load_leaf(store, leaf.node).entries[: MIN_ENTRIES - 1]
    entries = [*first, file_entry(last)]
    return leaf_child(entries, store.put(LeafNode(tuple(entries))))


def test_leaves_that_overlap() -> None:
    """Each leaf is in order, and the last names are too, but one starts before another ends."""
    store = Memory()
    found, _ = deep_branch(store)
    crafted = leaf_up_to(store, found[0], found[1].last[:-1] + b"~")
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
    crafted = leaf_up_to(store, found[0], held[-2].name + b"~")
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
    refuse(store, root_over(store, BranchNode(1, (found[0], empty))))


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


def lengths(store: Memory, root: bytes, base: bytes | None = None) -> dict[bytes, set[int]]:
    """Block id -> the lengths that the walk says its places want."""
    found = ClosureWalk(store)
    found.add_root(root, base)
    wanted: dict[bytes, set[int]] = {}
    while taken := found.take(7):
        for identity in taken:
            found.visit(identity, store.objects[node_key(identity)])
        for key, length in zip(*found.drain_blocks(), strict=True):
            wanted.setdefault(key[1:], set()).add(length)
    return wanted


SIZES = [1, 100, BLOCK, BLOCK + 1, 3 * BLOCK - 5, 256 * BLOCK, 256 * BLOCK + 7, 65_600 * BLOCK - 1]


@pytest.mark.parametrize("size", SIZES)
def test_each_block_is_known_with_its_length(size: int) -> None:
    store = Memory()
    count = block_count(size, BLOCK)
    content = index(store, map(block, range(count)))
    found = lengths(store, root_of(store, file_entry(b"f", size=size, content=content)))
    tail = size - (count - 1) * BLOCK
    assert found.pop(block(count - 1)) == {tail}
    assert found == {block(number): {BLOCK} for number in range(count - 1)}


@pytest.mark.parametrize("size", SIZES[:-1])
@pytest.mark.parametrize("old", SIZES[:-1])
def test_a_block_of_the_base_whose_length_should_have_changed(old: int, size: int) -> None:
    """The same block ends the shorter file and stands in the longer one: the walk says so over
    that base, too."""
    store = Memory()
    names = [file_entry(b"f", size=one, content=NULL) for one in (old, size)]
    contents = [index(store, map(block, range(block_count(one, BLOCK)))) for one in (old, size)]
    base, root = (
        root_of(store, changed(entry, content=content))
        for entry, content in zip(names, contents, strict=True)
    )
    last = min(old, size)
    shared = block_count(last, BLOCK) - 1
    before, after = (min(BLOCK, one - shared * BLOCK) for one in (old, size))
    found = lengths(store, root, base)
    if before != after:
        assert found[block(shared)] == {after}
    over_nothing = lengths(store, root)
    assert all(found[identity] == over_nothing[identity] for identity in found)
