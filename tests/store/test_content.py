"""The content of files: the shape follows from the blocks, whatever way they arrived."""

from __future__ import annotations

import itertools

import pytest
from blake3 import blake3
from hypothesis import example, given
from hypothesis import strategies as st
from support import Memory

from treering.store import content
from treering.store.content import (
    BlockDifference,
    IndexBuilder,
    block_count,
    blocks_of,
    differences,
    load_index,
    top_level,
)
from treering.store.errors import Corrupt
from treering.store.ids import NULL
from treering.store.nodes import IndexNode, encode

SIZES = [0, 1, 2, 255, 256, 257, 511, 512, 513, 65535, 65536, 65537, 65793]
HOLE = 0


def block(number: int) -> bytes:
    """A block id for a number; 0 is a hole."""
    return blake3(b"%d" % number).digest() if number else NULL


def build(store: Memory, blocks: list[int]) -> bytes:
    builder = IndexBuilder(store.put_node)
    builder.add(b"".join(map(block, blocks)))
    return builder.finish()


def by_definition(store: Memory, ids: list[bytes]) -> bytes:
    """The content id by the words of `docs/format.md`, and nothing from the builder."""
    if not ids:
        return NULL
    level = 0
    while len(ids) > 1:
        above = []
        for start in range(0, len(ids), 256):
            children = b"".join(ids[start : start + 256])
            null = not children.strip(b"\0")
            above.append(NULL if null else store.put_node(encode(IndexNode(level, children))))
        ids = above
        level += 1
    return ids[0]


numbers = st.integers(0, 3)
runs = st.lists(st.tuples(numbers, st.integers(1, 300)), max_size=6)


def expand(found: list[tuple[int, int]]) -> list[int]:
    return [number for number, count in found for _ in range(count)]


@pytest.mark.parametrize("size", SIZES)
def test_shape_by_definition(size: int) -> None:
    store = Memory()
    ids = [block(number % 1000 + 1) for number in range(size)]
    identity = build(store, [number % 1000 + 1 for number in range(size)])
    assert identity == by_definition(store, ids)
    assert [found for _, found in blocks_of(store, identity, size)] == ids


@given(runs)
@example([(1, 256)])
@example([(0, 256), (1, 1)])
@example([(1, 1), (0, 256)])
def test_null_nodes_by_definition(found: list[tuple[int, int]]) -> None:
    store = Memory()
    blocks = expand(found)
    assert build(store, blocks) == by_definition(store, [block(n) for n in blocks])


@given(runs, st.data())
def test_any_chunking_gives_the_same_id(found: list[tuple[int, int]], data: st.DataObject) -> None:
    store = Memory()
    blocks = expand(found)
    builder = IndexBuilder(store.put_node)
    for number, group in itertools.groupby(blocks):
        left = len(list(group))
        while left:
            count = data.draw(st.integers(1, left))
            if number == HOLE and data.draw(st.booleans()):
                builder.add_nulls(count)
            else:
                builder.add(block(number) * count)
            left -= count
    assert builder.finish() == build(store, blocks)


@pytest.mark.parametrize("before", [0, 1, 255, 256, 257, 65536, 65537])
@pytest.mark.parametrize("nulls", [1, 255, 256, 65536, 65537, 131072])
@pytest.mark.parametrize("after", [0, 1])
def test_nulls_at_level_boundaries(before: int, nulls: int, after: int) -> None:
    store, model = Memory(), Memory()
    builder = IndexBuilder(store.put_node)
    builder.add(block(1) * before)
    builder.add_nulls(nulls)
    builder.add(block(2) * after)
    ids = [block(1)] * before + [NULL] * nulls + [block(2)] * after
    assert builder.finish() == by_definition(model, ids)
    assert set(store.stored) == set(model.stored)


def test_a_sparse_terabyte_is_cheap() -> None:
    """2**24 blocks, of which one has content: one node for each level, read and compared alike."""
    store = Memory()
    size = 1 << 24
    builder = IndexBuilder(store.put_node)
    builder.add_nulls(size - 100)
    builder.add(block(1))
    builder.add_nulls(99)
    sparse = builder.finish()
    assert len(store.stored) == 3
    assert list(blocks_of(store, sparse, size)) == [(size - 100, block(1))]
    empty = IndexBuilder(store.put_node)
    empty.add_nulls(size)
    assert empty.finish() == NULL
    store.loaded.clear()
    found = list(differences(store, (NULL, size), (sparse, size)))
    assert found == [BlockDifference(size - 100, NULL, block(1))]
    assert len(store.loaded) == 3


