"""Other blocks in a stored file give what building it from scratch gives."""

from __future__ import annotations

from blake3 import blake3
from hypothesis import example, given
from hypothesis import strategies as st
from support import Memory

from treering.store.content import IndexBuilder
from treering.store.content_patch import patched
from treering.store.ids import NULL


def block(number: int) -> bytes:
    return blake3(b"%d" % number).digest() if number else NULL


def build(store: Memory, blocks: list[int]) -> bytes:
    builder = IndexBuilder(store.put_node)
    builder.add(b"".join(map(block, blocks)))
    return builder.finish()


runs = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 400)), min_size=1, max_size=5)


@given(runs, st.dictionaries(st.integers(0, 1999), st.integers(0, 2), max_size=8))
@example([(1, 1)], {0: 2})
@example([(1, 1)], {0: 0})
@example([(1, 256), (0, 1)], {0: 0})
@example([(0, 400), (1, 1)], {400: 0})
@example([(0, 700)], {256: 1})
def test_a_patch_equals_building_from_scratch(
    found: list[tuple[int, int]], changes: dict[int, int]
) -> None:
    store = Memory()
    blocks = [number for number, count in found for _ in range(count)]
    inside = {number: new for number, new in sorted(changes.items()) if number < len(blocks)}
    content = build(store, blocks)
    ids = [(number, block(new)) for number, new in inside.items()]
    after = patched(store, store.put_node, content, len(blocks), ids)
    assert after == build(store, [inside.get(n, old) for n, old in enumerate(blocks)])


def test_a_patch_in_a_sparse_terabyte_costs_the_way_to_it() -> None:
    store = Memory()
    size = 1 << 24
    patched_once = patched(store, store.put_node, NULL, size, [(5, block(1)), (size - 1, block(2))])
    assert len(store.stored) == 5
    store.loaded.clear()
    back = patched(store, store.put_node, patched_once, size, [(5, NULL), (size - 1, NULL)])
    assert back == NULL
    assert len(store.loaded) == 5
