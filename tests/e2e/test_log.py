"""log with paths and --stat: which commits changed what."""

from __future__ import annotations

import pytest
from live_trees import Work


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