def model(old: list[int], new: list[int]) -> list[BlockDifference]:
    pairs = itertools.zip_longest(old, new, fillvalue=HOLE)
    return [
        BlockDifference(number, block(a), block(b)) for number, (a, b) in enumerate(pairs) if a != b
    ]


def check_differences(old: list[int], new: list[int]) -> None:
    store = Memory()
    contents = (build(store, old), len(old)), (build(store, new), len(new))
    assert list(differences(store, *contents)) == model(old, new)
    assert list(differences(store, *contents[::-1])) == model(new, old)


@given(runs, runs)
def test_differences_agree_with_lists(
    old: list[tuple[int, int]], new: list[tuple[int, int]]
) -> None:
    check_differences(expand(old), expand(new))


@given(runs, st.dictionaries(st.integers(0, 1800), numbers, max_size=4))
def test_differences_of_edits(found: list[tuple[int, int]], edits: dict[int, int]) -> None:
    old = expand(found)
    new = list(old)
    for position, number in edits.items():
        new += [HOLE] * (position + 1 - len(new))
        new[position] = number
    check_differences(old, new)


@pytest.mark.parametrize("sizes", list(itertools.product(SIZES[:9], SIZES[:9])))
def test_differences_across_levels(sizes: tuple[int, int]) -> None:
    """Same first blocks, other length: what the longer one has more is the difference."""
    old, new = ([number + 1 for number in range(size)] for size in sizes)
    check_differences(old, new)
    check_differences(old, [HOLE, *new[1:]])


@pytest.mark.parametrize("size", [0, 1, 2, 256, 257, 65535, 65536])
def test_differences_across_the_third_level(size: int) -> None:
    large = [number % 5 for number in range(65537)]
    check_differences(large[:size], large)


def test_differences_load_only_what_differs() -> None:
    store = Memory()
    blocks = [number + 1 for number in range(65536)]
    old = build(store, blocks)
    blocks[40_000] = 7
    new = build(store, blocks)
    store.loaded.clear()
    assert len(list(differences(store, (old, 65536), (new, 65536)))) == 1
    assert len(store.loaded) == 4


def test_old_side_from_a_source_of_its_own() -> None:
    old_store, new_store = Memory(), Memory()
    old = build(old_store, [1] * 300), 300
    new = build(new_store, [1] * 299 + [2]), 300
    found = list(differences(new_store, old, new, old_source=old_store))
    assert found == [BlockDifference(299, block(1), block(2))]


@given(runs, st.integers(0, 2000), st.none() | st.integers(0, 2000))
def test_ranges_of_blocks(found: list[tuple[int, int]], first: int, last: int | None) -> None:
    store = Memory()
    blocks = expand(found)
    identity = build(store, blocks)
    stop = len(blocks) if last is None else last
    expected = [(n, block(b)) for n, b in enumerate(blocks) if b and first <= n < stop]
    assert list(blocks_of(store, identity, len(blocks), first, last)) == expected


def test_a_range_loads_only_its_nodes() -> None:
    store = Memory()
    identity = build(store, [number + 1 for number in range(65536)])
    store.loaded.clear()
    found = list(blocks_of(store, identity, 65536, 30_000, 30_002))
    assert [number for number, _ in found] == [30_000, 30_001]
    assert len(store.loaded) == 2


def test_node_that_does_not_fit_its_file_is_corrupt() -> None:
    store = Memory()
    identity = build(store, [1] * 300)
    for blocks in (2, 256, 600, 65537):
        with pytest.raises(Corrupt, match="does not fit"):
            list(blocks_of(store, identity, blocks))
    with pytest.raises(Corrupt, match="does not fit"):
        load_index(store, identity, 0, 300)
    with pytest.raises(Corrupt, match="expected a IndexNode"):
        list(blocks_of(store, store.put_node(b"\x92\x02\x90"), 300))


def test_counts_and_levels() -> None:
    assert [block_count(size, 4096) for size in (0, 1, 4096, 4097)] == [0, 1, 1, 2]
    found = {blocks: top_level(blocks) for blocks in (0, 1, 2, 256, 257, 65536, 65537, 1 << 24)}
    assert found == {0: -1, 1: -1, 2: 0, 256: 0, 257: 1, 65536: 1, 65537: 2, 1 << 24: 2}
    assert content.FULL == 256 * 32
