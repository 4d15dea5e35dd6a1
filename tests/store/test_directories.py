"""Folders: the shape follows from the entries."""

from __future__ import annotations

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given
from support import (
    Memory,
    build_folder,
    file_entry,
    folder_entry,
    folders,
    names,
    numbered,
)

from treering.store.directories import (
    DirectoryBuilder,
    Folder,
    closes,
    entries,
    find,
    leaves,
    load_directory,
    load_leaf,
)
from treering.store.errors import Corrupt
from treering.store.nodes import EMPTY_FOLDER, BranchNode, Child, Entry, Extras, LeafNode, decode

WIDE = 1500


def with_xattr(entry: Entry, size: int) -> Entry:
    return msgspec.structs.replace(entry, extras=Extras(xattrs=((b"user.x", bytes(size)),)))


def sums(found: list[Entry]) -> tuple[int, int]:
    return len(found), sum(entry.size for entry in found)


def by_definition(store: Memory, found: list[Entry]) -> bytes:
    """The directory node by the words of `docs/format.md`, and nothing from the builder."""

    def ends(name: bytes, height: int) -> bool:
        bits = 6 * (height + 1)
        return int(blake3(name).hexdigest(), 16) % (1 << bits) == 0

    level: list[Child] = []
    node: list[Entry] = []
    for entry in found:
        node.append(entry)
        xattrs = sum(len(a) + len(b) for e in node if e.extras for a, b in e.extras.xattrs)
        full = len(node) == 1024 or xattrs >= 1 << 20
        if full or (len(node) >= 16 and ends(entry.name, 0)):
            level.append(leaf(store, node))
            node = []
    if node or not level:
        if not level:
            return store.put(LeafNode(tuple(node)))
        level.append(leaf(store, node))
    height = 1
    while len(level) > 1:
        above: list[Child] = []
        group: list[Child] = []
        for child in level:
            group.append(child)
            if len(group) == 1024 or (len(group) >= 16 and ends(child.last, height)):
                above.append(branch(store, group, height))
                group = []
        if group:
            above.append(branch(store, group, height))
        level = above
        height += 1
    return level[0].node


def leaf(store: Memory, node: list[Entry]) -> Child:
    files = sum(entry.files if entry.is_folder else 1 for entry in node)
    size = sum(entry.size for entry in node if entry.kind in (1, 2))
    return Child(node[-1].name, store.put(LeafNode(tuple(node))), len(node), files, size)


def branch(store: Memory, group: list[Child], height: int) -> Child:
    identity = store.put(BranchNode(height, tuple(group)))
    total = [sum(getattr(child, name) for child in group) for name in ("entries", "files", "size")]
    return Child(group[-1].last, identity, *total)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 200, 1024, 1025, 5000])
def test_shape_by_definition(count: int) -> None:
    store = Memory()
    found = numbered(count)
    folder = build_folder(store, found)
    assert folder.node == by_definition(store, found)
    assert (folder.files, folder.size) == sums(found)
    assert list(entries(store, folder.node)) == found


def test_empty_folder_is_the_empty_leaf() -> None:
    store = Memory()
    assert build_folder(store, []) == Folder(EMPTY_FOLDER, 0, 0)
    assert list(leaves(store, EMPTY_FOLDER)) == []
    assert find(store, EMPTY_FOLDER, b"a") is None


def never_closing(count: int) -> list[Entry]:
    """Entries whose names end no node."""
    numbers = (n for n in range(10 * count) if not closes(b"%06d" % n, 0))
    return [file_entry(b"%06d" % next(numbers)) for _ in range(count)]


def test_at_most_1024_entries() -> None:
    store = Memory()
    found = never_closing(2100)
    folder = build_folder(store, found)
    assert [child.entries for child in leaves(store, folder.node)] == [1024, 1024, 52]
    assert folder.node == by_definition(store, found)


def test_at_least_16_entries_and_a_name_that_closes() -> None:
    store = Memory()
    found = list(leaves(store, build_folder(store, numbered(20_000)).node))
    assert len(found) > 100
    for child in found[:-1]:
        assert 16 <= child.entries <= 1024
        assert closes(child.last, 0)


def test_closing_names_closer_than_16_do_not_close() -> None:
    store = Memory()
    closing = [n for n in range(3000) if closes(b"%06d" % n, 0)][:17]
    found = [file_entry(b"%06d" % n) for n in closing]
    assert [child.entries for child in leaves(store, build_folder(store, found).node)] == [16, 1]


