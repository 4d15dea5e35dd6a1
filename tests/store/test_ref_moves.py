"""Refs that move together, interrupted in between."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pygit2
import pytest
from blake3 import blake3
from histories import open_history

from treering.store import ref_moves
from treering.store.errors import Corrupt, StorageError
from treering.store.history import Person, RefUpdate
from treering.store.ids import NodeId
from treering.store.ref_moves import move_refs
from treering.store.ref_writer import RefWriter
from treering.store.repository import Repository
from treering.store.root_record import Change, RootRecord

JANE = Person("Jane Doe", "jane@example.org", 1_700_000_000)
BOTH = ("refs/heads/a", "refs/heads/b")


def updates(path: Path) -> list[RefUpdate]:
    root = NodeId(blake3(b"a root").digest())
    record = RootRecord(root, change=Change())
    made = open_history(path).create_commit(record, [], JANE, JANE, "m", "refs/heads/main")
    return [RefUpdate(name, None, made.id) for name in BOTH]


def interrupted_at(name: str) -> Callable[[RefWriter, RefUpdate, Person, str], None]:
    """A way to move refs that Ctrl-C ends at this one."""
    move = RefWriter.move

    def moved(self: RefWriter, update: RefUpdate, who: Person, message: str) -> None:
        if update.name == name:
            raise KeyboardInterrupt
        move(self, update, who, message)

    return moved


def test_ctrl_c_between_two_refs_leaves_the_rest_to_the_next_writer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = updates(path)
    history = open_history(path)
    with monkeypatch.context() as patch:
        patch.setattr(RefWriter, "move", interrupted_at(BOTH[1]))
        with pytest.raises(KeyboardInterrupt):
            history.update_refs(wanted, JANE, "both")
    later = open_history(path)
    assert [later.ref(name) is None for name in BOTH] == [False, True]
    later.settle()
    assert [later.ref(name) for name in BOTH] == [wanted[0].new] * 2
    assert not (path / "moving").exists()


def left_half(path: Path, wanted: list[RefUpdate]) -> None:
    """What a process leaves that was killed between the two."""
    ref_moves.begin(path, ref_moves.Moves(wanted, JANE, "both"))
    assert wanted[0].new is not None
    git = pygit2.Repository(str(path))
    git.references.create(wanted[0].name, pygit2.Oid(hex=wanted[0].new))


def test_a_reader_makes_the_rest(tmp_path: Path) -> None:
    Repository.create(tmp_path / "repository")
    path = tmp_path / "repository" / "history"
    wanted = updates(path)
    left_half(path, wanted)
    reader = Repository(tmp_path / "repository").history
    assert [reader.refs()[name] for name in BOTH] == [wanted[0].new] * 2
    assert not (path / "moving").exists()


def test_a_reader_does_not_wait_for_who_moves_them(tmp_path: Path) -> None:
    Repository.create(tmp_path / "repository")
    path = tmp_path / "repository" / "history"
    wanted = updates(path)
    left_half(path, wanted)
    with Repository(tmp_path / "repository").lock("history", "a push"):
        reader = Repository(tmp_path / "repository").history
        assert [reader.ref(name) for name in BOTH] == [wanted[0].new, None]
    assert (path / "moving").exists()


def test_a_damaged_note_stops_no_reader(tmp_path: Path) -> None:
    Repository.create(tmp_path / "repository")
    path = tmp_path / "repository" / "history"
    wanted = updates(path)
    (path / "moving").write_bytes(b"{}")
    assert Repository(tmp_path / "repository").history.head() == wanted[0].new


@pytest.mark.parametrize("content", [b"", b"{}", b"[1,2,3]", b'[[["x"]],[],""]'])
def test_a_damaged_note_is_corrupt(path: Path, content: bytes) -> None:
    (path / "moving").write_bytes(content)
    with pytest.raises(Corrupt):
        open_history(path).settle()


def full_after(monkeypatch: pytest.MonkeyPatch, count: int, *, stays: bool) -> None:
    """The folder of a moved ref cannot be fsynced: the `count`-th time, or from then on."""
    calls = iter(range(1, 100))
    sync = RefWriter._sync_folders

    def refuse(self: RefWriter, name: str) -> None:
        number = next(calls)
        if number == count or (stays and number > count):
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(self, name)

    monkeypatch.setattr(RefWriter, "_sync_folders", refuse)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("together", [1, 2])
def test_a_ref_that_has_moved_but_is_not_durable_is_taken_back(
    path: Path, monkeypatch: pytest.MonkeyPatch, count: int, together: int
) -> None:
    wanted = updates(path)[:together]
    history = open_history(path)
    full_after(monkeypatch, min(count, together), stays=False)
    with pytest.raises(StorageError):
        history.update_refs(wanted, JANE, "both")
    assert [open_history(path).ref(name) for name in BOTH] == [None, None]
    assert not (path / "moving").exists()


def test_refs_that_cannot_be_taken_back_go_forwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Repository.create(tmp_path / "repository")
    repository = Repository(tmp_path / "repository")
    path = tmp_path / "repository" / "history"
    made = updates(path)
    with monkeypatch.context() as patch:
        full_after(patch, 2, stays=True)
        with pytest.raises(StorageError):
            move_refs(repository, made, JANE, "both")
    repository.close()
    later = Repository(tmp_path / "repository").history
    later.settle()
    assert [later.ref(name) for name in BOTH] == [made[0].new] * 2


def test_a_deletion_that_was_interrupted_is_not_recorded_as_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Repository.create(tmp_path / "repository")
    repository = Repository(tmp_path / "repository")
    made = updates(tmp_path / "repository" / "history")
    move_refs(repository, made, JANE, "made")
    with monkeypatch.context() as patch:
        patch.setattr(RefWriter, "move", interrupted_at(BOTH[1]))
        with pytest.raises(KeyboardInterrupt):
            gone = [RefUpdate(one.name, one.new, None) for one in made]
            move_refs(repository, gone, JANE, "gone")
    repository.close()
    later = Repository(tmp_path / "repository")
    later.history.settle()
    assert [later.history.ref(name) for name in BOTH] == [None, None]
    assert [later.finalized()[name] for name in BOTH] == [None, None]
