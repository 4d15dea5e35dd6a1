"""An edited content is the one that is built of all its ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Memory

from treering.store import content, content_edit
from treering.store.content import IndexBuilder
from treering.store.content_edit import edited_content
from treering.store.ids import NULL, block_id

FANOUT = 4


@pytest.fixture(autouse=True, scope="module")
def _narrow() -> object:
    """Nodes of four children, so that small files have high trees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "FANOUT", FANOUT)
        patch.setattr(content, "FULL", FANOUT * 32)
        patch.setattr(content, "NULLS", bytes(FANOUT * 32))
        patch.setattr(content_edit, "FANOUT", FANOUT)
        yield


def block(number: int) -> bytes:
    return block_id(b"%d" % number) if number else NULL


def built(store: Memory, numbers: list[int]) -> bytes:
    builder = IndexBuilder(store.put_node)
    for number in numbers:
        builder.add(block(number))
    return builder.finish()


FILES = st.lists(st.integers(0, 3), max_size=90)


@given(FILES, st.integers(0, 90), st.dictionaries(st.integers(0, 89), st.integers(0, 9)))
def test_as_if_built_anew(before: list[int], after: int, changes: dict[int, int]) -> None:
    store = Memory()
    old = built(store, before)
    wanted = (before + [0] * after)[:after]
    changes = {number: value for number, value in changes.items() if number < after}
    for number, value in changes.items():
        wanted[number] = value
    given_changes = [(number, block(value)) for number, value in sorted(changes.items())]
    blocks = len(before), after
    found = edited_content(store, store.put_node, old, blocks, given_changes)
    assert found == built(Memory(), wanted)


def test_only_what_is_on_the_way_is_loaded() -> None:
    store = Memory()
    numbers = list(range(1, 1025))
    old = built(store, numbers)
    store.loaded.clear()
    store.stored.clear()
    edited_content(store, store.put_node, old, (1024, 1024), [(700, block(7777))])
    assert len(store.loaded) == len(store.stored) == 5
    store.loaded.clear()
    edited_content(store, store.put_node, old, (1024, 5000), [(4000, block(7777))])
    assert len(store.loaded) <= 5