def test_many_xattrs_close_a_leaf() -> None:
    store = Memory()
    found = [with_xattr(entry, 300_000) for entry in never_closing(9)]
    folder = build_folder(store, found)
    assert [child.entries for child in leaves(store, folder.node)] == [4, 4, 1]
    assert folder.node == by_definition(store, found)


def test_sums_count_what_is_below() -> None:
    store = Memory()
    inner = folder_entry(b"inner", build_folder(store, numbered(30)))
    link = Entry(b"link", 3, 0o777, 0, 0, 0, 5, 0, bytes(32), Extras(target=b"there"))
    pipe = Entry(b"pipe", 4, 0o644, 0, 0, 0, 0, 0, bytes(32))
    folder = build_folder(store, [inner, link, pipe])
    assert (folder.files, folder.size) == (32, sums(numbered(30))[1])


def test_sums_of_branches() -> None:
    """At every height a child says the sum of what lies below it."""
    store = Memory()
    folder = build_folder(store, numbered(20_000))

    def check(child: Child) -> tuple[int, int, int]:
        node = load_directory(store, child.node)
        if isinstance(node, BranchNode):
            below = [check(inner) for inner in node.children]
            found = tuple(sum(column) for column in zip(*below, strict=True))
        else:
            found = (len(node.entries), *sums(list(node.entries)))
        assert found == (child.entries, child.files, child.size)
        return child.entries, child.files, child.size

    top = load_directory(store, folder.node)
    assert isinstance(top, BranchNode) and top.height >= 2
    total = [check(child) for child in top.children]
    assert sum(found[0] for found in total) == 20_000
    assert (folder.files, folder.size) == sums(numbered(20_000))


def test_leaves_taken_over_whole() -> None:
    """What the tracker does with leaves that it knows to be unchanged."""
    store = Memory()
    whole = build_folder(store, numbered(WIDE))
    told: list[tuple[Child, bool]] = []
    builder = DirectoryBuilder(store.put_node, lambda child, final, _: told.append((child, final)))
    found = list(leaves(store, whole.node))
    for position, child in enumerate(found):
        assert builder.at_boundary
        if position % 2:
            builder.add_leaf(child, final=child is found[-1])
        else:
            for entry in load_leaf(store, child.node).entries:
                builder.add(entry)
    assert builder.finish() == whole
    assert [child for child, _ in told] == found
    assert [final for _, final in told[:-1]] == [False] * (len(found) - 1)


@given(folders, names)
def test_find_agrees_with_a_dict(found: list[Entry], other: bytes) -> None:
    store = Memory()
    identity = build_folder(store, found).node
    expected = {entry.name: entry for entry in found}
    for name in (*expected, other):
        assert find(store, identity, name) == expected.get(name)


def test_find_in_a_large_folder() -> None:
    store = Memory()
    found = numbered(20_000, 2)
    identity = build_folder(store, found).node
    for number in (0, 1, 9_998, 9_999, 19_998, 19_999):
        store.loaded.clear()
        expected = found[number // 2] if number % 2 == 0 else None
        assert find(store, identity, b"%06d" % number) == expected
        assert len(store.loaded) <= 4
    assert find(store, identity, b"zzz") is None


def lying(store: Memory, identity: bytes, **fields: object) -> bytes:
    """The top branch of a folder, one child of which says something untrue."""
    top = decode(store.objects[b"\x02" + identity])
    assert isinstance(top, BranchNode) and top.height >= 2
    first = msgspec.structs.replace(top.children[0], **fields)
    return store.put(BranchNode(top.height, (first, *top.children[1:])))


@pytest.mark.parametrize("field", ["entries", "files", "size"])
def test_branch_that_does_not_add_up_is_corrupt(field: str) -> None:
    store = Memory()
    identity = lying(store, build_folder(store, numbered(20_000)).node, **{field: 7})
    with pytest.raises(Corrupt, match="does not add up"):
        list(leaves(store, identity))


def test_nodes_of_another_shape_are_corrupt() -> None:
    store = Memory()
    root = store.put_root(store.put_folder(b"", []))
    with pytest.raises(Corrupt, match="not a directory"):
        list(entries(store, root))
    small = build_folder(store, numbered(3)).node
    large = build_folder(store, numbered(20_000)).node
    with pytest.raises(Corrupt, match="wrong height"):
        list(leaves(store, lying(store, large, node=small)))
    with pytest.raises(Corrupt, match="not a directory leaf"):
        load_leaf(store, large)
