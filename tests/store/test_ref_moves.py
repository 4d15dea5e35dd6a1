"""Refs that move together, interrupted in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from blake3 import blake3

from treering.store.errors import Corrupt
from treering.store.history import History, Person, RefUpdate, create_history
from treering.store.ids import NodeId
from treering.store.locking import FileLock
from treering.store.ref_writer import RefWriter
from treering.store.root_record import Change, RootRecord

JANE = Person("Jane Doe", "jane@example.org", 1_700_000_000)
BOTH = ("refs/heads/a", "refs/heads/b")


def open_history(path: Path) -> History:
    return History(path, lambda: FileLock(path.parent / "history.lock", "a change", wait=5))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "history"
    create_history(folder)
    return folder


def updates(path: Path) -> list[RefUpdate]:
    root = NodeId(blake3(b"a root").digest())
    record = RootRecord(root, change=Change())
    made = open_history(path).create_commit(record, [], JANE, JANE, "m", "refs/heads/main")
    return [RefUpdate(name, None, made.id) for name in BOTH]


def test_ctrl_c_between_two_refs_leaves_the_rest_to_the_next_writer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = updates(path)
    history = open_history(path)
    move = RefWriter.move

    def interrupted(self: RefWriter, update: RefUpdate, who: Person, message: str) -> None:
        if update.name == BOTH[1]:
            raise KeyboardInterrupt
        move(self, update, who, message)

    with monkeypatch.context() as patch:
        patch.setattr(RefWriter, "move", interrupted)
        with pytest.raises(KeyboardInterrupt):
            history.update_refs(wanted, JANE, "both")
    later = open_history(path)
    assert [later.ref(name) is None for name in BOTH] == [False, True]
    later.settle()
    assert [later.ref(name) for name in BOTH] == [wanted[0].new] * 2
    assert not (path / "moving").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1,2,3]", b'[[["x"]],[],""]'])
def test_a_damaged_note_is_corrupt(path: Path, content: bytes) -> None:
    (path / "moving").write_bytes(content)
    with pytest.raises(Corrupt):
        open_history(path).settle()
