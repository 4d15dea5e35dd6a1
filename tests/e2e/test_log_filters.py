"""log by date, author and message."""

from __future__ import annotations

import subprocess
import time

import pytest
from live_trees import Work

from treering.store.history import History, Person
from treering.store.locking import FileLock
from treering.store.root_record import RootRecord

DAY = 86400
ADA, BOB = ("Ada Lovelace", "ada@example.org"), ("Bob", "bob@ada.example")


@pytest.fixture
def told(work: Work) -> Work:
    """Six commits, ten days ago to now; `a` differs in the oldest and the newest only."""
    work.write("a", "1")
    work.commit("the tree")
    history = History(
        work.top / ".treering" / "history", lambda: FileLock(work.home / "lock", "a test")
    )
    found = history.resolve("HEAD")
    root, ref = found.root, "refs/heads/other"
    last = None
    now = int(time.time())
    for days, who, message in (
        (10, ADA, "begins\n\nwith a long\nexplanation\n"),
        (8, BOB, "disk grows\n"),
        (6, ADA, "Disk shrinks\n"),
        (4, BOB, "nothing (yet)\n"),
        (1, ADA, "disk [last]\n"),
    ):
        person = Person(*who, now - days * DAY - 60)
        last = history.create_commit(
            RootRecord(root), [last] if last else [], person, person, message, ref
        ).id
    work("switch", "-q", "other")
    work.write("a", "2")
    work.commit("a changes")
    return work


def titles(work: Work, *arguments: str) -> list[str]:
    found = work("log", "--json", *arguments).json
    assert [line.split(" ", 1)[1] for line in work("log", "--oneline", *arguments).lines] == [
        ("(HEAD -> other) " if commit["message"] == "a changes\n" else "")
        + commit["message"].partition("\n")[0]
        for commit in found
    ]
    return [commit["message"].partition("\n")[0] for commit in found]


def test_dates(told: Work) -> None:
    newest = ["a changes", "disk [last]", "nothing (yet)"]
    assert titles(told, "--since", "5 days ago") == newest
    assert titles(told, "--after=5.days.ago") == newest
    assert titles(told, "--until", "7 days ago") == ["disk grows", "begins"]
    assert titles(told, "--since", "1 week ago", "--before", "3 days ago") == [
        "nothing (yet)",
        "Disk shrinks",
    ]
    assert titles(told, "--since", "yesterday") == ["a changes"]
    assert titles(told, "--since", "2999-01-01") == []
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 8 * DAY - 60))
    assert titles(told, "--since", day, "--until", day) == ["disk grows"]


def test_authors_and_messages(told: Work) -> None:
    assert titles(told, "--author", "Ada") == ["disk [last]", "Disk shrinks", "begins"]
    assert len(titles(told, "--author", "ada")) == 5
    assert titles(told, "--author", "^Bob <") == ["nothing (yet)", "disk grows"]
    assert titles(told, "--grep", "disk") == ["disk [last]", "disk grows"]
    assert titles(told, "-i", "--grep", "DISK") == ["disk [last]", "Disk shrinks", "disk grows"]
    assert titles(told, "--grep", "^explanation$") == ["begins"]
    assert titles(told, "--grep", "grows", "--grep", "yet") == ["nothing (yet)", "disk grows"]
    assert titles(told, "--grep", "disk", "--author", "Ada") == ["disk [last]"]


def test_with_paths_limits_and_ranges(told: Work) -> None:
    assert titles(told, "--", "a") == ["a changes", "begins"]
    assert titles(told, "--until", "9 days ago", "--", "a") == ["begins"]
    assert titles(told, "--author", "Ada", "-n", "2") == ["disk [last]", "Disk shrinks"]
    assert titles(told, "HEAD~3..HEAD", "--grep", "disk") == ["disk [last]"]
    assert titles(told, "--author", "Ada", "--", "never") == []


def test_a_graph_of_some(told: Work) -> None:
    lines = told("log", "--graph", "--oneline", "--author", "Bob").lines
    assert [line.partition(" ")[2].partition(" ")[2] for line in lines if line[0] == "*"] == [
        "nothing (yet)",
        "disk grows",
    ]


def test_git_finds_the_same(told: Work) -> None:
    git = ["git", "-C", str(told.top / ".treering" / "history"), "log", "--format=%s"]
    for arguments in (
        ["--author=Ada"],
        ["--grep=disk", "-i"],
        ["--grep=disk", "--grep=yet"],
        ["--since=5 days ago"],
        ["--until=7 days ago", "--author=Bob"],
        ["--since=1 week ago", "-n", "1"],
    ):
        theirs = subprocess.run([*git, *arguments], check=True, capture_output=True, text=True)
        assert titles(told, *arguments) == theirs.stdout.splitlines()


def test_bad_input(told: Work) -> None:
    found = told("log", "--since", "soon", code=2).err
    assert "'soon' is not a date" in found and "hint: write it as 2026-11-25" in found
    assert "'[' is not a regular expression" in told("log", "--grep", "[", code=2).err
