"""A folder that is split in another way than ours is refused: one content, one root."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support import Memory, build_folder, file_entry, folder_entry
from walking import numbered, root_of, walk
from walking import refuse as refuse_any

from treering.store.directories import (
    Folder,
    branch_child,
    closes,
    leaf_child,
    leaves,
    load_directory,
)
from treering.store.nodes import BranchNode, Child, Entry, Extras, LeafNode

ENTRIES = numbered(1500)
refuse = partial(refuse_any, split=True)


def put_leaf(store: Memory, entries: Sequence[Entry]) -> Child:
    return leaf_child(list(entries), store.put(LeafNode(tuple(entries))))


def put_branch(store: Memory, height: int, children: Sequence[Child]) -> Child:
    node = BranchNode(height, tuple(children))
    return branch_child(node, store.put(node))


def root_over(store: Memory, top: Child) -> bytes:
    return root_of(store, folder_entry(b"folder", Folder(top.node, top.files, top.size)))


def canonical_cuts(store: Memory) -> list[int]:
    """After how many entries each leaf of the folder ends."""
    cuts, count = [], 0
    for leaf in leaves(store, build_folder(store, ENTRIES).node):
        count += leaf.entries
        cuts.append(count)
    return cuts


def root_of_cuts(store: Memory, cuts: Sequence[int]) -> bytes:
    """The folder with its leaves cut there, below one branch."""
    starts = [0, *cuts[:-1]]
    parts = [ENTRIES[start:end] for start, end in zip(starts, cuts, strict=True)]
    return root_over(store, put_branch(store, 1, [put_leaf(store, part) for part in parts]))


@given(st.data())
def test_any_other_cut_of_a_leaf(data: st.DataObject) -> None:
    """Of the same entries: one cut moved, taken away, or added; over every base as well."""
    store = Memory()
    good = canonical_cuts(store)
    assert len(good) > 10
    honest = root_of_cuts(store, good)
    walk(store, honest)
    wanted = {*good[:-1]}
    gone = data.draw(st.sets(st.sampled_from(sorted(wanted)), max_size=2))
    added = data.draw(st.sets(st.integers(1, len(ENTRIES) - 1), max_size=2))
    cuts = wanted - gone | added
    assume(cuts != wanted)
    crafted = [*sorted(cuts), len(ENTRIES)]
    assume(max(end - start for start, end in zip([0, *crafted], crafted, strict=False)) <= 1024)
    root = root_of_cuts(store, crafted)
    refuse(store, root)
    refuse(store, root, base=honest)
    refuse(store, honest, root)


def test_the_last_leaf_of_the_base_in_the_middle() -> None:
    """It ended with its folder; now the folder goes on, and so must the leaf."""
    store = Memory()
    good = canonical_cuts(store)
    entries = ENTRIES[: good[3] + 20]
    base = root_of(store, folder_entry(b"folder", build_folder(store, entries)))
    found = list(leaves(store, build_folder(store, entries).node))
    more = put_leaf(store, ENTRIES[good[3] + 20 : good[4]])
    crafted = root_over(store, put_branch(store, 1, [*found, more]))
    refuse(store, crafted)
    refuse(store, crafted, base=base)
    grown = root_of(store, folder_entry(b"folder", build_folder(store, ENTRIES[: good[4]])))
    walk(store, grown, base)
    walk(store, base, grown)


def test_other_cuts_of_a_branch() -> None:
    store = Memory()
    folder = build_folder(store, numbered(30_000))
    top = load_directory(store, folder.node)
    assert isinstance(top, BranchNode) and top.height == 2
    found = list(leaves(store, folder.node))
    low = [load_directory(store, child.node) for child in top.children]
    assert len(low) > 3 and all(isinstance(node, BranchNode) for node in low)
    counts = [len(node.children) for node in low if isinstance(node, BranchNode)]

    def crafted(*sizes: int) -> bytes:
        children, start = [], 0
        for size in sizes:
            children.append(put_branch(store, 1, found[start : start + size]))
            start += size
        assert start == len(found)
        return root_over(store, put_branch(store, 2, children))

    honest = crafted(*counts)
    walk(store, honest)
    first, second, *rest = counts
    for sizes in (
        (first + second, *rest),
        (first - 1, second + 1, *rest),
        (first, 1, second - 1, *rest),
        (*counts[:-1], counts[-1] - 1, 1),
    ):
        refuse(store, crafted(*sizes))
        refuse(store, crafted(*sizes), base=honest)
    # One more branch above it all.
    top_child = branch_child(top, folder.node)
    refuse(store, root_over(store, put_branch(store, 3, [top_child])))
    refuse(store, root_over(store, put_branch(store, 3, [top_child])), base=honest)


def test_leaves_of_the_base_below_a_branch_of_another_height() -> None:
    store = Memory()
    folder = build_folder(store, numbered(2000))
    base = root_of(store, folder_entry(b"folder", folder))
    root = root_over(store, put_branch(store, 2, list(leaves(store, folder.node))))
    refuse_any(store, root)
    refuse_any(store, root, base=base)


@pytest.mark.parametrize("count", [1, 5])
def test_a_small_folder_below_a_branch(count: int) -> None:
    store = Memory()
    leaf = put_leaf(store, numbered(count))
    refuse(store, root_over(store, put_branch(store, 1, [leaf])))


def test_xattrs_end_a_leaf_too() -> None:
    store = Memory()
    big = Extras(((b"user.x", bytes(400 << 10)),))
    entries = [
        Entry(b"%03d" % number, 1, 0o644, 0, 0, 0, 0, 0, bytes(32), big) for number in range(6)
    ]
    folder = build_folder(store, entries)
    assert [leaf.entries for leaf in leaves(store, folder.node)] == [3, 3]
    walk(store, root_of(store, folder_entry(b"folder", folder)))
    for cuts in ([2, 4], [4, 2], [3, 2, 1]):
        parts = iter(entries)
        children = [put_leaf(store, [next(parts) for _ in range(cut)]) for cut in cuts]
        refuse(store, root_over(store, put_branch(store, 1, children)))
    whole = put_leaf(store, entries)
    refuse(store, root_over(store, whole))


def test_a_single_leaf_that_should_be_two() -> None:
    store = Memory()
    count = canonical_cuts(store)[0]
    walk(store, root_over(store, put_leaf(store, ENTRIES[:count])))
    refuse(store, root_over(store, put_leaf(store, ENTRIES[: count + 1])))
    one = root_of(store, file_entry(b"f"))
    refuse(store, root_over(store, put_leaf(store, ENTRIES[: count + 1])), base=one)


def test_a_name_that_ends_a_leaf_at_the_first_place_where_one_may() -> None:
    """The sixteenth; before that no name does."""
    store = Memory()
    names = [b"%05d" % number for number in range(20_000)]
    ends = [name for name in names if closes(name, 0)]
    plain = [name for name in names if name < ends[40] and not closes(name, 0)][:15]
    for early in (0, 3):
        first = sorted([*plain[: 15 - early], *[end for end in ends if end > plain[-1]][:early]])
        last = next(end for end in ends if end > first[-1])
        rest = [name for name in names if name > last][:5]
        entries = [file_entry(name) for name in (*first, last, *rest)]
        cuts = [leaf.entries for leaf in leaves(store, build_folder(store, entries).node)]
        assert cuts == [16, 5]
        refuse(store, root_over(store, put_leaf(store, entries)))
