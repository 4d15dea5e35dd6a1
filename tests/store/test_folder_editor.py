"""Changing stored folders gives what building from scratch gives, and costs what it changes."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Memory, build_folder, file_entry, folder_entry, names

from treering.store.directories import Folder
from treering.store.errors import NotFound
from treering.store.folder_editor import FolderEditor, edit_tree
from treering.store.ids import block_id
from treering.store.nodes import EMPTY_FOLDER, Entry, Extras
from treering.store.trees import lookup, walk

WIDE = 1500
Changes = dict[bytes, Entry | None]


def numbered(count: int) -> list[Entry]:
    return [file_entry(b"%06d" % n, size=n + 1, content=block_id(b"%d" % n)) for n in range(count)]


def with_size(entry: Entry, size: int) -> Entry:
    return msgspec.structs.replace(entry, size=size)


def with_xattr(entry: Entry, size: int) -> Entry:
    return msgspec.structs.replace(entry, extras=Extras(xattrs=((b"user.x", bytes(size)),)))


def edited(store: Memory, folder: bytes | None, changes: Changes) -> Folder:
    editor = FolderEditor(store, store.put_node, folder)
    for name in sorted(changes):
        editor.set(name, changes[name])
    return editor.finish()


def check(found: list[Entry], changes: Changes) -> None:
    store = Memory()
    before = build_folder(store, found)
    entries: Changes = {**{entry.name: entry for entry in found}, **changes}
    expected = [entry for _, entry in sorted(entries.items()) if entry is not None]
    assert edited(store, before.node, changes) == build_folder(store, expected)


@given(st.data())
def test_edits_equal_building_from_scratch(data: st.DataObject) -> None:
    """Also when xattrs grow or shrink, which moves the ends of leaves."""
    count = data.draw(st.integers(0, 600))
    found = numbered(count)
    big = data.draw(st.sets(st.integers(0, max(0, count - 1)), max_size=8))
    found = [with_xattr(e, 400_000) if n in big else e for n, e in enumerate(found)]
    chosen = data.draw(st.sets(st.integers(0, count - 1), max_size=6)) if count else set()
    changes: Changes = {}
    for number in chosen | set(sorted(big)[:2]) if count else set():
        entry = found[number]
        how = data.draw(st.sampled_from(["size", "grow", "shrink", "none", "gone"]))
        if how == "size":
            entry = with_size(entry, entry.size + 1)
        elif how != "none":
            entry = with_xattr(entry, 700_000 if how == "grow" else 1)
        changes[entry.name] = None if how == "gone" else entry
    for name in data.draw(st.lists(names, max_size=4)):
        changes[name] = file_entry(name)
    check(found, changes)


@pytest.mark.parametrize("seed", range(3))
def test_edits_of_a_large_folder(seed: int) -> None:
    source = random.Random(seed)
    changes: Changes = {e.name: with_size(e, 5) for e in source.sample(numbered(WIDE), 40)}
    changes |= {e.name: None for e in source.sample(numbered(WIDE), 40)}
    changes |= {b"%06dx" % n: file_entry(b"%06dx" % n) for n in source.sample(range(WIDE), 40)}
    check(numbered(WIDE), changes)


@pytest.mark.parametrize("kept", [0, 1, 20, WIDE - 20])
def test_a_folder_loses_its_end(kept: int) -> None:
    check(numbered(WIDE), {entry.name: None for entry in numbered(WIDE)[kept:]})


def test_a_folder_goes_on_behind_its_end() -> None:
    check(numbered(WIDE), {b"z%d" % n: file_entry(b"z%d" % n) for n in range(3)})


def test_an_empty_folder_and_names_that_are_not_there() -> None:
    store = Memory()
    assert edited(store, None, {b"a": None}).node == EMPTY_FOLDER
    assert edited(store, None, {b"a": file_entry(b"a")}) == build_folder(store, [file_entry(b"a")])


def test_one_changed_or_new_entry_of_20000_rewrites_a_few_nodes() -> None:
    store = Memory()
    before = build_folder(store, numbered(20_000))
    assert len(store.stored) > 100
    for name in (b"012345", b"012345x", b"zzz"):
        store.stored.clear()
        store.loaded.clear()
        edited(store, before.node, {name: file_entry(name, size=1)})
        assert len(store.stored) <= 6
        assert len(store.loaded) <= 12


@given(st.dictionaries(names, st.integers(0, 2), max_size=60), st.randoms())
def test_same_entries_same_node_in_any_order_of_edits(
    wanted: dict[bytes, int], shuffler: random.Random
) -> None:
    store = Memory()
    final = [file_entry(name, size=size) for name, size in sorted(wanted.items())]
    current = build_folder(store, [])
    order = list(final)
    shuffler.shuffle(order)
    for entry in order:
        current = edited(store, current.node, {entry.name: entry})
    assert current == build_folder(store, final)


def paths(store: Memory, top: Entry) -> dict[bytes, Entry]:
    return {path: entry for path, entry in walk(store, top) if not entry.is_folder}


def test_edits_below_folders() -> None:
    store = Memory()
    deep = folder_entry(b"deep", build_folder(store, numbered(3)))
    inner = folder_entry(b"inner", build_folder(store, [*numbered(100), deep]))
    top = folder_entry(b"", build_folder(store, [inner, file_entry(b"other")]))
    changes = {
        b"inner/000007": file_entry(b"000007", size=1000),
        b"inner/deep/000001": None,
        b"inner/deep/new": file_entry(b"new"),
        b"other": None,
    }
    expected: Changes = {**paths(store, top), **changes}
    after = edit_tree(store, store.put_node, top, changes)
    assert paths(store, after) == {name: entry for name, entry in expected.items() if entry}
    assert after.files == top.files - 1
    assert after.size == sum(entry.size for entry in paths(store, after).values())


def test_a_folder_set_by_an_edit_is_what_edits_below_it_change() -> None:
    store = Memory()
    top = folder_entry(b"", build_folder(store, [file_entry(b"a")]))
    made = folder_entry(b"f", build_folder(store, numbered(2)))
    new = msgspec.structs.replace(made, mode=0o700)
    after = edit_tree(store, store.put_node, top, {b"f": new, b"f/000000": None})
    assert lookup(store, after, b"f").mode == 0o700
    assert set(paths(store, after)) == {b"a", b"f/000001"}
    with pytest.raises(NotFound, match="no such folder: g"):
        edit_tree(store, store.put_node, top, {b"g/x": file_entry(b"x")})


def test_the_top_folder_itself_and_a_folder_that_goes() -> None:
    store = Memory()
    inner = folder_entry(b"f", build_folder(store, numbered(2)))
    top = folder_entry(b"", build_folder(store, [inner]))
    changed = msgspec.structs.replace(top, mode=0o711)
    gone = {b"": changed, b"f/000000": None, b"f/000001": None}
    kept = edit_tree(store, store.put_node, top, gone)
    assert kept.mode == 0o711 and lookup(store, kept, b"f").content == EMPTY_FOLDER
    pruned = edit_tree(store, store.put_node, top, gone, prune=lambda path: path == b"f")
    assert pruned.content == EMPTY_FOLDER
    removed = edit_tree(store, store.put_node, top, {b"f": None, b"f/000000": file_entry(b"0")})
    assert removed.content == EMPTY_FOLDER
