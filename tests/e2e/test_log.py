"""log with paths and --stat: which commits changed what."""

from __future__ import annotations

import re
import subprocess
from itertools import count

import pytest
from live_trees import Work

from treering.store.history import History, Person, RefUpdate
from treering.store.locking import FileLock
from treering.store.root_record import RootRecord


@pytest.fixture
def told(work: Work) -> Work:
    """Five commits, each about something else."""
    work.write("a", "1")
    work.write("d/b", "1")
    work.write("d/e/c", "1")
    work.commit("begins")
    work.write("d/b", "2")
    work.commit("b")
    (work.top / "a").unlink()
    work.commit("a goes")
    work.write("d/e/c", "2")
    work.write("new", "x")
    work.commit("c and new")
    (work.top / "d" / "b").chmod(0o600)
    work.commit("mode of b")
    return work


def titles(work: Work, *arguments: str) -> list[str]:
    return [commit["message"].strip() for commit in work("log", "--json", *arguments).json]


def test_commits_that_changed_a_path(told: Work) -> None:
    assert titles(told, "d/b") == ["mode of b", "b", "begins"]
    assert titles(told, "--", "a") == ["a goes", "begins"]
    assert titles(told, "d/e") == ["c and new", "begins"]
    assert titles(told, "--", "a", "new") == ["c and new", "a goes", "begins"]
    assert titles(told, "--", "never") == []


def test_ranges_limits_and_folders(told: Work) -> None:
    assert titles(told, "HEAD~3..HEAD", "--", "d") == ["mode of b", "c and new"]
    assert titles(told, "-n", "1", "--", "a") == ["a goes"]
    found = told("log", "--oneline", "--", "c", cwd=told.top / "d" / "e").lines
    assert [line.split(" ", 1)[1] for line in found] == ["c and new", "begins"]


def test_everything_below_the_top(told: Work) -> None:
    assert titles(told, ".") == titles(told)


def test_stat_shows_the_files_of_each_commit(told: Work) -> None:
    lines = told("log", "--oneline", "--stat", "-n", "2").lines
    assert [line for line in lines if "|" in line] == [
        " d/b | metadata",
        " d/e/c | 1 region, 1 B ++++++++++++++++++++",
        " new   | 1 region, 1 B ++++++++++++++++++++",
    ]
    only = told("log", "--oneline", "--stat", "--", "new").lines
    assert [line for line in only if "|" in line] == [" new | 1 region, 1 B ++++++++++++++++++++"]
    document = told("log", "--json", "--stat", "-n", "1").json
    assert [change["path"] for change in document[0]["changes"]] == ["d/b"]


@pytest.fixture
def forked(work: Work) -> Work:
    """main and side part after `one` and meet in `meet`; `late` is one more branch."""
    for title in ("one", "two"):
        work.write("a", title)
        work.commit(title)
    history = History(
        work.top / ".treering" / "history", lambda: FileLock(work.home / "lock", "a test")
    )
    first, second = history.resolve("main~1"), history.resolve("main")
    record, seconds = RootRecord(first.root), count(5)

    def commit(title: str, parents: list[str], ref: str) -> str:
        who = Person("T", "t@e", second.author.time + next(seconds))
        if history.ref(ref) is None:
            history.update_refs([RefUpdate(ref, None, parents[0])], who, "start")
        return history.create_commit(record, parents, who, who, title, ref).id

    side = commit("side", [first.id], "refs/heads/side")
    commit("meet", [second.id, side], "refs/heads/main")
    commit("late", [side], "refs/heads/late")
    return work


def test_a_graph_as_git_draws_it(forked: Work) -> None:
    git = ["git", "-C", str(forked.top / ".treering" / "history"), "log", "--graph", "--date-order"]
    for more in ([], ["--all"], ["side...main"], ["side..main"]):
        theirs = subprocess.run(
            [*git, "--format=%s", *more], check=True, capture_output=True, text=True
        ).stdout
        ours = forked("log", "--graph", "--oneline", *more).lines
        plain = [re.sub(r"[0-9a-f]{10}( \(.*\))? ", "", line) for line in ours]
        assert plain == [line.rstrip() for line in theirs.splitlines()]


def test_a_graph_of_whole_commits_and_their_files(forked: Work) -> None:
    lines = forked("log", "--graph", "--stat").lines
    assert lines[0].startswith("*   commit ")
    assert lines[1].startswith("|\\  Root:   ")
    assert any(line.startswith("| | ") and "1 file changed" in line for line in lines)
    assert [line.split()[-1] for line in lines if line.endswith(("meet", "side", "two", "one"))]
    last = max(place for place, line in enumerate(lines) if line.startswith("* commit"))
    assert all(line and line[0] in "*|" for line in lines[:last])


def test_a_graph_of_paths(forked: Work) -> None:
    found = forked("log", "--graph", "--oneline", "--", "a").lines
    assert [line.split()[-1] for line in found if "*" in line] == ["two", "one"]
    assert forked("log", "--graph", "--oneline", "-n", "1", "--", "a").lines[0].endswith("two")


def test_what_only_one_of_two_has(forked: Work) -> None:
    assert sorted(titles(forked, "late...main")) == ["late", "meet", "two"]
    assert titles(forked, "main...main") == []
    forked("log", "main...late", "side", code=2)
    assert set(titles(forked, "--all")) == {"late", "meet", "side", "two", "one"}


def test_diff_since_two_parted(forked: Work) -> None:
    forked("branch", "other", "main~1")
    assert forked("diff", "side...other", "--name-status").lines == ["M\ta"]
    assert forked("diff", "other...side", "--name-status").lines == []
    assert forked("diff", "other..side", "--name-status").lines == ["M\ta"]
    forked("diff", "main...nothing", code=1)
