"""Root trees looked at from their root."""

from __future__ import annotations

import random

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from support import BLOCK, Memory, Tree, put_tree

from treering.store import trees
from treering.store.errors import Corrupt, NotFound
from treering.store.ids import NULL, node_key
from treering.store.nodes import Entry, EntryKind
from treering.store.trees import PathDifference

TREE: Tree = {
    b"a": b"first",
    b"b": {b"c": b"second", b"d": {b"e": b"", b"\xff": b"third"}},
    b"b.txt": b"4",
    b"z": {},
}
PATHS = [b"a", b"b", b"b/c", b"b/d", b"b/d/e", b"b/d/\xff", b"b.txt", b"z"]


def read(store: Memory, entry: Entry, offset: int = 0, length: int | None = None) -> bytes:
    pieces = list(trees.read_file(store, entry, BLOCK, offset, length))
    assert all(len(piece) <= BLOCK for piece in pieces)
    return b"".join(pieces)


def flat(tree: Tree, prefix: bytes = b"") -> dict[bytes, bytes | None]:
    """Path -> content of a file, None for a folder."""
    found: dict[bytes, bytes | None] = {}
    for name, content in tree.items():
        if isinstance(content, bytes):
            found[prefix + name] = content
        else:
            found[prefix + name] = None
            found |= flat(content, prefix + name + b"/")
    return found


def test_root_roundtrip_and_golden_id() -> None:
    """The root id of a tiny tree, and the same written out by hand from `docs/format.md`."""
    store = Memory()
    top = put_tree(store, {b"hello": b"world\n"})
    root = store.put_root(top, 65536)
    assert trees.load_root(store, root).top == top

    def derive(plain: bytes) -> bytes:
        return blake3(plain, derive_key_context="treering node v1").digest()

    owner = b"\xcd\x03\xe8\xcd\x03\xe8\x01"
    block = blake3(b"world\n").digest()
    leaf = b"\x92\x02\x91\x9a\xc4\x05hello\x01\xcd\x01\xa4" + owner + b"\x06\x00\xc4\x20" + block
    entry = b"\x9a\xc4\x00\x02\xcd\x01\xed" + owner + b"\x06\x01\xc4\x20" + derive(leaf + b"\xc0")
    plain = b"\x95\x04\x01\xce\x00\x01\x00\x00\xa5fixed" + entry + b"\xc0"
    assert root == derive(plain)
    assert root.hex() == "b61aee578a0e9e921d51c0fb075579a060be6e5cf3eab4d18560aba02da6c945"


def test_load_root_refuses_other_nodes() -> None:
    store = Memory()
    top = put_tree(store, TREE)
    with pytest.raises(Corrupt, match="expected a RootNode"):
        trees.load_root(store, top.content)


def test_lookup() -> None:
    store = Memory()
    top = put_tree(store, TREE)
    assert trees.lookup(store, top, b"") == top
    assert trees.lookup(store, top, b"/b//d/") == trees.lookup(store, top, b"b/d")
    for path, content in flat(TREE).items():
        entry = trees.lookup(store, top, path)
        assert entry.name == path.rpartition(b"/")[2]
        assert entry.is_folder == (content is None)
        if content is not None:
            assert read(store, entry) == content


@pytest.mark.parametrize("path", [b"c", b"a/x", b"b/d/x", b"z/x", b"..", b"b/.", b"b/d/\xfe"])
def test_lookup_of_nothing(path: bytes) -> None:
    store = Memory()
    with pytest.raises(NotFound, match="no such path"):
        trees.lookup(store, put_tree(store, TREE), path)


def test_walk_in_tree_order() -> None:
    store = Memory()
    top = put_tree(store, TREE)
    found = list(trees.walk(store, top))
    assert [located.path for located in found] == PATHS
    assert all(located.entry == trees.lookup(store, top, located.path) for located in found)
    below = trees.walk(store, trees.lookup(store, top, b"b"), b"b/")
    assert [located.path for located in below] == PATHS[2:6]


