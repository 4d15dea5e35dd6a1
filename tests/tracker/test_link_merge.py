"""Hard-link groups after a merge: named as a commit of the merged tree would name them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from support import BLOCK, Memory, build_folder, folder_entry

from treering.store.folder_editor import edit_tree
from treering.store.nodes import Entry, Extras
from treering.store.trees import walk
from treering.tracker.link_merge import regrouped
from treering.tracker.links import group_names, group_path
from treering.tracker.tree_merge import Options, merge_trees

Tree = Mapping[bytes, int]
"""Path (of one name, or folder/name) -> which file it is."""
Contents = Mapping[int, bytes]


def stored(store: Memory, tree: Tree, contents: Contents) -> Entry:
    """The tree as a commit writes it: files of several names are groups."""
    groups: dict[bytes, tuple[int, bytes] | None] = {}
    for file in set(tree.values()):
        names = sorted(path.split(b"/") for path in tree if tree[path] == file)
        named = group_names(names) if len(names) > 1 else [None]
        groups |= {b"/".join(name): group for name, group in zip(names, named, strict=True)}
    below: dict[bytes, list[Entry]] = {b"": []}
    for path in sorted(tree, key=lambda path: path.split(b"/")):
        folder, _, name = path.rpartition(b"/")
        entry = store.put_file(name, contents[tree[path]])
        group = groups[path]
        if group is not None:
            entry = msgspec.structs.replace(entry, extras=Extras(group=group))
        below.setdefault(folder, []).append(entry)
    top = below.pop(b"")
    top += [folder_entry(name, build_folder(store, found)) for name, found in below.items()]
    return folder_entry(b"", build_folder(store, sorted(top, key=lambda entry: entry.name)))


def merged(store: Memory, base: Entry, ours: Entry, theirs: Entry) -> tuple[Entry, bool]:
    trio = base, ours, theirs
    found = merge_trees(store, store.put_node, BLOCK, trio, Options())
    top = edit_tree(store, store.put_node, found.top, found.beside)
    edits = regrouped(store, trio, top)
    return edit_tree(store, store.put_node, top, edits), bool(found.clashes)


def files(store: Memory, top: Entry) -> dict[bytes, Entry]:
    return {path: entry for path, entry in walk(store, top) if not entry.is_folder}


def check_groups(found: Mapping[bytes, Entry]) -> dict[bytes, set[bytes]]:
    """Every group is named by its first path, has two names or more, and one content. Returns the
    names by group."""
    together: dict[bytes, set[bytes]] = {}
    for path, entry in found.items():
        if entry.more.group is not None:
            folder = path[: path.rfind(b"/") + 1]
            together.setdefault(group_path(folder, entry.more.group), set()).add(path)
    for name, paths in together.items():
        names = sorted(path.split(b"/") for path in paths)
        assert len(names) > 1 and b"/".join(names[0]) == name
        assert {found[path].content for path in paths} == {found[name].content}
        for parts, group in zip(names, group_names(names), strict=True):
            assert found[b"/".join(parts)].more.group == group
    return together


def test_a_name_added_here_and_the_first_one_deleted_there() -> None:
    store = Memory()
    contents = {1: b"one"}
    base = stored(store, {b"a": 1, b"b": 1, b"c": 1}, contents)
    ours = stored(store, {b"a": 1, b"b": 1, b"c": 1, b"d/z": 1}, contents)
    theirs = stored(store, {b"b": 1, b"c": 1}, contents)
    top, clashes = merged(store, base, ours, theirs)
    assert not clashes
    assert top == stored(store, {b"b": 1, b"c": 1, b"d/z": 1}, contents)


def test_a_name_added_there_to_a_file_that_was_changed_here() -> None:
    """Two contents cannot be one file."""
    store = Memory()
    base = stored(store, {b"a": 1, b"b": 1}, {1: b"old"})
    ours = stored(store, {b"a": 1, b"b": 1}, {1: b"new"})
    theirs = stored(store, {b"a": 1, b"b": 1, b"c": 1}, {1: b"old"})
    top, clashes = merged(store, base, ours, theirs)
    assert not clashes
    assert top == stored(store, {b"a": 1, b"b": 1, b"c": 2}, {1: b"new", 2: b"old"})


def test_names_added_on_both_sides_in_new_folders() -> None:
    store = Memory()
    contents = {1: b"one", 2: b"two"}
    base = stored(store, {b"a": 1, b"k": 2}, contents)
    ours = stored(store, {b"a": 1, b"k": 2, b"m/x": 1}, contents)
    theirs = stored(store, {b"a": 1, b"k": 2, b"n/y": 1}, contents)
    top, clashes = merged(store, base, ours, theirs)
    assert not clashes
    assert top == stored(store, {b"a": 1, b"k": 2, b"m/x": 1, b"n/y": 1}, contents)


def test_hard_links_that_one_side_alone_touched_stand() -> None:
    store = Memory()
    contents = {1: b"one", 2: b"two", 3: b"three"}
    base = stored(store, {b"a": 1, b"b": 1, b"k": 2}, contents)
    theirs = stored(store, {b"a": 1, b"b": 1, b"k": 3}, contents)
    assert regrouped(store, (base, base, theirs), theirs) == {}


paths = st.sampled_from([b"a", b"b", b"d/a", b"d/b", b"e/a"])
linked = st.dictionaries(paths, st.integers(1, 2), max_size=5)
texts = st.fixed_dictionaries({1: st.sampled_from([b"1", b"x"]), 2: st.sampled_from([b"2", b"y"])})


@settings(max_examples=100)
@given(linked, texts, linked, texts, linked, texts)
def test_groups_are_as_a_commit_would_name_them(
    base: Tree, one: Contents, ours: Tree, two: Contents, theirs: Tree, three: Contents
) -> None:
    store = Memory()
    top, _ = merged(
        store, stored(store, base, one), stored(store, ours, two), stored(store, theirs, three)
    )
    check_groups(files(store, top))
