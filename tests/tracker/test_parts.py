"""The small parts of the scan: link groups, ignore rules, scope, holes and runs, regions."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from treering.store.ids import NULL
from treering.tracker.changes import Region, regions
from treering.tracker.ignore import NO_RULES
from treering.tracker.large_file import count_runs, data_pieces
from treering.tracker.links import group_names, group_path
from treering.tracker.scope import Relation, Scope

BLOCK = 4096
DATA = b"\1" * 32
components = st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), min_size=1, max_size=5)


def test_a_group_is_named_from_the_lowest_common_folder() -> None:
    paths = [[b"x", b"a", b"1"], [b"x", b"b", b"deep", b"2"], [b"x", b"z"]]
    assert group_names(paths) == [(1, b"a/1"), (2, b"a/1"), (0, b"a/1")]
    assert group_names([[b"d", b"1"], [b"d", b"2"]]) == [(0, b"1"), (0, b"1")]


@given(st.sets(components.map(tuple), min_size=2, max_size=6), components)
def test_all_names_of_a_group_agree_and_folders_above_do_not_matter(
    found: set[tuple[bytes, ...]], above: list[bytes]
) -> None:
    paths = [list(path) for path in sorted(found)]
    groups = group_names(paths)
    folders = [b"".join(name + b"/" for name in path[:-1]) for path in paths]
    names = {group_path(*pair) for pair in zip(folders, groups, strict=True)}
    assert names == {b"/".join(paths[0])}
    assert group_names([above + path for path in paths]) == groups


def test_ignore_rules_of_deeper_folders_win() -> None:
    top = NO_RULES.below(b"", b"*.log\n!keep.log\nbuild/\n")
    deep = top.below(b"a/b/", b"!*.log\n/x\n")
    assert top.excludes(b"a/1.log", False)
    assert not top.excludes(b"a/keep.log", False)
    assert top.excludes(b"a/build", True) and not top.excludes(b"a/build", False)
    assert not deep.excludes(b"a/b/1.log", False)
    assert deep.excludes(b"a/b/x", False) and not deep.excludes(b"a/b/c/x", False)
    assert not NO_RULES and top


def test_scope() -> None:
    scope = Scope([b"a/b", b"c/"])
    relations = {
        b"a": Relation.ABOVE,
        b"a/b": Relation.INSIDE,
        b"a/b/x": Relation.INSIDE,
        b"a/bb": Relation.OUTSIDE,
        b"a/x": Relation.OUTSIDE,
        b"c/x": Relation.INSIDE,
        b"d": Relation.OUTSIDE,
        b"": Relation.ABOVE,
    }
    assert {path: scope.relation(path) for path in relations} == relations
    assert Scope().whole and Scope([b""]).whole and not scope.whole
    assert Scope([b"a", b""]).relation(b"z") is Relation.INSIDE


def test_data_pieces_skip_holes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        for block in (3, 4, 100, 101, 102):
            file.seek(block * BLOCK)
            file.write(b"x" * BLOCK)
        file.truncate(200 * BLOCK + 5)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = list(data_pieces(descriptor, 200 * BLOCK + 5, BLOCK, 2 * BLOCK))
        wanted = [(3 * BLOCK, 2 * BLOCK), (100 * BLOCK, 2 * BLOCK), (102 * BLOCK, BLOCK)]
        assert found == wanted
        # Blocks larger than the holes' edges: pieces start and end with a block.
        found = list(data_pieces(descriptor, 200 * BLOCK + 5, 8 * BLOCK, 64 * BLOCK))
        assert found == [(0, 8 * BLOCK), (96 * BLOCK, 8 * BLOCK)]
        assert list(data_pieces(descriptor, 0, BLOCK, BLOCK)) == []
    finally:
        os.close(descriptor)


@given(st.lists(st.booleans(), max_size=20), st.booleans())
def test_count_runs(blocks: list[bool], before: bool) -> None:
    text = "".join("x" if data else " " for data in blocks)
    wanted = len(text.split()) - (before and text.startswith("x"))
    ids = b"".join(DATA if data else NULL for data in blocks)
    assert count_runs(ids, before) == wanted


@given(st.sets(st.integers(0, 30), max_size=20), st.integers(1, BLOCK))
def test_regions_cover_just_the_blocks(numbers: set[int], tail: int) -> None:
    size = 30 * BLOCK + tail
    found = list(regions(b"f", sorted(numbers), size, BLOCK))
    covered = [
        number
        for region in found
        for number in range(region.offset // BLOCK, -(-(region.offset + region.length) // BLOCK))
    ]
    assert covered == sorted(numbers)
    assert all(region.offset + region.length <= size for region in found)
    pairs = pairwise(found)
    assert all(a.offset + a.length < b.offset for a, b in pairs), "regions touch"
    assert list(regions(b"f", [0], 5, BLOCK)) == [Region(b"f", 0, 5)]
