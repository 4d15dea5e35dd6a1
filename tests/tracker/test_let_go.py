"""A folder that a walk has left is let go at once: a million of them would not wait for the garbage
collector in little memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from treering.store.history import Person
from treering.store.repository import Repository
from treering.tracker.frame import Frame
from treering.tracker.scan import LiveFolder
from treering.tracker.snapshot import Request, commit
from treering.tracker.status import StatusScan

WHO = Person("Tester", "t@example.org", 1_700_000_000)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left() -> int:
    return sum(isinstance(each, LiveFolder | Frame) for each in gc.get_objects())


@pytest.mark.usefixtures("no_collector")
def test_folders_that_were_walked(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for number in range(60):
        folder = top / f"folder{number % 6}" / f"part{number}"
        folder.mkdir(parents=True)
        (folder / "file").write_text(f"{number}\n")
    Repository.create(top / ".treering", 4096)
    repository = Repository(top / ".treering")
    commit(repository, top, Request("first", WHO, WHO))
    assert left() == 0
    (top / "folder1" / "part1" / "file").write_text("changed\n")
    assert [item.path for item in StatusScan(repository, top).items()] == [b"folder1/part1/file"]
    assert left() == 0
    repository.close()
