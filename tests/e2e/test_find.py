"""find: paths in all of history."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from live_trees import Work


@pytest.fixture
def told(work: Work) -> Work:
    work.write("a.txt", "1")
    work.write("d/b.txt", "12")
    work.write("d/e/c.dat", "123")
    work.commit("begins")
    work.write("a.txt", "12345")
    (work.top / "d" / "b.txt").unlink()
    work.commit("b goes")
    work.write("late.txt", "x")
    work.commit("late")
    return work


def found(work: Work, *arguments: str) -> dict[str, Any]:
    return {item["path"]: item for item in work("find", "--json", *arguments).json}


def test_names_anywhere(told: Work) -> None:
    rows = found(told, "*.txt")
    assert list(rows) == ["a.txt", "d/b.txt", "late.txt"]
    log = [commit["commit"] for commit in told("log", "--json").json]
    assert (rows["a.txt"]["first"], rows["a.txt"]["last"]) == (log[2], log[0])
    assert (rows["a.txt"]["first_size"], rows["a.txt"]["last_size"]) == (1, 5)
    assert rows["a.txt"]["deleted_by"] is None
    assert (rows["d/b.txt"]["last"], rows["d/b.txt"]["deleted_by"]) == (log[2], log[1])
    assert rows["late.txt"]["first"] == log[0]


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("d/*", ["d/b.txt", "d/e"]),
        ("d/**", ["d/b.txt", "d/e", "d/e/c.dat"]),
        ("**/c.dat", ["d/e/c.dat"]),
        ("/a.txt", ["a.txt"]),
        ("e/", ["d/e"]),
        ("[!l]*.txt", ["a.txt", "d/b.txt"]),
        ("?.dat", ["d/e/c.dat"]),
    ],
)
def test_patterns(told: Work, pattern: str, paths: list[str]) -> None:
    assert list(found(told, pattern)) == paths


def test_text_says_who_deleted_it(told: Work) -> None:
    lines = told("find", "b.txt").lines
    deleted_by = told("log", "--json", "HEAD~1", "-n", "1").json[0]["commit"][:10]
    assert len(lines) == 1
    assert "2 B -> 2 B" in lines[0]
    assert f"d/b.txt  (deleted by {deleted_by} " in lines[0]


def test_other_branches_count_unless_a_revision_is_given(told: Work) -> None:
    told("branch", "old", "HEAD~2")
    assert found(told, "late.txt")
    assert "ever fitted" in told("find", "late.txt", "old", code=1).err
    assert found(told, "late.txt", "old", "--all")
    assert found(told, "b.txt", "old")["d/b.txt"]["deleted_by"] is None


def test_a_range_counts_as_all_there_is(told: Work) -> None:
    log = [commit["commit"] for commit in told("log", "--json").json]
    rows = found(told, "*", "HEAD~1..")
    assert "d/b.txt" not in rows and rows["late.txt"]["first"] == log[0]
    assert (rows["a.txt"]["first"], rows["a.txt"]["first_size"]) == (log[0], 5)
    rows = found(told, "*.txt", "HEAD~2..HEAD")
    assert (rows["a.txt"]["first"], rows["a.txt"]["last"]) == (log[1], log[0])
    assert list(rows) == ["a.txt", "late.txt"]
    assert list(found(told, "*.txt", "HEAD", "^HEAD~1")) == ["a.txt", "late.txt"]
    told("branch", "old", "HEAD~1")
    assert found(told, "late.txt", "old...HEAD")["late.txt"]["first"] == log[0]
    gone = told("find", "b.txt", "HEAD~1..HEAD", code=1).err
    assert "nothing in HEAD~1..HEAD ever fitted 'b.txt'" in gone
    assert "ever fitted" in told("find", "*", "HEAD..HEAD", code=1).err


def test_bad_input(told: Work) -> None:
    assert "ever fitted 'never'" in told("find", "never", code=1).err
    assert "makes no sense" in told("find", "[z-a]", code=2).err
    assert "unknown revision" in told("find", "a", "gone", code=1).err


def test_no_commits(work: Work) -> None:
    assert "there are no commits yet" in work("find", "x", code=1).err


def test_raw_names(work: Work) -> None:
    name = b"na\xff\nme".decode("utf-8", "surrogateescape")
    work.write(name, "x")
    work.commit()
    assert work("find", "-z", "na*").raw.endswith(b"na\xff\nme\0")
    assert '"na\\377\\nme"' in work("find", "na*").out


APART = """
import os, sys
from treering.tracker import find
from treering.cli.main import main
find.MANY, fork = 2, os.fork
os.fork = lambda: print("forked", file=sys.stderr) or fork()
os.sched_getaffinity = lambda pid: {0, 1, 2}
main(sys.argv[1:])
"""


def apart(work: Work, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """find, with a part of the history for each of three processes."""
    command = [sys.executable, "-c", APART, "-C", str(work.top), "find", *arguments]
    return subprocess.run(command, check=False, capture_output=True, timeout=60)


def test_processes_that_share_a_history_find_the_same(told: Work) -> None:
    done = apart(told, "*")
    assert done.stderr.count(b"forked") == 2
    assert (done.returncode, done.stdout) == (0, told("find", "*").raw)


def test_damage_that_another_process_meets_is_told(told: Work) -> None:
    packs = (told.top / ".treering" / "packs").iterdir()
    max(packs, key=lambda path: path.stat().st_ctime_ns).unlink()
    done = apart(told, "*")
    assert done.stderr.count(b"forked") == 2
    assert done.returncode == 12
    assert b"hint: see what lacks it with: treering fsck" in done.stderr
