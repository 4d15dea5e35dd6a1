"""Reading the block store: what was stored, nodes read together, and objects that went bad."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import block, node, noise
from support import CODEC, flip, open_store, payload_path, record_of, store_objects

from treering.store.block_store import MAX_OPEN_PACKS, BlockStore, expand
from treering.store.errors import Corrupt, NotFound
from treering.store.ids import Kind, block_id, block_key, node_id, node_key
from treering.store.packfile import RECORD_MAGIC, pack_file_name


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=200)), max_size=20))
def test_what_is_stored_comes_back(
    tmp_path_factory: pytest.TempPathFactory, objects: list[tuple[int, bytes]]
) -> None:
    store = open_store(tmp_path_factory.mktemp("store"))
    records = [record_of(kind, plain) for kind, plain in objects]
    store_objects(store, records)
    for record, (_, plain) in zip(records, objects, strict=True):
        assert store.get(record.key) == plain
    assert len(store.index) == len(set(objects))
    store.close()


def test_absent_is_not_found(store: BlockStore) -> None:
    with pytest.raises(NotFound, match="not in this repository"):
        store.block(block_id(b"never stored"))
    with pytest.raises(NotFound):
        list(store.stream([node(1).key]))


class Damaged(BlockStore):
    """A block store that counts the objects found bad."""

    def __init__(self, folder: Path) -> None:
        self.bad_found = 0
        made = open_store(folder)
        super().__init__(made.packs, made.tmp, made.index, CODEC, self._count)

    def _count(self) -> None:
        self.bad_found += 1


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[Damaged]:
    store = Damaged(tmp_path)
    yield store
    store.close()


@pytest.mark.parametrize("where", ["payload", "header"])
def test_a_flipped_byte_is_corrupt_and_leaves_the_index(damaged: Damaged, where: str) -> None:
    victim, other = block(1), block(2)
    store_objects(damaged, [victim, other])
    path, offset, stored = payload_path(damaged, victim.key)
    flip(path, offset + stored // 2 if where == "payload" else offset - 10)
    with pytest.raises(Corrupt, match="is damaged") as caught:
        damaged.get(victim.key)
    assert victim.key.hex()[2:10] in caught.value.message
    assert damaged.bad_found == 1
    assert damaged.index.present([victim.key, other.key]) == [False, True]
    with pytest.raises(NotFound):
        damaged.get(victim.key)
    assert damaged.bad_found == 1
    assert damaged.get(other.key)


def test_the_next_writer_heals(damaged: Damaged) -> None:
    """Also when the healing pack has the very bytes, and so the name, of the damaged one."""
    victim = block(1)
    store_objects(damaged, [victim])
    path, offset, _ = payload_path(damaged, victim.key)
    flip(path, offset)
    with pytest.raises(Corrupt):
        damaged.get(victim.key)
    packs = store_objects(damaged, [victim])
    assert [pack_file_name(name) for name in packs] == [path.name]
    assert block_key(block_id(damaged.get(victim.key))) == victim.key


def test_missing_and_cut_packs_are_corrupt(damaged: Damaged) -> None:
    first, second = block(1), block(2)
    store_objects(damaged, [first])
    store_objects(damaged, [second])
    payload_path(damaged, first.key)[0].unlink()
    with pytest.raises(Corrupt, match="missing"):
        damaged.get(first.key)
    path, offset, _ = payload_path(damaged, second.key)
    os.truncate(path, offset + 1)
    with pytest.raises(Corrupt, match="cut short"):
        damaged.get(second.key)
    assert damaged.bad_found == 2
    assert len(damaged.index) == 0


def test_stream_gives_all_in_disk_order(store: BlockStore) -> None:
    """Over several packs, with gaps too wide for one read, keys in any order."""
    records = [noise(90_000 if number % 3 else 2_000) for number in range(60)]
    for start in range(0, 60, 20):
        store_objects(store, records[start : start + 20])
    wanted = [record.key for record in records if len(record.payload) < 90_000]
    wanted += [record.key for record in records[30:40] if record.key not in wanted]
    found = list(store.stream(sorted(wanted)))
    places = dict(store.index.items())
    expected = sorted(wanted, key=lambda key: (places[key].pack, places[key].offset))
    assert [record.key for record in found] == expected
    by_key = {record.key: record for record in records}
    assert all(record == by_key[record.key] for record in found)
    assert all(block_id(store.expand(record)) == record.key[1:] for record in found)


def test_stream_over_a_bad_object(damaged: Damaged) -> None:
    records = [block(number) for number in range(5)]
    store_objects(damaged, records)
    path, offset, _ = payload_path(damaged, records[3].key)
    flip(path, offset)
    found = list(damaged.stream([record.key for record in records]))
    good = [record for record in found if record.key != records[3].key]
    assert all(damaged.expand(record) for record in good)
    with pytest.raises(Corrupt):
        damaged.expand(found[3])
    assert damaged.bad_found == 1


def test_stream_over_a_cut_pack_forgets_only_what_is_gone(damaged: Damaged) -> None:
    """The objects are read in one go: the healthy first ones must not take the blame."""
    records = [block(number) for number in range(4)]
    store_objects(damaged, records)
    path, offset, _ = payload_path(damaged, records[2].key)
    os.truncate(path, offset)
    found = []
    with pytest.raises(Corrupt, match="cut short"):
        for record in damaged.stream([record.key for record in records]):
            found.append(record.key)
    assert found == [record.key for record in records[:2]]
    there = damaged.index.present([record.key for record in records])
    assert there == [True, True, False, True]


def test_node_cache_does_not_outlive_its_room(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("treering.store.node_cache.PLAIN_BYTES", 1000)
    plains = [b"%3d" % number * 100 for number in range(20)]
    store_objects(store, [record_of(Kind.NODE, plain) for plain in plains])
    for plain in plains + plains[::-1]:
        assert store.node(node_id(plain)) == plain
    cached = sum(map(len, store._nodes._plain.values()))
    assert 0 < cached <= 1000


def test_nodes_that_lie_together_are_read_at_once(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the last to the first, as a walk down from a root wants them. Payloads that look like
    records confuse nobody."""
    fake = RECORD_MAGIC + b"\2" + bytes(47)
    nodes = [
        record_of(Kind.NODE, os.urandom(40) + fake * (n % 3) + os.urandom(200)) for n in range(60)
    ]
    store_objects(
        store, [each for pair in zip(map(block, range(60)), nodes, strict=True) for each in pair]
    )
    reads: list[int] = []
    real = store.files.read_up_to

    def read_up_to(name: bytes, length: int, offset: int) -> bytes:
        reads.append(length)
        return real(name, length, offset)

    monkeypatch.setattr(store.files, "read_up_to", read_up_to)
    for record in reversed(nodes):
        assert store.node(record.key[1:]) == expand(CODEC, record)
    assert len(reads) == 1


