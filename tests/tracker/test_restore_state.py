"""What a restore leaves in the scan state."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from treering.store.history import Person
from treering.store.repository import Repository
from treering.store.trees import load_tree
from treering.tracker import checkout
from treering.tracker.placing import open_own_folder
from treering.tracker.restore import restore_in_place
from treering.tracker.restore_plan import Options
from treering.tracker.scan_state import UNKNOWN, Part, ScanState, parts_of
from treering.tracker.snapshot import Request, commit

WHO = Person("Jane", "jane@example.org", 1_700_000_000)


def test_rows_of_a_deleted_folder_do_not_stay_under_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File systems give the number of a deleted folder to the next one. Its old rows beside the
    new ones made the next commit read files again that a restore had written."""
    top = tmp_path / "tree"
    (top / "folder").mkdir(parents=True)
    for name in ("a", "m"):
        (top / "folder" / name).write_text(name)
    Repository.create(top / ".treering")
    repository = Repository(top / ".treering")
    made = commit(repository, top, Request("one", WHO, WHO)).commit
    assert made is not None
    shutil.rmtree(top / "folder")

    def reused(parent: int, name: bytes) -> int:
        descriptor = open_own_folder(parent, name)
        old = Part(b"n" * 32, 1, 5, True, False, [b"b"], UNKNOWN, b"")
        row = os.fstat(descriptor).st_ino, b"b", msgspec.msgpack.encode(old)
        repository.catalog.conn.execute("insert into scan_state values (?, ?, ?)", row)
        return descriptor

    monkeypatch.setattr(checkout, "open_own_folder", reused)
    tree = load_tree(repository.store, made.id, made.root)
    restore_in_place(repository, top, tree, Options(), force=True)
    rows = ScanState(repository.catalog, top).rows((top / "folder").stat().st_ino)
    assert [part.names for part in parts_of(rows)] == [[b"a", b"m"]]
    repository.close()
