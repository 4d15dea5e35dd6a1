"""What differs between two folders, and between two leaves as they are encoded."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    Memory,
    build_folder,
    entries,
    file_entry,
    folders,
    is_corrupt,
    names,
    numbered,
    with_size,
)

from treering.store.errors import Corrupt
from treering.store.folder_differences import EntryDifference, differences
from treering.store.ids import node_id
from treering.store.leaf_pairs import LeafPairs, StoredLeaf
from treering.store.nodes import BranchNode, Child, Entry, LeafNode, decode_as, encode

WIDE: Final = 1500


def model(old: list[Entry], new: list[Entry]) -> list[EntryDifference]:
    before = {entry.name: entry for entry in old}
    after = {entry.name: entry for entry in new}
    return [
        EntryDifference(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


@given(folders, folders)
def test_differences_agree_with_dicts(old: list[Entry], new: list[Entry]) -> None:
    store = Memory()
    a, b = build_folder(store, old).node, build_folder(store, new).node
    assert list(differences(store, a, b)) == model(old, new)
    assert list(differences(store, None, b)) == model([], new)
    assert list(differences(store, a, None)) == model(old, [])
    assert list(differences(store, a, a)) == []


@given(
    st.sets(st.integers(0, WIDE - 1), max_size=5),
    st.sets(st.integers(0, WIDE - 1), max_size=5),
    st.sets(st.integers(0, WIDE - 1), max_size=5),
)
def test_differences_of_large_folders(gone: set[int], added: set[int], changed: set[int]) -> None:
    old = [entry for number, entry in enumerate(numbered(WIDE)) if number not in added]
    new = [
        with_size(entry, entry.size + 1) if number in changed else entry
        for number, entry in enumerate(numbered(WIDE))
        if number not in gone
    ]
    store = Memory()
    a, b = build_folder(store, old).node, build_folder(store, new).node
    assert list(differences(store, a, b)) == model(old, new)


def test_differences_read_only_what_differs() -> None:
    store = Memory()
    old = build_folder(store, numbered(20_000))
    changed = [with_size(e, 1) if e.name == b"012345" else e for e in numbered(20_000)]
    new = build_folder(store, changed)
    store.loaded.clear()
    (found,) = differences(store, old.node, new.node)
    assert found.name == b"012345"
    assert len(store.loaded) < 20


def test_a_leaf_that_was_met_before_is_not_compared_with_what_it_was() -> None:
    """One memory for a whole history: forwards, backwards and across."""
    store, pairs = Memory(), LeafPairs()
    versions = [numbered(60)]
    for number in range(1, 9):
        changed = {number: 3 * number, 59 - number: 5}
        versions.append(
            [
                with_size(entry, changed.get(place, entry.size))
                for place, entry in enumerate(versions[-1])
                if place != 2 * number
            ]
        )
    built = [build_folder(store, version).node for version in versions]
    for old in range(len(versions)):
        for new in (old + 1, old - 1, (3 * old) % 9):
            if 0 <= new < len(versions):
                found = list(differences(store, built[old], built[new], pairs=pairs))
                assert found == model(versions[old], versions[new])


def test_a_folder_whose_leaves_are_out_of_order_is_refused() -> None:
    store = Memory()
    files = tuple(numbered(9))
    low, high = (store.put(LeafNode(found)) for found in (files[:4], files[4:]))
    one = Child(b"000003", low, 4, 4, 10)
    other = Child(b"000008", high, 5, 5, 35)
    same = Child(b"000003", high, 5, 5, 35)
    lower = [store.put(BranchNode(1, children)) for children in ((one, other), (same,))]
    top = store.put(
        BranchNode(2, (Child(b"000008", lower[0], 9, 9, 45), Child(b"000009", lower[1], 5, 5, 35)))
    )
    with pytest.raises(Corrupt):
        list(differences(store, top, build_folder(store, files).node))


Leaf = list[Entry]
leaves: Final = st.sets(names, max_size=30).flatmap(
    lambda found: st.tuples(*(entries(name=name) for name in sorted(found))).map(list)
)


@st.composite
def edited(draw: st.DrawFn, leaf: Leaf) -> Leaf:
    """A leaf as the next commit has it: of each entry what it was, nothing, or another."""
    after = {entry.name: entry for entry in leaf}
    for name in draw(st.sets(st.sampled_from([entry.name for entry in leaf]) if leaf else names)):
        if draw(st.booleans()):
            after[name] = draw(entries(name=name))
        else:
            after.pop(name, None)
    for name in draw(st.sets(names, max_size=2)):
        after[name] = draw(entries(name=name))
    return [after[name] for name in sorted(after)]


def stored(leaf: Leaf) -> StoredLeaf:
    plain = encode(LeafNode(tuple(leaf)))
    return StoredLeaf(node_id(plain), plain)


def different(old: Leaf, new: Leaf) -> list[EntryDifference]:
    """What is left of a comparison without what is the same on both sides."""
    return [found for found in model(old, new) if found.old != found.new]


@given(st.data(), leaves)
def test_pairs_tell_what_decoding_both_would(data: st.DataObject, leaf: Leaf) -> None:
    pairs, versions = LeafPairs(), [leaf]
    for _ in range(3):
        versions.append(data.draw(edited(versions[-1])))
    for old, new in pairwise(versions):
        if old != new:
            found = pairs(stored(old), stored(new))
            assert different(list(found.old), list(found.new)) == model(old, new)
            assert set(found.old) <= set(old) and set(found.new) <= set(new)


def spoiled(leaf: Leaf, place: int, other: int, how: str) -> bytes:
    """A leaf with one thing that is wrong, or nothing."""
    found = list(leaf)
    change = msgspec.structs.replace
    if how == "swapped":
        found[place], found[other] = found[other], found[place]
    elif how == "twice":
        found.insert(place, found[other])
    elif how == "named":
        found[place] = change(found[place], name=found[other].name + b"/")
    elif how == "renamed":
        found[place] = change(found[place], name=found[other].name + b"x")
    elif how == "files":
        found[place] = change(found[place], files=found[place].files + 1)
    plain = encode(LeafNode(tuple(found)))
    at = 2 + (place * 31 + other) % (len(plain) - 2)
    if how == "cut":
        plain = plain[:at]
    elif how == "flipped":
        plain = plain[:at] + bytes([plain[at] ^ 1 << place % 8]) + plain[at + 1 :]
    elif how == "longer":
        plain += b"\0"
    elif how == "counted":
        plain = plain[:2] + bytes([plain[2] ^ 1]) + plain[3:]
    return plain


WAYS = ("swapped", "twice", "named", "renamed", "files", "cut", "flipped", "longer", "counted")


@given(st.data(), leaves.filter(bool), st.sampled_from(WAYS))
def test_pairs_refuse_what_decoding_refuses(data: st.DataObject, old: Leaf, how: str) -> None:
    """Whatever stands beside it: a leaf that was checked is not what makes another one good."""
    new = data.draw(st.just(old) | edited(old).filter(bool))
    places = st.integers(0, len(new) - 1)
    plain = spoiled(new, data.draw(places), data.draw(places), how)
    before, after = stored(old), StoredLeaf(node_id(plain), plain)
    pairs = LeafPairs()
    if data.draw(st.booleans()):
        pairs(stored([]), before)
    if is_corrupt(plain):
        with pytest.raises(Corrupt):
            pairs(before, after)
        with pytest.raises(Corrupt):
            pairs(after, before)
    else:
        found = pairs(before, after)
        whole = list(decode_as(LeafNode, plain).entries)
        assert different(list(found.old), list(found.new)) == model(old, whole)


def test_two_that_change_lengths_between_them() -> None:
    """As long as before, with as many entries, and none where it was."""
    old = [file_entry(b"a", size=1), file_entry(b"b", size=1), file_entry(b"c", size=200)]
    new = [with_size(old[0], 200), old[1], with_size(old[2], 1)]
    found = LeafPairs()(stored(old), stored(new))
    assert different(list(found.old), list(found.new)) == model(old, new)


def test_memory_of_leaves_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treering.store.leaf_pairs.MAX_KNOWN", 100)
    pairs, leaf = LeafPairs(), numbered(30)
    for number in range(20):
        after = [with_size(entry, entry.size + number + 1) for entry in leaf]
        pairs(stored(leaf), stored(after))
    assert 0 < sum(map(len, pairs._known.values())) <= 100