def test_what_the_index_lost_is_not_found_beside_another_node(store: BlockStore) -> None:
    store_objects(store, [node(number) for number in range(9)])
    store.index.forget([node(4).key])
    assert store.node(node(5).key[1:])
    with pytest.raises(NotFound):
        store.node(node(4).key[1:])


def test_damage_beside_another_node_is_told_and_leaves_the_index(damaged: Damaged) -> None:
    store_objects(damaged, [node(number) for number in range(9)])
    path, offset, _ = payload_path(damaged, node(4).key)
    flip(path, offset + 2)
    for number in (5, 3):
        assert damaged.node(node(number).key[1:])
    with pytest.raises(Corrupt, match="damaged"):
        damaged.node(node(4).key[1:])
    assert damaged.bad_found == 1
    assert damaged.index.present([node(4).key, node(5).key]) == [False, True]


def test_ahead_is_bounded(store: BlockStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treering.store.node_cache.AHEAD_BYTES", 1000)
    plains = [os.urandom(400) for _ in range(20)]
    store_objects(store, [record_of(Kind.NODE, plain) for plain in plains])
    for plain in plains:
        assert store.node(node_id(plain)) == plain
        ahead = sum(len(record.payload) for record in store._nodes._ahead.values())
        assert ahead <= 1000


def test_more_packs_than_descriptors(store: BlockStore) -> None:
    records = [block(number) for number in range(MAX_OPEN_PACKS + 10)]
    for record in records:
        store_objects(store, [record])
    for record in records * 2:
        assert store.record(record.key) == record
    assert len(store.files._open) <= MAX_OPEN_PACKS


def test_reading_from_many_threads(store: BlockStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors are closed to make room while other threads read through them."""
    monkeypatch.setattr("treering.store.block_store.MAX_OPEN_PACKS", 2)
    records = [block(number) for number in range(12)]
    for record in records:
        store_objects(store, [record])
    wrong: list[object] = []

    def work() -> None:
        for record in records * 20:
            try:
                if store.record(record.key) != record:
                    wrong.append(record)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_object_under_a_wrong_id_is_corrupt(damaged: Damaged) -> None:
    """A writer that lies: a good frame under the id of something else."""
    liar = block(1)._replace(key=node_key(block_id(b"something else")))
    store_objects(damaged, [liar])
    with pytest.raises(Corrupt, match="does not have its id"):
        damaged.get(liar.key)
    assert damaged.bad_found == 1


def test_nodes_of_a_pack_that_was_cut_short(store: BlockStore) -> None:
    """Those behind its end are damaged; to read others along does not fail either."""
    wanted = [node(number) for number in range(300)]
    store_objects(store, wanted)
    (pack,) = store.packs.iterdir()
    os.truncate(pack, pack.stat().st_size // 2)
    lost = 0
    for record in wanted:
        try:
            assert store.get(record.key)
        except Corrupt:
            lost += 1
    assert 0 < lost < len(wanted)
