"""The maps as rows: all of them, from any position on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap64

from treering.tracker.block_map import TOP, Home
from treering.tracker.map_listing import FILES, map_rows, runs
from treering.tracker.map_pair import BlockStatus, MapPair


@given(st.sets(st.integers(0, 80)))
def test_runs(numbers: set[int]) -> None:
    found = list(runs(BitMap64(numbers)))
    assert [n for first, count in found for n in range(first, first + count)] == sorted(numbers)
    ends = [first + count for first, count in found]
    assert all(end < first for end, (first, _) in zip(ends, found[1:], strict=False))


def test_a_huge_file_is_one_row_at_once() -> None:
    pair = MapPair(4096)
    serial = pair.made(Home(TOP, b"disk"))
    pair.wrote(serial, 0, 1 << 50, 0)
    (row,) = map_rows(pair)
    assert (row.first, row.blocks) == (0, 1 << 38)


def test_the_rows_of_many_files() -> None:
    pair = MapPair(4096)
    for number in range(FILES * 2 + 3):
        serial = pair.made(Home(TOP, b"%d" % number))
        for block in (0, 1, 5):
            pair.wrote(serial, block * 4096, 4096, 1 << 20)
        if number == FILES:
            pair.freeze()
    rows = list(map_rows(pair))
    assert len(rows) == 2 * (FILES * 2 + 3)
    assert [row.status for row in rows].count(BlockStatus.FROZEN) == 2 * (FILES + 1)
    assert {row.path for row in rows} == {b"%d" % number for number in range(FILES * 2 + 3)}


def test_what_goes_while_it_is_listed() -> None:
    """A commit between two rows: what it took is not told again, and nobody falls over it."""
    pair = MapPair(4096)
    for number in range(FILES * 3):
        pair.wrote(pair.made(Home(TOP, b"%d" % number)), 0, 1, 1)
    pair.freeze()
    rows = map_rows(pair)
    assert next(rows).status is BlockStatus.FROZEN
    pair.committed(b"root")
    assert len(list(rows)) == FILES - 1
