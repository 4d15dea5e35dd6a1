"""Three-way merges of stored trees, against a model of nested dictionaries."""

from __future__ import annotations

from typing import Union, cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from support import BLOCK, Memory, build_folder, file_entry, folder_entry

from treering.store.folder_editor import edit_tree
from treering.store.nodes import Entry, EntryKind, Extras
from treering.store.trees import read_file, walk
from treering.tracker.merge_state import Clash
from treering.tracker.tree_merge import Favour, Merge, Options, merge_trees

Model = Union[dict[bytes, "Model"], tuple[bytes, int], None]  # noqa: UP007
"""A folder, a file of (content, mode), or nothing."""

names = st.sampled_from([b"a", b"b", b"c"])
files = st.tuples(st.sampled_from([b"x", b"y", b"z"]), st.sampled_from([0o644, 0o600]))
trees = st.recursive(files, lambda below: st.dictionaries(names, below, max_size=3), max_leaves=6)
tops = st.dictionaries(names, trees, max_size=3)


def stored(store: Memory, model: Model, name: bytes = b"") -> Entry:
    if isinstance(model, dict):
        entries = [stored(store, below, inner) for inner, below in sorted(model.items())]
        return folder_entry(name, build_folder(store, entries))
    assert model is not None
    content, mode = model
    return msgspec.structs.replace(store.put_file(name, content), mode=mode)


def modelled(store: Memory, entry: Entry) -> Model:
    tree: dict[bytes, Model] = {}
    for path, found in walk(store, entry):
        *folders, name = path.split(b"/")
        place = tree
        for folder in folders:
            below = place[folder]
            assert isinstance(below, dict)
            place = below
        if found.is_folder:
            place[name] = {}
        else:
            content = b"".join(read_file(store, found, BLOCK))
            place[name] = (content, found.mode)
    return tree


class Oracle:
    """What the documentation says, on dictionaries."""

    def __init__(self, favour: Favour) -> None:
        self.favour = favour
        self.clashes: dict[bytes, Model] = {}

    def merge(self, path: bytes, base: Model, ours: Model, theirs: Model) -> Model:
        if theirs in (ours, base):
            return ours
        if ours == base:
            return theirs
        folders = [isinstance(side, dict) for side in (ours, theirs)]
        deleted = isinstance(base, dict) and None in (ours, theirs) and any(folders)
        if all(folders) or deleted:
            return self.folder(path, base, ours, theirs, wanted=all(folders))
        if isinstance(ours, tuple) and isinstance(theirs, tuple):
            before = base if isinstance(base, tuple) else (None, None)
            fields = [self.pick(*trio) for trio in zip(before, ours, theirs, strict=True)]
            if None not in fields:
                return cast("Model", tuple(fields))
        if self.favour is None:
            self.clashes[path] = theirs
            return ours
        return {"ours": ours, "theirs": theirs, "neither": None}[self.favour]

    def pick(self, base: object, ours: object, theirs: object) -> object:
        if theirs in (ours, base):
            return ours
        if ours == base:
            return theirs
        return {"ours": ours, "theirs": theirs}.get(str(self.favour))

    def folder(self, path: bytes, *sides: Model, wanted: bool) -> Model:
        tables = [side if isinstance(side, dict) else {} for side in sides]
        merged = {}
        before = len(self.clashes)
        for name in sorted({name for table in tables for name in table}):
            inner = path + b"/" + name if path else name
            found = self.merge(inner, *(table.get(name) for table in tables))
            if found is not None:
                merged[name] = found
        shown = any(version is not None for version in list(self.clashes.values())[before:])
        return cast("Model", merged) if merged or wanted or shown else None


def merged(store: Memory, trio: tuple[Entry | None, Entry, Entry], options: Options) -> Merge:
    found = merge_trees(store, store.put_node, BLOCK, trio, options)
    return found._replace(top=edit_tree(store, store.put_node, found.top, found.beside))


@settings(max_examples=100)
@given(tops, tops, tops, st.sampled_from([None, "ours", "theirs", "neither"]))
def test_merges_agree_with_dictionaries(
    base: Model, ours: Model, theirs: Model, favour: Favour
) -> None:
    store = Memory()
    oracle = Oracle(favour)
    expected = oracle.merge(b"", base, ours, theirs)
    trio = stored(store, base), stored(store, ours), stored(store, theirs)
    found = merged(store, trio, Options(b"night", favour=favour))
    tree = modelled(store, found.top)
    for clash in found.clashes:
        if clash.beside is not None:
            assert clash.beside == clash.path + b"~night"
            assert taken(tree, clash.beside) == oracle.clashes[clash.path]
    assert {clash.path for clash in found.clashes} == set(oracle.clashes)
    assert tree == expected


def taken(tree: Model, path: bytes) -> Model:
    *folders, name = path.split(b"/")
    for folder in folders:
        assert isinstance(tree, dict)
        tree = tree[folder]
    assert isinstance(tree, dict)
    return tree.pop(name)


