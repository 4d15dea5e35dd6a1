"""The block index: it says what the packs say, and refuses to guess."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering.store import block_index
from treering.store.block_index import SCHEMA, BlockIndex, Location, replace_index
from treering.store.errors import Corrupt, StorageError, UnsupportedFormat
from treering.store.ids import Key, block_id, block_key, node_key
from treering.store.packfile import FooterEntry


def entry(number: int, offset: int = 100) -> FooterEntry:
    return FooterEntry(block_key(block_id(b"%d" % number)), 1, offset, 10, 20)


def keys(*numbers: int) -> list[Key]:
    return [entry(number).key for number in numbers]


A, B, C = b"a" * 32, b"b" * 32, b"c" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "index"
    path.mkdir()
    return path


@pytest.fixture
def index(folder: Path) -> Iterator[BlockIndex]:
    opened = BlockIndex(folder)
    yield opened
    opened.close()


def test_add_and_locate(index: BlockIndex) -> None:
    index.add_pack(A, [entry(1), entry(2, 200)])
    first, second, absent = index.locate(keys(1, 2, 3))
    assert first == Location(1, 1, 100, 10, 20)
    assert second == Location(1, 1, 200, 10, 20)
    assert absent is None
    assert index.present(keys(3, 2, 1)) == [False, True, True]
    assert index.pack_name(1) == A
    assert len(index) == 2


def test_kind_is_part_of_the_key(index: BlockIndex) -> None:
    index.add_pack(A, [entry(1)])
    assert index.present([node_key(entry(1).key[1:])]) == [False]


def test_duplicates_keep_their_location(index: BlockIndex) -> None:
    index.add_pack(A, [entry(1)])
    index.add_pack(B, [entry(1, 999), entry(2)])
    found = index.locate(keys(1, 2))
    assert [location and location.pack for location in found] == [1, 2]
    index.add_pack(A, [entry(1, 555)])
    assert index.locate(keys(1)) == found[:1]
    assert index.packs() == {1: A, 2: B}


def test_forget(index: BlockIndex) -> None:
    index.add_pack(A, [entry(1), entry(2)])
    assert index.forget(keys(1, 7)) == 1
    assert index.forget(keys(1)) == 0
    assert index.present(keys(1, 2)) == [False, True]


def test_a_pack_written_again_brings_back_what_was_forgotten(index: BlockIndex) -> None:
    """The same bytes have the same name: the healing write must not be taken for a repeat."""
    index.add_pack(A, [entry(1)])
    index.forget(keys(1))
    index.add_pack(A, [entry(1)])
    assert index.present(keys(1)) == [True]
    assert index.packs() == {1: A}


def test_a_pack_that_was_added_in_part_is_finished_by_the_next(
    index: BlockIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many objects take several transactions, and a crash may fall between them."""
    monkeypatch.setattr(block_index, "AT_ONCE", 10)
    entries = [entry(number) for number in range(35)]

    def cut_off() -> Iterator[FooterEntry]:
        yield from entries[:25]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.add_pack(A, cut_off())
    index.close()
    again = BlockIndex(folder)
    assert again.unfinished() == {1}
    assert again.packs() == {1: A}, "what is there already can be read"
    assert again.locate(keys(3))[0] == Location(1, 1, 100, 10, 20)
    assert not all(again.present(keys(*range(35))))
    again.add_pack(B, [entry(50)])
    again.add_pack(A, entries)
    assert again.unfinished() == set()
    assert all(again.present(keys(*range(35))))
    assert again.packs() == {1: A, 2: B}
    again.close()


def test_a_pack_that_was_added_in_part_can_be_dropped(
    index: BlockIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_index, "AT_ONCE", 10)

    def cut_off() -> Iterator[FooterEntry]:
        yield from [entry(number) for number in range(25)]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.add_pack(A, cut_off())
    index.drop_packs({1})
    assert (index.packs(), index.unfinished(), len(index)) == ({}, set(), 0)


