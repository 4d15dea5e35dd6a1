"""The maps of an attached tree through commits, switches, restores and merges, and those of paths;
and what a commit looks at besides them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attached_trees import attached, away, driver, some_files, told
from late_commits import check_the_next, commit_late, fill, remove, write
from live_trees import Work

from treering.store.repository import Repository
from treering.tracker.capture.sample import COUNT
from treering.tracker.live_top import live_top

OTHERS = 12
"""Calls of a commit on the tree besides: its top folder, the file that changed."""


@pytest.fixture
def here(work: Work) -> Work:
    return some_files(work)


def base_of(work: Work) -> str:
    """The root that the maps are relative to."""
    return str(driver(work)["base"])


def two_commits(work: Work) -> tuple[str, str]:
    first = away(work, "log", "--json", "-n", "1").json[0]["commit"]
    write("disk", 70_000, b"second")(work.top)
    fill("d/made", 10)(work.top)
    remove("d/a")(work.top)
    second = away(work, "commit", "-m", "second", "--json").json["commit"]
    return first, second


def test_after_a_switch_the_maps_are_of_the_new_head(here: Work, tmp_path: Path) -> None:
    (here.top / "n").unlink()  # hard links are for a scan
    away(here, "commit", "-m", "first")
    with attached(here):
        first, second = two_commits(here)
        for commit_id in (first, second, first):
            away(here, "switch", "--detach", commit_id)
            assert told(here) == ({}, 0)
            assert driver(here)["dirty"] == 0
        write("disk", 5, b"by hand")(here.top)
        check_the_next(here, tmp_path)


def test_after_a_switch_with_changes_of_ones_own(here: Work, tmp_path: Path) -> None:
    with attached(here):
        first, second = two_commits(here)
        write("d/e/b", 0, b"mine")(here.top)
        fill("d/e/mine", 10)(here.top)
        remove("d/e/c")(here.top)
        for commit_id in (first, second):
            away(here, "switch", "--detach", commit_id)
            mine = {"d/e/b": "modified", "d/e/mine": "new", "d/e/c": "deleted"}
            assert base_of(here) == here.root()
            assert told(here)[0] == mine
        check_the_next(here, tmp_path)


def test_after_a_restore(here: Work, tmp_path: Path) -> None:
    with attached(here):
        two_commits(here)
        write("disk", 5, b"by hand")(here.top)
        remove("n")(here.top)
        away(here, "restore", "--force")
        assert told(here) == ({}, 0)
        away(here, "restore", "--source", "HEAD~1", "disk")
        assert told(here)[0] == {"disk": "modified"}
        check_the_next(here, tmp_path)


def test_after_a_merge(here: Work, tmp_path: Path) -> None:
    with attached(here):
        away(here, "switch", "-c", "side")
        write("disk", 70_000, b"side")(here.top)
        away(here, "commit", "-m", "side")
        away(here, "switch", "main")
        fill("d/made", 5)(here.top)
        away(here, "commit", "-m", "main")
        away(here, "merge", "side")
        assert base_of(here) == here.root()
        assert told(here) == ({}, 0)
        write("d/e/b", 0, b"after")(here.top)
        check_the_next(here, tmp_path)


def test_a_commit_of_paths_leaves_the_rest(here: Work, tmp_path: Path) -> None:
    with attached(here):
        write("disk", 5, b"in it")(here.top)
        write("d/a", 0, b"not in it")(here.top)
        fill("d/e/made", 10)(here.top)
        away(here, "commit", "-m", "some", "disk", "d/e")
        assert base_of(here) == here.root()
        assert told(here)[0] == {"d/a": "modified"}
        check_the_next(here, tmp_path)


def test_somebody_who_writes_past_the_driver(here: Work, tmp_path: Path) -> None:
    """The files that each commit looks at tell, of a few all of them; then the tree is scanned."""
    with attached(here):
        repository = Repository(here.top / ".treering")
        try:
            with live_top(repository, here.top) as below:
                file = os.open("d/e/b", os.O_WRONLY, dir_fd=below)
                os.write(file, b"past it")
                os.close(file)
        finally:
            repository.close()
        write("n", 0, b"through it")(here.top)
        done = away(here, "commit", "-m", "found", "--json")
        assert "d/e/b was changed past the driver" in done.err
        assert done.json["pause_seconds"] is None
        away(here, "restore", "d/e/b", "--target", str(tmp_path / "to"))
        assert (tmp_path / "to" / "d/e/b").read_bytes() == b"past it"
        write("n", 0, b"and again")(here.top)
        assert away(here, "commit", "-m", "next", "--json").json["pause_seconds"] is not None


def calls_of_a_commit(work: Work) -> int:
    """Calls on files of the tree, below the mount or through it."""
    write("disk", 5, os.urandom(9))(work.top)
    log = work.home / "strace.log"
    how = [
        "strace",
        "-f",
        "-y",
        "-E",
        "TREERING_NO_WORKER=1",
        "-o",
        str(log),
        "-e",
        "trace=%file,%desc",
    ]
    Work(work.home, work.home, how)("-C", str(work.top), "commit", "-m", "traced")
    lines = log.read_text("utf-8", "replace").splitlines()
    return sum(f"<{work.top}" in line and "/.treering" not in line for line in lines)


def test_a_commit_makes_as_many_calls_in_a_large_tree(here: Work) -> None:
    calls = []
    with attached(here):
        for count in (600, 6000):
            for number in range(count):
                path = here.top / "many" / str(number // 30) / str(number)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x")
            away(here, "commit", "-m", f"{count}")
            calls.append(calls_of_a_commit(here))
    # Of each file that it looks at: its folder opened and closed, if it is another, and one stat.
    assert max(calls) <= OTHERS + 3 * COUNT
    assert min(calls) > COUNT


def rows_of(work: Work, path: str) -> list[str]:
    found = away(work, "maps", "--json").json["blocks"]
    return sorted(row["status"] for row in found if row["path"] == path)


def test_the_maps_before_during_and_after_a_commit(here: Work) -> None:
    with attached(here):
        write("disk", 5, b"in it")(here.top)
        assert rows_of(here, "disk") == ["active"]
        during = []

        def between(top: Path) -> None:
            during.append(rows_of(here, "disk"))
            write("disk", 100_000, b"later")(top)
            during.append(rows_of(here, "disk"))

        assert commit_late(here, between).pause is not None
        assert during == [["frozen"], ["active", "frozen"]]
        assert rows_of(here, "disk") == ["active"]
        away(here, "commit", "-m", "rest")
        assert rows_of(here, "disk") == []
