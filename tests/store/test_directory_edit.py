"""An edited folder is the one that is built of all its entries."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Memory, build_folder, file_entry, numbered

from treering.store import directories
from treering.store.directories import DirectoryBuilder
from treering.store.directory_edit import edited_folder
from treering.store.nodes import Entry, Extras


def check(before: dict[bytes, Entry], changes: dict[bytes, Entry | None]) -> None:
    store = Memory()
    old = build_folder(store, [before[name] for name in sorted(before)])
    after = {**before, **changes}
    wanted = build_folder(Memory(), [e for _, e in sorted(after.items()) if e is not None])
    assert edited_folder(store, store.put_node, old.node, changes) == wanted


NAMES = st.integers(0, 400).map(lambda number: b"%03d" % number)
SIZES = st.integers(0, 3)


@pytest.fixture(autouse=True)
def _low(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small nodes, so that folders of some hundred names have four heights."""
    monkeypatch.setattr(directories, "MIN_ENTRIES", 2)
    monkeypatch.setattr(directories, "MAX_LEAF_ENTRIES", 12)
    monkeypatch.setattr(directories, "BITS_PER_HEIGHT", 2)
    monkeypatch.setattr(directories, "LOWEST", 3)


@given(
    st.sets(NAMES, max_size=300),
    st.dictionaries(NAMES, st.none() | SIZES, max_size=12),
)
def test_as_if_built_anew(names: set[bytes], changes: dict[bytes, int | None]) -> None:
    before = {name: file_entry(name, size=1) for name in names}
    check(
        before,
        {n: None if size is None else file_entry(n, size=size) for n, size in changes.items()},
    )


@pytest.mark.parametrize("number", range(20))
def test_of_many_names(number: int) -> None:
    chance = random.Random(number)
    before = {e.name: e for e in numbered(3000, step=3)}
    names = [b"%06d" % chance.randrange(3000) for _ in range(chance.choice([1, 2, 30]))]
    check(before, {name: chance.choice([None, file_entry(name, size=9)]) for name in names})


def test_long_xattrs_close_a_leaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "MAX_XATTR_BYTES", 300)
    before = {e.name: e for e in numbered(200)}
    heavy = Entry(b"000100", 1, 0o644, 0, 0, 1, 5, 0, bytes(32), Extras(((b"user.x", bytes(290)),)))
    check(before, {heavy.name: heavy, b"000050": None})
    check({**before, heavy.name: heavy}, {heavy.name: None})
    check({**before, heavy.name: heavy}, {b"000101": None})


def test_at_the_end() -> None:
    """Where the end of the folder, and no name, has closed the nodes."""
    for count in range(0, 300, 7):
        before = {e.name: e for e in numbered(count)}
        last = b"%06d" % (count - 1)
        check(before, {b"z": file_entry(b"z")})
        check(before, {last: None, b"z": file_entry(b"z")})
        check(before, {last: None})


def test_all_gone_and_all_new() -> None:
    before = {e.name: e for e in numbered(500)}
    check(before, dict.fromkeys(before))
    check({}, dict(before))
    check(before, {})
    check({}, {})


def test_only_what_is_on_the_way_is_loaded() -> None:
    store = Memory()
    entries = numbered(20_000)
    old = build_folder(store, entries)
    builder = DirectoryBuilder(store.put_node)
    assert builder.takes(3)
    store.loaded.clear()
    store.stored.clear()
    changes = {b"010000": file_entry(b"010000", size=7), b"015000": None}
    edited_folder(store, store.put_node, old.node, changes)
    assert len(store.loaded) < 60 < len(store.objects) // 20
    assert len(store.stored) < 60
