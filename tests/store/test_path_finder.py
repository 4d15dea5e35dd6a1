"""Many paths of one stored tree: the same entries as one look-up after the other gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support import Memory, Tree, build_folder, folder_entry, names, numbered, put_tree

from treering.store import trees
from treering.store.path_finder import PathFinder

SMALL = st.sampled_from([b"a", b"b", b"c", b"a.b", b"\xff"])
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(SMALL, st.binary(max_size=3), max_size=4),
    lambda below: st.dictionaries(SMALL, st.binary(max_size=3) | below, max_size=4),
    max_leaves=12,
)
PATHS = st.lists(st.lists(SMALL | names, max_size=4).map(b"/".join), max_size=30)


@given(TREES, PATHS)
def test_it_finds_what_a_look_up_finds(tree: Tree, paths: list[bytes]) -> None:
    store = Memory()
    top = put_tree(store, tree)
    finder = PathFinder(store, top)
    for path in paths:
        assert finder.find(path) == trees.lookup_or_none(store, top, path)


def test_of_nothing_there_is_nothing() -> None:
    finder = PathFinder(Memory(), None)
    assert finder.find(b"") is None
    assert finder.find(b"a/b") is None


def test_paths_in_order_cost_a_node_for_each_leaf() -> None:
    store = Memory()
    entries = numbered(5000)
    top = folder_entry(b"", build_folder(store, entries))
    nodes = len(store.objects)
    finder = PathFinder(store, top)
    store.loaded.clear()
    assert [finder.find(entry.name) for entry in entries] == entries
    assert len(store.loaded) <= 2 * nodes
