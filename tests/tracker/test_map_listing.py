"""The maps as rows: all of them, from any position on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap64

from treering.tracker.block_map import TOP, Home
from treering.tracker.map_listing import FILES, Position, map_rows, runs
from treering.tracker.map_pair import BlockStatus, MapPair


@given(st.sets(st.integers(0, 80)), st.integers(0, 80))
def test_runs(numbers: set[int], start: int) -> None:
    found = list(runs(BitMap64(numbers), start))
    assert [n for first, count in found for n in range(first, first + count)] == sorted(
        number for number in numbers if number >= start
    )
    ends = [first + count for first, count in found]
    assert all(end < first for end, (first, _) in zip(ends, found[1:], strict=False))


def test_a_huge_file_is_one_row_at_once() -> None:
    pair = MapPair(4096)
    serial = pair.made(Home(TOP, b"disk"))
    pair.wrote(serial, 0, 1 << 50, 0)
    (row,) = map_rows(pair, Position())
    assert (row.first, row.blocks) == (0, 1 << 38)


def test_from_each_row_on_the_rest_follows() -> None:
    pair = MapPair(4096)
    for number in range(FILES * 2 + 3):
        serial = pair.made(Home(TOP, b"%d" % number))
        for block in (0, 1, 5):
            pair.wrote(serial, block * 4096, 4096, 1 << 20)
        if number == FILES:
            pair.freeze()
    rows = list(map_rows(pair, Position()))
    assert len(rows) == 2 * (FILES * 2 + 3)
    assert [row.status for row in rows].count(BlockStatus.FROZEN) == 2 * (FILES + 1)
    for place in range(0, len(rows), 7):
        assert list(map_rows(pair, rows[place].following)) == rows[place + 1 :]
