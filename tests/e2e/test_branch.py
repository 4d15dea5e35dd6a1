"""branch: names for lines of history, as stock Git sees them too."""

from __future__ import annotations

import subprocess

import pytest
from live_trees import Work


def branches(work: Work) -> dict[str, str]:
    """Name -> title of its commit, as stock Git says it."""
    found = subprocess.run(
        ["git", "for-each-ref", "--format=%(refname:short) %(subject)", "refs/heads"],
        cwd=work.home / ".." / "tree" / ".treering" / "history",
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split(" ", 1) for line in found.stdout.splitlines())


def test_list_make_and_move(two: Work) -> None:
    two("branch", "old", "HEAD~1")
    two("branch", "new")
    assert branches(two) == {"main": "two", "new": "two", "old": "one"}
    assert two("branch").lines == ["* main", "  new", "  old"]
    assert two("branch", "-v").lines[2].endswith(" one")
    assert "exists already" in two("branch", "old", code=11).err
    two("branch", "-f", "old")
    assert branches(two)["old"] == "two"
    assert [item["current"] for item in two("branch", "--json").json] == [True, False, False]
    assert two("status").lines[0] == "On branch main"


def test_verbose_list_of_local_and_remote_branches(two: Work) -> None:
    two("init", "-q", "--bare", str(two.home / "there"))
    two("remote", "add", "origin", str(two.home / "there"))
    two("push", "-q", "-u", "origin", "main")
    two("branch", "side", "HEAD~1")
    two.write("a", "three")
    two.commit("three")
    third, second, first = (item["commit"][:10] for item in two("log", "--json").json)
    assert two("branch", "-a", "-v").lines == [
        f"* main {third} [origin/main: ahead 1] three",
        f"  side {first} one",
        f"  remotes/origin/main {second} two",
    ]
    assert two("branch", "-r").lines == ["  remotes/origin/main"]
    assert [item["ref"] for item in two("branch", "-a", "--json").json] == [
        "refs/heads/main",
        "refs/heads/side",
        "refs/remotes/origin/main",
    ]


def test_delete_keeps_what_is_nowhere_else(two: Work) -> None:
    two("branch", "here", "HEAD~1")
    two("branch", "-m", "side")
    two("branch", "main", "HEAD~1")
    assert two("branch", "-d", "here").out.startswith("Deleted branch here (was ")
    assert "the branch we are on" in two("branch", "-d", "side", code=11).err
    assert "no branch 'here'" in two("branch", "-d", "here", code=1).err
    assert set(branches(two)) == {"main", "side"}
    two("fsck")


def test_delete_of_what_is_not_merged_needs_force(two: Work) -> None:
    two("branch", "only")
    history = two.top / ".treering" / "history"
    first = two("log", "--json").json[1]["commit"]
    two("branch", "-m", "gone-from")
    subprocess.run(["git", "update-ref", "refs/heads/gone-from", first], cwd=history, check=True)
    assert "on no other branch" in two("branch", "-d", "only", code=11).err
    two("branch", "-d", "-f", "only")
    assert set(branches(two)) == {"gone-from"}


def test_rename(two: Work) -> None:
    two("branch", "-m", "trunk")
    assert two("status").lines[0] == "On branch trunk"
    two("branch", "other")
    two("branch", "-m", "other", "another")
    assert set(branches(two)) == {"another", "trunk"}
    assert "exists already" in two("branch", "-m", "another", code=11).err
    two.write("a", "three")
    two.commit("three")
    assert branches(two) == {"another": "two", "trunk": "three"}


def test_rename_before_the_first_commit(work: Work) -> None:
    work("branch", "-m", "trunk")
    work.write("a", "1")
    work.commit("one")
    assert set(branches(work)) == {"trunk"}


@pytest.mark.parametrize("name", ["a..b", "-x", "a b", "a.lock", "a~1", "", "@", "HEAD", "a/"])
def test_names_that_git_refuses(two: Work, name: str) -> None:
    assert "is not a valid name" in two("branch", "--", name, code=2).err
    assert set(branches(two)) == {"main"}