@given(
    st.lists(st.sampled_from(["data", "hole", "ones"]), max_size=6),
    st.integers(0, BLOCK),
    st.integers(0, 7 * BLOCK),
    st.none() | st.integers(0, 7 * BLOCK),
)
def test_read_file_is_a_slice(
    blocks: list[str], tail: int, offset: int, length: int | None
) -> None:
    pieces = {"data": random.Random(1).randbytes(BLOCK), "hole": bytes(BLOCK), "ones": b"1" * BLOCK}
    content = b"".join(pieces[block] for block in blocks)
    content = content[: max(0, len(content) - tail)]
    store = Memory()
    entry = store.put_file(b"f", content)
    stop = None if length is None else offset + length
    assert read(store, entry, offset, length) == content[offset:stop]


def test_read_file_over_many_batches_and_levels() -> None:
    content = random.Random(2).randbytes(300 * BLOCK + 17)
    content = content[: 70 * BLOCK] + bytes(100 * BLOCK) + content[170 * BLOCK :]
    store = Memory()
    entry = store.put_file(b"f", content)
    assert read(store, entry) == content
    assert read(store, entry, 256 * BLOCK - 1, 3) == content[256 * BLOCK - 1 :][:3]


def test_read_file_of_holes_only() -> None:
    store = Memory()
    entry = store.put_file(b"f", bytes(3 * BLOCK + 5))
    assert entry.content == NULL
    assert read(store, entry) == bytes(3 * BLOCK + 5)


def test_block_of_the_wrong_length_is_corrupt() -> None:
    store = Memory()
    short = store.put_block(b"short")
    whole = store.put_block(b"w" * BLOCK)
    for size, content in ((6, short), (4, short), (BLOCK - 1, whole)):
        entry = Entry(b"f", EntryKind.FILE, 0, 0, 0, 0, size, 0, content)
        with pytest.raises(Corrupt, match="wrong length"):
            read(store, entry)


def test_block_that_is_not_what_its_id_says_is_corrupt() -> None:
    store = Memory()
    entry = store.put_file(b"f", b"right")
    store.objects[b"\x01" + entry.content] = b"wrong"

    with pytest.raises(Corrupt):
        for record in store.stream([b"\x01" + entry.content]):
            store.expand(record._replace(key=type(record.key)(b"\x01" + entry.content)))


contents = st.sampled_from([b"", b"x", b"y"])
small_trees: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), contents, max_size=3),
    lambda inner: st.dictionaries(
        st.sampled_from([b"a", b"b", b"c", b"d"]), contents | inner, max_size=3
    ),
    max_leaves=6,
)


def model(old: Tree, new: Tree) -> list[bytes]:
    """The paths that differ, in tree order: parts compared, not joined names."""
    before, after = flat(old), flat(new)

    def below(found: dict[bytes, bytes | None], path: bytes) -> dict[bytes, bytes | None]:
        return {p: c for p, c in found.items() if p == path or p.startswith(path + b"/")}

    differ = [p for p in before.keys() | after.keys() if below(before, p) != below(after, p)]
    return sorted(differ, key=lambda path: path.split(b"/"))


@given(small_trees, small_trees)
def test_differences_agree_with_dicts(old: Tree, new: Tree) -> None:
    store = Memory()
    a, b = put_tree(store, old), put_tree(store, new)
    found = list(trees.differences(store, a, b))
    assert [difference.path for difference in found] == model(old, new)
    everything = {located.path: located.entry for located in trees.walk(store, b)}
    assert all(difference.new == everything.get(difference.path) for difference in found)
    assert [d.path for d in trees.differences(store, None, b)] == [
        located.path for located in trees.walk(store, b)
    ]
    reverse = [PathDifference(path, new, old) for path, old, new in found]
    assert list(trees.differences(store, b, a)) == reverse


def test_differences_load_nothing_for_equal_folders() -> None:
    store = Memory()
    same: Tree = {b"%d" % n: b"x" for n in range(40)}
    old = put_tree(store, {b"same": same, b"other": b"1"})
    new = put_tree(store, {b"same": same, b"other": b"2"})
    store.loaded.clear()
    assert [found.path for found in trees.differences(store, old, new)] == [b"other"]
    assert sorted(set(store.loaded)) == sorted({old.content, new.content})
    store.loaded.clear()
    assert list(trees.differences(store, old, old)) == []
    assert store.loaded == []
    assert node_key(old.content) in store.objects
