"""Cursors say what a remote lacks, or that they do not know."""

from __future__ import annotations

from itertools import pairwise

from pyroaring import BitMap64

from treering.tracker import cursors
from treering.tracker.cursors import Cursors


def regions(**blocks: list[int]) -> dict[bytes, BitMap64]:
    return {path.encode(): BitMap64(numbers) for path, numbers in blocks.items()}


def started(*roots: bytes) -> Cursors:
    """A remote that has finalized the first of these roots; then the others were committed, each
    with a region of its own number."""
    found = Cursors()
    found.finalized("origin", roots[0], roots[0])
    for number, (base, root) in enumerate(pairwise(roots), 1):
        found.committed(base, root, regions(disk=[number]))
    return found


def lacking(found: Cursors) -> dict[bytes, BitMap64] | None:
    cursor = found.get("origin")
    return cursor.lacking() if cursor else None


def test_regions_add_up_until_the_remote_has_them() -> None:
    found = started(b"0", b"1", b"2")
    found.committed(b"2", b"3", regions(disk=[1, 9], other=[4]))
    assert lacking(found) == regions(disk=[1, 2, 9], other=[4])
    found.finalized("origin", b"3", b"3")
    assert lacking(found) == {}


def test_what_came_after_the_finalized_root_stays() -> None:
    found = started(b"0", b"1", b"2", b"3")
    found.finalized("origin", b"1", b"3")
    assert lacking(found) == regions(disk=[2, 3])


def test_a_root_that_came_back_is_its_last_one() -> None:
    found = started(b"0", b"1", b"0", b"2")
    found.finalized("origin", b"0", b"2")
    assert lacking(found) == regions(disk=[3])


def test_a_commit_that_was_not_seen_loses_the_cursor() -> None:
    found = started(b"0", b"1")
    found.committed(b"elsewhere", b"2", regions(disk=[5]))
    assert lacking(found) is None
    found.finalized("origin", b"2", b"2")
    assert lacking(found) == {}


def test_a_remote_that_has_something_else_has_no_cursor() -> None:
    found = started(b"0", b"1")
    found.finalized("origin", b"theirs", b"1")
    assert lacking(found) is None


def test_many_paths_lose_it() -> None:
    found = started(b"0")
    many = {b"%d" % number: BitMap64() for number in range(cursors.MAX_PATHS + 1)}
    found.committed(b"0", b"1", many)
    assert lacking(found) is None


def test_an_empty_commit_changes_nothing() -> None:
    found = started(b"0", b"1")
    found.committed(b"1", b"1", {})
    assert lacking(found) == regions(disk=[1])
