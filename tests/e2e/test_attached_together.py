"""Several attached trees committed as they are at one instant: all of them, or none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from attached_trees import attached, away, driver, told
from live_trees import Work, make_home

from treering.store.errors import StorageError
from treering.store.history import Person
from treering.store.repository import Repository
from treering.tracker import snapshot
from treering.tracker.snapshot import Place, Request, commit_together, record_commit

COMMITS = 100 if os.environ.get("TREERING_LONG") == "1" else 6
SOMEBODY = Person("Somebody", "somebody@example", 0, 0)
WRITES = """
import os, sys
files = [os.open(f"{top}/counter", os.O_RDWR | os.O_CREAT) for top in sys.argv[1:]]
number = 0
while True:
    number += 1
    for file in files:
        os.pwrite(file, b"%012d" % number, 0)
"""
"""To one tree after the other, so that none is ever more than one behind the one before it."""


@pytest.fixture
def trees(tmp_path: Path) -> Iterator[list[Work]]:
    home = make_home(tmp_path)
    works = []
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        works.append(Work(home, tmp_path / name))
        works[-1]("init", "-q")
        works[-1].write("counter", "0" * 12)
        works[-1].commit("first")
    with ExitStack() as stack:
        for work in works:
            stack.enter_context(attached(work))
        yield works


def together(trees: list[Work], *arguments: str, code: int = 0) -> list[dict[str, object]]:
    first, *others = trees
    words = [word for other in others for word in ("--with", str(other.top))]
    done = away(first, "commit", "-m", "together", *words, "--json", *arguments, code=code)
    found: list[dict[str, object]] = done.json if code == 0 else []
    return found


@pytest.mark.timeout(600)
def test_they_are_one_instant(trees: list[Work]) -> None:
    tops = [str(work.top) for work in trees]
    writer = subprocess.Popen([sys.executable, "-c", WRITES, *tops], cwd="/")
    try:
        time.sleep(0.3)
        last = 0
        for _ in range(COMMITS):
            done = together(trees)
            assert [each["tree"] for each in done] == tops
            assert all(each["pause_seconds"] is not None for each in done)
            counts = [int(away(work, "cat", "HEAD:counter").out) for work in trees]
            assert counts == sorted(counts, reverse=True)
            assert counts[0] - counts[-1] <= 1
            assert counts[0] > last
            last = counts[0]
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()
    together(trees)
    assert [told(work) for work in trees] == [({}, 0)] * 3


def heads(trees: list[Work]) -> list[str]:
    return [away(work, "log", "-n", "1", "--json").json[0]["commit"] for work in trees]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_if_one_cannot_be_committed_none_is(
    trees: list[Work], monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """A ref that cannot be moved: the refs that were moved before it go back."""
    for work in trees:
        work.write("f", "changed")
    before = heads(trees)
    recorded: list[object] = []

    def record(*arguments: object) -> object:
        if len(recorded) == place:
            raise StorageError("the disk is full")
        recorded.append(arguments)
        return record_commit(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(snapshot, "record_commit", record)
    with ExitStack() as stack:
        repositories = [Repository(work.top / ".treering") for work in trees]
        for repository in repositories:
            stack.callback(repository.close)
        places = [Place(each, work.top) for each, work in zip(repositories, trees, strict=True)]
        with pytest.raises(StorageError, match="the disk is full"):
            commit_together(places, Request("together", SOMEBODY, SOMEBODY))
    assert len(recorded) == place
    assert heads(trees) == before
    assert [told(work)[0] for work in trees] == [{"f": "new"}] * 3
    assert [driver(work)["frozen"] for work in trees] == [0] * 3
    together(trees)
    assert [told(work) for work in trees] == [({}, 0)] * 3
    for work in trees:
        away(work, "fsck")


def test_a_tree_that_is_not_attached_has_no_instant(trees: list[Work]) -> None:
    before = heads(trees)
    away(trees[1], "detach")
    for work in trees:
        work.write("f", "changed")
    first, second, _ = trees
    words = ["--with", str(second.top)]
    said = away(first, "commit", "-m", "together", *words, code=11).err
    assert "no instant to share" in said
    assert heads(trees) == before
    assert "twice" in away(first, "commit", "--with", str(first.top), code=2).err
    assert "whole trees" in away(first, "commit", *words, "f", code=2).err


def test_somebody_stopped_in_the_middle_holds_nobody_up(trees: list[Work]) -> None:
    """Killed while changes are held back: they go on."""
    for moment in range(8):
        for work in trees:
            work.write("f", f"{moment}")
        words = [word for other in trees[1:] for word in ("--with", str(other.top))]
        alone = Work(trees[0].home, trees[0].top, ["env", "TREERING_NO_WORKER=1"])
        process = alone.start("-C", str(alone.top), "commit", "-m", "killed", *words)
        time.sleep(0.15 + moment * 0.02)
        process.kill()
        process.communicate()
        for work in trees:
            work.write("g", f"{moment}")
    for work in trees:  # of one that was killed between ref and driver the maps are behind HEAD
        away(work, "commit", "-m", "by itself", "--allow-empty")
        work.write("g", "again")
    together(trees)
    assert [told(work) for work in trees] == [({}, 0)] * 3