@given(tops, tops, tops)
def test_sides_may_be_swapped(base: Model, ours: Model, theirs: Model) -> None:
    """Where nothing clashes, and the clashes themselves."""
    store = Memory()
    b, o, t = stored(store, base), stored(store, ours), stored(store, theirs)
    one = merge_trees(store, store.put_node, BLOCK, (b, o, t), Options())
    other = merge_trees(store, store.put_node, BLOCK, (b, t, o), Options())
    assert [clash.path for clash in one.clashes] == [clash.path for clash in other.clashes]
    if not one.clashes:
        assert one.top == other.top


def wide(store: Memory, changed: dict[bytes, bytes]) -> Entry:
    names = [b"%05d" % number for number in range(5_000)]
    found = [
        store.put_file(name, changed.get(name, b"same")) for name in sorted({*names, *changed})
    ]
    inner = folder_entry(b"wide", build_folder(store, found))
    return folder_entry(b"", build_folder(store, [inner]))


def test_a_merge_of_large_folders_costs_what_differs() -> None:
    store = Memory()
    base = wide(store, {})
    ours, theirs = (
        wide(store, {b"00005": b"ours"}),
        wide(store, {b"04000": b"theirs", b"new": b"n"}),
    )
    expected = wide(store, {b"00005": b"ours", b"04000": b"theirs", b"new": b"n"})
    store.loaded.clear()
    store.stored.clear()
    found = merge_trees(store, store.put_node, BLOCK, (base, ours, theirs), Options())
    assert (found.top, found.clashes) == (expected, [])
    assert len(store.loaded) < 30 and len(store.stored) == 0


def test_times_never_clash_and_the_newer_one_stays() -> None:
    store = Memory()

    def tree(mtime: int, content: bytes = b"x") -> Entry:
        entry = msgspec.structs.replace(store.put_file(b"f", content), mtime_ns=mtime)
        return folder_entry(b"", build_folder(store, [entry]))

    for mine, other, expected in ((5, 7, 7), (7, 5, 7), (1, 3, 3), (3, 1, 3)):
        found = merge_trees(
            store, store.put_node, BLOCK, (tree(1), tree(mine), tree(other)), Options()
        )
        assert (found.top, found.clashes) == (tree(expected), [])
    gone = folder_entry(b"", build_folder(store, []))
    for trio in ((tree(1), tree(9), gone), (tree(1), gone, tree(9))):
        assert merge_trees(store, store.put_node, BLOCK, trio, Options()).top == gone


def test_attributes_of_one_side_join_content_of_the_other() -> None:
    store = Memory()

    def tree(content: bytes, **fields: object) -> Entry:
        entry = msgspec.structs.replace(store.put_file(b"f", content), **fields)
        return folder_entry(b"", build_folder(store, [entry]))

    one, two = ((b"user.one", b"1"),), ((b"user.two", b"2"),)
    ours = tree(b"ours", extras=Extras(xattrs=one))
    theirs = tree(b"base", uid=7, extras=Extras(xattrs=two))
    found = merge_trees(store, store.put_node, BLOCK, (tree(b"base"), ours, theirs), Options())
    assert found.clashes == []
    assert found.top == tree(b"ours", uid=7, extras=Extras(xattrs=one + two))


def test_a_folder_whose_attributes_both_changed() -> None:
    store = Memory()

    def tree(mode: int, *entries: Entry) -> Entry:
        folder = msgspec.structs.replace(
            folder_entry(b"d", build_folder(store, entries)), mode=mode
        )
        return folder_entry(b"", build_folder(store, [folder]))

    trio = tree(0o755), tree(0o700), tree(0o711, file_entry(b"new"))
    found = merge_trees(store, store.put_node, BLOCK, trio, Options())
    assert [clash[:3] for clash in found.clashes] == [(b"d", "attributes", None)]
    assert found.top == tree(0o700, file_entry(b"new"))


def test_links_clash_by_their_targets() -> None:
    store = Memory()

    def tree(target: bytes) -> Entry:
        link = file_entry(b"l", size=len(target))
        link = msgspec.structs.replace(link, kind=EntryKind.SYMLINK, extras=Extras(target=target))
        return folder_entry(b"", build_folder(store, [link]))

    trio = tree(b"base"), tree(b"ours"), tree(b"their")
    found = merge_trees(store, store.put_node, BLOCK, trio, Options())
    assert found.clashes == [Clash(b"l", "changed", b"l~theirs")]
    assert merge_trees(store, store.put_node, BLOCK, (trio[0], *trio[:2]), Options()).top == trio[1]


def test_their_version_finds_a_free_name_however_long_it_is() -> None:
    store = Memory()
    longest = b"\xff" * 255

    def tree(content: bytes, *more: bytes) -> Entry:
        found = [store.put_file(name, content) for name in (b"f", longest)]
        found += [store.put_file(name, b"same") for name in more]
        return folder_entry(b"", build_folder(store, sorted(found, key=lambda e: e.name)))

    trio = tree(b"1"), tree(b"2", b"f~them"), tree(b"3")
    found = merged(store, trio, Options(b"them"))
    beside = {clash.path: clash.beside for clash in found.clashes}
    assert beside == {b"f": b"f~them~2", longest: b"\xff" * 250 + b"~them"}
    tree_now = modelled(store, found.top)
    assert isinstance(tree_now, dict)
    assert {tree_now[name] for name in beside.values() if name} == {(b"3", 0o644)}
