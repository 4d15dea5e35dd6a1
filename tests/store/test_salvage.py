"""Salvage: what a killed writer had written is found again, and nothing else is believed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import record_of, store_objects

from treering.store.block_store import BlockStore
from treering.store.ids import Kind
from treering.store.packfile import FILE_HEADER, MAGIC, PackWriter, Record
from treering.store.repository import Repository
from treering.store.salvage import salvage

KILLED = """
import os, random, sys, time
from pathlib import Path
from treering.store.ids import Kind, Key, block_id, block_key
from treering.store.packfile import Record
from treering.store.repository import Repository
writer = Repository(Path(sys.argv[1])).writer()
for seed in range(30):
    plain = random.Random(seed).randbytes(100_000)
    key = block_key(block_id(plain))
    writer.claim([key])
    writer.append([Record(key, 0, len(plain), plain)])
print("written", flush=True)
time.sleep(600)
"""


def records(*numbers: int) -> list[Record]:
    return [record_of(Kind.BLOCK, b"block %d " % n * 50) for n in numbers]


def leave(store: BlockStore, found: list[Record]) -> Path:
    """An unfinished pack without its writer."""
    writer = PackWriter(store.tmp)
    for record in found:
        writer.append(record)
    writer.abandon()
    return writer.path


def present(store: BlockStore, found: list[Record]) -> list[bool]:
    return store.index.present([record.key for record in found])


def test_after_a_killed_process(repository: Repository) -> None:
    """A writer process is killed between two packs: the whole records it had handed to the
    kernel are found, one buffer of 1 MiB at most is lost, and the file is gone."""
    notices: list[str] = []
    command = [sys.executable, "-c", KILLED, str(repository.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "written\n"
        (left,) = repository.tmp.glob("pack-*.tmp")
        child.kill()
    size = left.stat().st_size
    assert size >= 1 << 20
    repository.notice = notices.append
    repository.writer().finish()
    whole = (size - FILE_HEADER.size) // 100_048
    assert whole >= 10
    assert notices == [f"salvaged {whole} objects from a run that was interrupted"]
    assert len(repository.store.index) == whole
    for key, _ in repository.store.index.items():
        assert len(repository.store.get(key)) == 100_000
    assert list(repository.tmp.glob("*.tmp")) == []
    repository.writer().finish()
    assert len(notices) == 1


def test_whole_records_are_kept(store: BlockStore) -> None:
    found = records(*range(200))
    path = leave(store, found)
    assert salvage(store, 2) == 200
    assert all(present(store, found))
    assert [store.record(record.key) for record in found] == found
    assert not path.exists()
    assert salvage(store, 2) == 0


def test_torn_tail_is_dropped_at_every_length(store: BlockStore) -> None:
    found = records(1, 2)
    path = leave(store, found)
    whole = path.read_bytes()
    path.unlink()
    first_end = len(whole) - 48 - len(found[1].payload)
    for length in range(0, len(whole) + 1, 3):
        path.write_bytes(whole[:length])
        salvage(store, 1)
        assert present(store, found) == [length >= first_end, length == len(whole)]
        assert not path.exists()
        store.index.forget([record.key for record in found])
        store.index.drop_packs(set(store.index.packs()))


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"garbage " * 500, MAGIC, b"TRec" + b"\xff" * 100])
def test_garbage_tail_is_dropped(store: BlockStore, tail: bytes) -> None:
    found = records(1, 2, 3)
    path = leave(store, found)
    with path.open("ab") as file:
        file.write(tail)
    assert salvage(store, 2) == 3
    assert all(present(store, found))
    assert not path.exists()


def test_file_that_is_no_pack_goes(store: BlockStore) -> None:
    for number, content in enumerate((b"", b"TRPK", b"something else entirely")):
        (store.tmp / f"pack-{number}.tmp").write_bytes(content)
    assert salvage(store, 1) == 0
    assert list(store.tmp.iterdir()) == []
    assert list(store.packs.iterdir()) == []


def test_records_with_wrong_content_are_dropped(store: BlockStore) -> None:
    good, bad, other = records(1, 2, 3)
    liar = bad._replace(payload=other.payload, plain_length=other.plain_length)
    foreign = record_of(Kind.HISTORY, b"tree 0")
    leave(store, [liar, foreign, good])
    assert salvage(store, 2) == 1
    assert present(store, [good, bad, foreign]) == [True, False, False]


def test_what_is_there_already_is_not_stored_again(store: BlockStore) -> None:
    found = records(1, 2, 3)
    store_objects(store, found[:2])
    leave(store, found)
    leave(store, found[1:])
    assert salvage(store, 2) == 1
    assert all(present(store, found))


def test_pack_of_a_live_writer_is_left_alone(store: BlockStore) -> None:
    alive = PackWriter(store.tmp)
    found = records(1, 2)
    for record in found:
        alive.append(record)
    alive.flush()
    assert salvage(store, 1) == 0
    assert alive.path.exists()
    assert present(store, found) == [False, False]
    name = alive.seal(store.packs).name
    store.index.add_pack(name, alive.footer)
    assert [store.record(record.key) for record in found] == found


def test_old_folders_go_and_young_ones_stay(store: BlockStore) -> None:
    old, young = store.tmp / "history-1-a", store.tmp / "history-2-b"
    for folder in (old, young):
        folder.mkdir()
        (folder / "file").touch()
    os.utime(old, (0, 0))
    salvage(store, 1)
    assert [path.name for path in store.tmp.iterdir()] == [young.name]
