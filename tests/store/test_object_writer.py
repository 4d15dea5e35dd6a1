"""Storing objects: claimed once, sealed in packs, visible when the writer has finished."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from records import block, kinds, node, noise
from support import store_objects

from treering.store import object_writer, packfile
from treering.store.block_store import BlockStore
from treering.store.errors import NotFound, StorageError
from treering.store.ids import Kind, node_id
from treering.store.object_writer import SMALL_COMMIT, ObjectWriter
from treering.store.packfile import pack_file_name


def test_put_node_once(store: BlockStore) -> None:
    writer = ObjectWriter(store)
    assert writer.put_node(b"n") == writer.put_node(b"n") == node_id(b"n")
    writer.finish()
    assert writer.stored_objects == 1
    again = ObjectWriter(store)
    assert again.put_node(b"n") == node_id(b"n")
    again.finish()
    assert (again.stored_objects, again.packs) == (0, [])
    assert store.node(node_id(b"n")) == b"n"


def test_nothing_is_visible_before_finish(store: BlockStore) -> None:
    writer = ObjectWriter(store)
    writer.claim([block(1).key])
    writer.append([block(1)])
    with pytest.raises(NotFound):
        store.get(block(1).key)
    writer.finish()
    assert store.get(block(1).key)


def test_claim_at_most_once_across_threads(store: BlockStore) -> None:
    store_objects(store, [block(number) for number in range(0, 400, 4)])
    writer = ObjectWriter(store)
    keys = [block(number).key for number in range(400)]
    wins: list[list[bytes]] = []
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        start.wait()
        mine = keys[seed * 50 :] + keys[: seed * 50]
        wins.append([key for key, won in zip(mine, writer.claim(mine), strict=True) if won])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [key for found in wins for key in found]
    assert sorted(won) == sorted(keys[n] for n in range(400) if n % 4)
    writer.abort()


def test_claim_of_the_same_key_twice_in_one_call(store: BlockStore) -> None:
    writer = ObjectWriter(store)
    key = block(1).key
    assert writer.claim([key, key]) == [True, False]
    assert writer.claim([key]) == [False]
    writer.abort()


def test_object_found_bad_may_be_claimed_by_who_met_it(store: BlockStore) -> None:
    """It was there at the first claim, and is not any more."""
    store_objects(store, [block(1)])
    writer = ObjectWriter(store)
    assert writer.claim([block(1).key]) == [False]
    store.index.forget([block(1).key])
    assert writer.claim([block(1).key]) == [True]
    writer.abort()


def test_claim_while_a_pack_is_sealed(store: BlockStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The object leaves `pending` for the index between two steps of another thread's claim."""
    writer = ObjectWriter(store)
    assert writer.claim([block(1).key]) == [True]
    writer.append([block(1)])
    real = store.index.present

    def present(keys: Iterable[bytes]) -> list[bool]:
        found = real(keys)
        writer.flush()
        return found

    monkeypatch.setattr(store.index, "present", present)
    assert writer.claim([block(1).key]) == [False]
    writer.finish()


def test_small_commit_is_one_pack_of_both(store: BlockStore) -> None:
    writer = ObjectWriter(store)
    for number in range(20):
        writer.claim([block(number).key, node(number).key])
        writer.append([block(number), node(number)])
    writer.finish()
    assert kinds(store) == [{Kind.BLOCK, Kind.NODE}]
    (pack,) = writer.packs
    assert (store.packs / pack_file_name(pack.name)).exists()
    assert list(store.tmp.iterdir()) == []


def test_large_commit_has_packs_apart(store: BlockStore) -> None:
    writer = ObjectWriter(store)
    early = [node(number) for number in range(5)]
    blocks = [noise(1 << 20) for _ in range(SMALL_COMMIT >> 20)]
    for record in (*early, *blocks, *(node(number) for number in range(5, 9))):
        assert writer.claim([record.key]) == [True]
        writer.append([record])
    writer.finish()
    assert sorted(kinds(store), key=min) == [{Kind.BLOCK}, {Kind.NODE}]
    assert all(store.get(record.key) for record in early + blocks)


def test_full_packs_are_sealed_on_the_way(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("treering.store.packfile.PACK_SIZE", 50_000)
    records = [noise(10_000) for _ in range(40)]
    packs = store_objects(store, records)
    assert len(packs) == len(set(packs)) == 8
    assert all(store.get(record.key) for record in records)


def test_packs_of_tiny_objects_are_sealed_by_their_number(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known of the objects of an open pack is in memory."""
    monkeypatch.setattr(packfile, "PACK_OBJECTS", 100)
    records = [block(number) for number in range(1050)]
    store_objects(store, records)
    counts = sorted(len(packfile.read_footer(path)) for path in store.packs.iterdir())
    assert counts == [50, *[100] * 10]
    assert all(store.get(record.key) for record in records)


def test_abort_keeps_what_was_written_for_the_next_run(store: BlockStore) -> None:
    writer = ObjectWriter(store)
    writer.claim([block(1).key])
    writer.append([block(1)])
    writer.abort()
    assert store.get(block(1).key)
    assert list(store.tmp.iterdir()) == []


def test_disk_that_refuses_is_a_storage_error(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_old: Path, _new: Path) -> Path:
        raise OSError(28, "No space left on device")

    writer = ObjectWriter(store)
    writer.claim([block(1).key])
    writer.append([block(1)])
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StorageError, match="No space left") as caught:
        writer.finish()
    assert caught.value.hint is not None and "free" in caught.value.hint
    writer.abort()
    assert store.index.present([block(1).key]) == [False]


def test_a_seal_that_fails_leaves_nothing_of_the_open_packs(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packfile, "PACK_SIZE", 1000)
    monkeypatch.setattr(object_writer, "SMALL_COMMIT", 0)
    store.packs.rmdir()  # no pack can be sealed
    writer = ObjectWriter(store)
    for _ in range(object_writer.PENDING_SEALS):
        writer.append([noise(1000)])
    writer.append([noise(10), node(1)])
    with pytest.raises(StorageError, match="No such file"):
        writer.finish()
    writer.abort()
    assert list(store.tmp.glob("pack-*")) == []
