"""A repository: what it says agrees with what lies on disk, whatever was lost."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from support import BLOCK, flip, payload_path, record_of

from treering.store import block_index
from treering.store import repository as module
from treering.store.block_index import BlockIndex
from treering.store.errors import Conflict, Corrupt, InvalidInput, NotFound, StorageError
from treering.store.fsck import fsck
from treering.store.history import Person, RefUpdate
from treering.store.ids import Kind, NodeId
from treering.store.object_writer import ObjectWriter
from treering.store.packfile import FooterEntry, Record, read_footer
from treering.store.rebuild import rebuild_index
from treering.store.repository import Repository
from treering.store.root_record import RootRecord

ROOT = NodeId(b"r" * 32)


def records(*numbers: int) -> list[Record]:
    return [record_of(Kind.BLOCK, b"block %d " % n * 50) for n in numbers]


def fill(repository: Repository, found: list[Record]) -> list[bytes]:
    writer = repository.writer()
    for record in found:
        writer.claim([record.key])
        writer.append([record])
    writer.finish()
    repository.record_packs(writer.packs)
    return [pack.name for pack in writer.packs]


def reopen(repository: Repository, notice: Callable[[str], None] = lambda _: None) -> Repository:
    repository.close()
    return Repository(repository.path, notice=notice, lock_wait=5, threads=2)


def present(repository: Repository, found: list[Record]) -> list[bool]:
    return repository.store.index.present([record.key for record in found])


def known_packs(repository: Repository) -> set[bytes]:
    return {row[0] for row in repository.catalog.conn.execute("select name from packs")}


def test_layout(repository: Repository) -> None:
    names = {path.name for path in repository.path.iterdir()}
    assert names == {"format", "config", "history", "packs", "marks", "index", "tracker", "tmp"}
    assert repository.path.stat().st_mode & 0o777 == 0o700
    assert repository.block_size == BLOCK


def test_mode_of_an_existing_folder(tmp_path: Path) -> None:
    path = tmp_path / "made by hand"
    path.mkdir(mode=0o755)
    Repository.create(path)
    assert path.stat().st_mode & 0o777 == 0o700
    assert Repository(path).block_size == 65536


def test_create_refuses(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="already"):
        Repository.create(repository.path)
    for size in (0, 1000, 2048, 16 << 20):
        with pytest.raises(InvalidInput, match="power of two"):
            Repository.create(tmp_path / "other", size)
    assert not (tmp_path / "other").exists()
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        Repository.create(tmp_path / "file" / "below")


def test_network_file_system_is_refused_by_name(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "filesystem_type", lambda _path: "nfs4")
    with pytest.raises(StorageError, match="nfs4"):
        Repository(repository.path)
    with pytest.raises(StorageError, match="nfs4"):
        Repository.create(tmp_path / "other")


def empty_index(folder: Path) -> None:
    (folder / "data.mdb").write_bytes(b"")


@pytest.mark.parametrize("lose", [shutil.rmtree, empty_index])
def test_lost_index_is_rebuilt_on_open(
    repository: Repository, lose: Callable[[Path], None]
) -> None:
    found = records(*range(20))
    for record in found:
        fill(repository, [record])
    lose(repository.path / "index")
    again = reopen(repository)
    assert all(present(again, found))
    assert all(again.store.get(record.key) for record in found)
    again.close()


def test_index_that_was_not_filled_to_the_end_is_filled_on_open(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = records(1, 2)
    for record in found:
        fill(repository, [record])
    shutil.rmtree(repository.path / "index")
    add_pack = BlockIndex.add_pack

    def add_one(index: BlockIndex, name: bytes, entries: Iterable[FooterEntry]) -> None:
        if index.packs():
            raise KeyboardInterrupt
        add_pack(index, name, entries)

    interrupted = reopen(repository)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(BlockIndex, "add_pack", add_one)
        assert interrupted.store
    reader = Repository(repository.path)
    reader.writable = False
    with pytest.raises(Corrupt, match="not complete"):
        assert reader.store
    again = reopen(repository)
    assert all(present(again, found))
    again.close()


def test_pack_that_is_not_indexed_is_indexed(repository: Repository, tmp_path: Path) -> None:
    """A crash between the rename of a pack and the index, or a pack copied back by hand."""
    found = records(1, 2)
    fill(repository, found[:1])
    other_path = tmp_path / "other"
    Repository.create(other_path, BLOCK)
    other = Repository(other_path)
    (name,) = fill(other, found[1:])
    other.close()
    shutil.copy(other_path / "packs" / f"{name.hex()}.pack", repository.path / "packs")
    (repository.path / "packs" / "README").write_text("no pack")
    assert present(repository, found) == [True, False]
    repository.writer().finish()
    assert present(repository, found) == [True, True]
    assert repository.store.get(found[1].key)
    assert name in known_packs(repository)


@pytest.mark.parametrize("by", ["writer", "fsck"])
def test_pack_that_is_indexed_in_part_is_indexed_whole(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """A crash between two transactions of a pack with many objects."""
    found = records(*range(30))
    (name,) = fill(repository, found)
    footer = list(read_footer(repository.path / "packs" / f"{name.hex()}.pack"))
    index = repository.store.index
    monkeypatch.setattr(block_index, "AT_ONCE", 10)

    def cut_off() -> Iterator[FooterEntry]:
        yield from footer[:25]
        raise KeyboardInterrupt

    index.drop_packs(set(index.packs()))
    with pytest.raises(KeyboardInterrupt):
        index.add_pack(name, cut_off())
    assert not all(present(repository, found))
    again = reopen(repository)
    if by == "writer":
        again.writer().finish()
    else:
        assert fsck(again).problems == []
    assert all(present(again, found))
    again.close()


def test_damaged_pack_that_is_not_indexed_is_said_once_and_left_out(
    repository: Repository,
) -> None:
    found = records(1, 2, 3)
    (name,) = fill(repository, found[:1])
    path = repository.path / "packs" / f"{name.hex()}.pack"
    flip(path, path.stat().st_size - 1)
    shutil.rmtree(repository.path / "index")
    notices: list[str] = []
    again = reopen(repository, notices.append)
    fill(again, found[1:])
    again.writer().finish()
    assert len(notices) == 1 and name.hex()[:12] in notices[0] and "treering fsck" in notices[0]
    assert present(again, found) == [False, True, True]
    rebuild_index(again)
    assert present(again, found) == [True, True, True]
    assert [entry.key for entry in read_footer(path)] == [found[0].key]
    again.writer().finish()
    assert len(notices) == 1
    again.close()


def test_interrupted_rescue_loses_nothing(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = records(1, 2)
    (name,) = fill(repository, found)
    path = repository.path / "packs" / f"{name.hex()}.pack"
    flip(path, path.stat().st_size - 1)

    def interrupt(_writer: ObjectWriter, _records: list[Record]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ObjectWriter, "append", interrupt)
        rebuild_index(repository)
    rebuild_index(repository)
    assert present(repository, found) == [True, True]


def test_missing_pack_is_said_and_nothing_is_held(repository: Repository) -> None:
    found = records(1, 2)
    packs = [fill(repository, [record])[0] for record in found]
    repository.mark_held([ROOT], "whole")
    repository.catalog.conn.execute("insert into scan_state values (1, x'00', x'00')")
    assert repository.held(ROOT) == "whole"
    (repository.path / "packs" / f"{packs[0].hex()}.pack").unlink()
    notices: list[str] = []
    again = reopen(repository, notices.append)
    again.writer().finish()
    assert notices == ["1 packs are missing: run treering fsck"]
    assert present(again, found) == [False, True]
    assert known_packs(again) == {packs[1]}
    assert again.held(ROOT) == "none"
    assert again.catalog.conn.execute("select count(*) from scan_state").fetchone() == (0,)
    fill(again, found[:1])
    assert all(present(again, found))
    assert len(notices) == 1
    again.close()


def test_bad_object_leaves_nothing_held(repository: Repository) -> None:
    (record,) = records(1)
    fill(repository, [record])
    repository.mark_held([ROOT], "whole")
    path, offset, _ = payload_path(repository.store, record.key)
    flip(path, offset)
    with pytest.raises(Corrupt):
        repository.store.get(record.key)
    assert repository.held(ROOT) == "none"
    with pytest.raises(NotFound):
        repository.store.get(record.key)
    fill(repository, [record])
    assert repository.store.get(record.key)


def test_held(repository: Repository) -> None:
    assert repository.held(ROOT) == "none"
    other = NodeId(b"o" * 32)
    for level in ("nodes", "whole", "nodes"):
        repository.mark_held([ROOT], level)
        assert repository.held(ROOT) == level
    assert repository.held(other) == "none"
    repository.mark_held([ROOT, other], "whole")
    assert repository.held(other) == "whole"
    assert [log.damaged() for log in repository.marks()] == [0]


def test_opened_for_reading_only(repository: Repository) -> None:
    """By the flag: the tests may run as root, for whom everything is writable."""
    found = records(1)
    fill(repository, found)
    other = NodeId(b"o" * 32)
    repository.mark_held([ROOT, other], "whole")
    repository.doubt()
    repository.mark_held([ROOT], "nodes")
    repository.close()
    for path in repository.path.glob("catalog.db*"):
        path.unlink()
    before = sorted(path for path in repository.path.rglob("*"))
    reader = Repository(repository.path)
    reader.writable = False
    assert reader.store.get(found[0].key)
    assert [reader.held(ROOT), reader.held(other)] == ["nodes", "none"]
    assert reader.history.head() is None
    reader.doubt()
    with pytest.raises(StorageError, match="may only be read"):
        reader.writer()
    reader.close()
    assert sorted(path for path in repository.path.rglob("*")) == before


def test_a_bad_object_does_not_stop_a_reader(repository: Repository) -> None:
    (record,) = records(1)
    fill(repository, [record])
    path, offset, _ = payload_path(repository.store, record.key)
    repository.close()
    flip(path, offset)
    reader = Repository(repository.path)
    reader.writable = False
    for _ in range(2):
        with pytest.raises(Corrupt):
            reader.store.get(record.key)
    reader.close()


def test_history_writes_take_the_repository_lock(repository: Repository) -> None:
    who = Person("Jane", "jane@example.org", 1)
    repository.lock_wait = 0
    with repository.lock("history", "a change of history"):
        with pytest.raises(Conflict, match="a change of history is running"):
            repository.history.create_commit(RootRecord(ROOT), (), who, who, "m", "refs/heads/main")
    made = repository.history.create_commit(RootRecord(ROOT), (), who, who, "m", "refs/heads/main")
    assert repository.history.head() == made.id


def test_finalized_keeps_its_order(repository: Repository) -> None:
    ids = [f"{number:040x}" for number in range(4)]
    for old, new in itertools.pairwise(ids):
        repository.mark_finalized([RefUpdate("refs/heads/main", old, new)])
    rows = repository.catalog.conn.execute("select seq, old, new from finalized order by seq")
    assert rows.fetchall() == [(n + 1, ids[n], ids[n + 1]) for n in range(3)]