def test_drop_packs(index: BlockIndex) -> None:
    index.add_pack(A, [entry(number) for number in range(50)])
    index.add_pack(B, [entry(number) for number in range(40, 90)])
    index.add_pack(C, [entry(100)])
    assert index.drop_packs({1, 3}) == 51
    assert index.packs() == {2: B}
    assert {key for key, _ in index.items()} == set(keys(*range(50, 90)))
    with pytest.raises(Corrupt, match="does not know"):
        index.pack_name(1)
    index.add_pack(A, [entry(1)])
    (location,) = index.locate(keys(1))
    assert location is not None and location.pack == 4, "a number is never used again"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "forget", "drop"]),
            st.integers(0, 4),
            st.sets(st.integers(0, 12), max_size=6),
        ),
        max_size=12,
    )
)
def test_agrees_with_a_dict(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, set[int]]]
) -> None:
    index = BlockIndex(tmp_path_factory.mktemp("index"))
    objects: dict[bytes, bytes] = {}
    for action, pack, numbers in steps:
        name = bytes([pack]) * 32
        if action == "add":
            index.add_pack(name, [entry(number) for number in numbers])
            for key in keys(*numbers):
                objects.setdefault(key, name)
        elif action == "forget":
            index.forget(keys(*numbers))
            for key in keys(*numbers):
                objects.pop(key, None)
        else:
            index.drop_packs({n for n, found in index.packs().items() if found == name})
            objects = {key: found for key, found in objects.items() if found != name}
    names = index.packs()
    assert {key: names[location.pack] for key, location in index.items()} == objects
    assert [key for key, _ in index.items()] == sorted(objects)
    assert len(index) == len(objects)
    index.close()


def test_rebuild_equals(index: BlockIndex, folder: Path, tmp_path: Path) -> None:
    footers = {A: [entry(1), entry(2)], B: [entry(2, 7), entry(3)], C: [entry(4)]}
    for name, entries in footers.items():
        index.add_pack(name, entries)
    before, packs = list(index.items()), index.packs()
    index.close()
    (tmp_path / "rebuilt").mkdir()
    rebuilt = BlockIndex(tmp_path / "rebuilt")
    for name, entries in footers.items():
        rebuilt.add_pack(name, entries)
    rebuilt.close()
    replace_index(folder, tmp_path / "rebuilt")
    again = BlockIndex(folder)
    assert (list(again.items()), again.packs()) == (before, packs)
    again.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index"]


def test_matching_prefixes(index: BlockIndex) -> None:
    index.add_pack(A, [entry(number) for number in range(300)])
    everything = sorted(keys(*range(300)))
    prefix = everything[7][:2]
    expected = [key for key in everything if key.startswith(prefix)]
    assert index.matching(prefix, 1000) == expected
    assert index.matching(prefix, 1) == expected[:1]
    assert index.matching(b"\x09", 10) == []


def test_survives_reopening(index: BlockIndex, folder: Path) -> None:
    index.add_pack(A, [entry(1)])
    index.close()
    again = BlockIndex(folder)
    assert again.present(keys(1)) == [True]
    again.close()


def test_cut_short_file_is_corrupt(index: BlockIndex, folder: Path) -> None:
    index.add_pack(A, [entry(number) for number in range(2000)])
    index.close()
    data = folder / "data.mdb"
    whole = data.read_bytes()
    for length in (100, 4096, 8192, 12288, len(whole) // 2, len(whole) - 4096):
        data.write_bytes(whole[:length])
        for writable in (True, False):
            with pytest.raises(Corrupt):
                BlockIndex(folder, writable=writable).close()
    data.write_bytes(whole)
    again = BlockIndex(folder)
    assert len(again) == 2000
    again.close()


def test_settled_is_said_durably(index: BlockIndex, folder: Path) -> None:
    index.add_pack(A, [entry(1)])
    for _ in range(2):
        assert not index.settled
        index.close()
        index = BlockIndex(folder)
    index.settle()
    assert index.settled
    index.close()
    again = BlockIndex(folder, writable=False)
    assert again.settled
    again.close()


def test_garbage_is_corrupt(folder: Path) -> None:
    (folder / "data.mdb").write_bytes(b"no index at all " * 1000)
    with pytest.raises(Corrupt, match="block index") as caught:
        BlockIndex(folder)
    assert caught.value.hint is not None and "rebuild" in caught.value.hint


@pytest.mark.parametrize("writable", [True, False])
def test_schema_gate(index: BlockIndex, folder: Path, writable: bool) -> None:
    index.settle()
    index.close()
    with lmdb.open(str(folder), max_dbs=4) as env, env.begin(write=True) as txn:
        assert txn.get(b"schema") == SCHEMA
        txn.put(b"schema", b"2")
    with pytest.raises(UnsupportedFormat, match="schema 2"):
        BlockIndex(folder, writable=writable)


def test_opened_for_reading_only(index: BlockIndex, folder: Path) -> None:
    index.add_pack(A, [entry(1)])
    index.close()
    (folder / "lock.mdb").unlink()
    reader = BlockIndex(folder, writable=False)
    assert reader.present(keys(1)) == [True]
    with pytest.raises(Corrupt):
        reader.forget(keys(1))
    reader.close()
    assert not (folder / "lock.mdb").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="opening the block index: Not a directory"):
        BlockIndex(tmp_path / "file" / "index")
