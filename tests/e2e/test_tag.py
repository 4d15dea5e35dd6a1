"""tag: names that stay."""

from __future__ import annotations

import subprocess

import pytest
from live_trees import Work


def test_make_list_move_and_delete(two: Work) -> None:
    two("tag", "v1.0", "HEAD~1")
    two("tag", "v1.1")
    two("tag", "other")
    assert two("tag").lines == ["other", "v1.0", "v1.1"]
    assert two("tag", "-l", "v1.*").lines == ["v1.0", "v1.1"]
    assert two("cat", "v1.0:a").out == "one"
    assert two("tag", "-v", "-l", "v1.0").lines[0].endswith(" one")
    assert "a tag named 'v1.0' exists" in two("tag", "v1.0", code=11).err
    two("tag", "-f", "v1.0")
    assert two("cat", "v1.0:a").out == "two"
    assert two("tag", "-d", "v1.0", "other").lines[1].startswith("Deleted tag other (was ")
    assert [tag["name"] for tag in two("tag", "--json").json] == ["v1.1"]
    assert "no tag 'other'" in two("tag", "-d", "other", code=1).err
    two("fsck")


def test_a_tag_stays_while_the_branch_goes_on(two: Work) -> None:
    two("tag", "here")
    two.write("a", "three")
    two.commit("three")
    assert [commit["message"] for commit in two("log", "--json", "here..HEAD").json] == ["three\n"]
    assert "(tag: here)" in two("log", "--oneline", "here").lines[0]


@pytest.mark.parametrize("name", ["a..b", "-x", "a b", "a.lock", "", "HEAD"])
def test_names_that_git_refuses(two: Work, name: str) -> None:
    assert "is not a valid name for a tag" in two("tag", "--", name, code=2).err


def git(work: Work, *arguments: str) -> str:
    history = work.top / ".treering" / "history"
    return subprocess.run(
        ["git", "-C", history, *arguments], check=True, capture_output=True, text=True
    ).stdout


def test_an_annotated_tag_is_one_of_git(two: Work) -> None:
    two("tag", "-a", "v1", "HEAD~1", "-m", "as delivered", "-m", "to all")
    content = git(two, "cat-file", "tag", "v1")
    assert content.endswith("\n\nas delivered\n\nto all\n")
    assert "\ntype commit\ntag v1\ntagger Test Er <test@example.org> " in content
    assert git(two, "fsck", "--strict") == ""
    tagged = git(two, "rev-parse", "main~1").strip()
    assert content.startswith(f"object {tagged}\n")
    git(two, "-c", "user.name=A", "-c", "user.email=b", "tag", "-a", "-m", "theirs", "outer", "v1")
    assert two("cat", "outer:a").out == "one"
    assert two("fsck").code == 0


def test_an_annotated_tag_stands_for_its_commit(two: Work) -> None:
    two("tag", "v1", "HEAD~1", "-m", "why it is")
    first = two("log", "--json", "v1").json
    assert [commit["message"] for commit in first] == ["one\n"]
    assert "(tag: v1)" in two("log", "--oneline", "v1").lines[0]
    assert two("diff", "--name-status", "v1", "main").lines == ["M\ta"]
    assert [c["message"] for c in two("log", "--json", "v1..main").json] == ["two\n"]
    two("restore", "--source", "v1", "a")
    assert (two.top / "a").read_text() == "one"
    two("branch", "old", "v1")
    assert [c["message"] for c in two("log", "--json", "old").json] == ["one\n"]
    two("fsck")


def test_show_prints_the_tag_before_its_commit(two: Work) -> None:
    two("tag", "v1", "-m", "why it is")
    lines = two("show", "v1").lines
    assert lines[:2] == ["tag v1", "Tagger: Test Er <test@example.org>"]
    assert lines.index("why it is") < next(
        place for place, line in enumerate(lines) if line.startswith("commit ")
    )
    document = two("show", "--json", "v1").json
    assert document["tag"]["message"] == "why it is\n"
    assert document["message"] == "two\n"
    assert "tag" not in two("show", "--json", "main").json


def test_tags_with_their_messages(two: Work) -> None:
    two("tag", "-a", "v1", "-m", "why\nand how")
    two("tag", "light", "HEAD~1")
    assert two("tag", "-n").lines == ["light           one", "v1              why"]
    assert two("tag", "-n", "2", "-l", "v*").lines == ["v1              why", "    and how"]
    light, heavy = two("tag", "--json").json
    assert "tag" not in light
    assert heavy["tag"]["message"] == "why\nand how\n"
    assert heavy["commit"] == two("log", "--json", "-n", "1").json[0]["commit"]
    two("tag", "-f", "v1", "-m", "better")
    assert two("tag", "-n", "-l", "v1").lines == ["v1              better"]
    two("tag", "-d", "v1")
    assert two("tag").lines == ["light"]


@pytest.mark.parametrize("arguments", [["-a", "v1"], ["v1", "-m", " "], ["-m", "no name"]])
def test_an_annotated_tag_needs_a_name_and_a_message(two: Work, arguments: list[str]) -> None:
    assert "an annotated tag needs" in two("tag", *arguments, code=2).err
    assert two("tag").lines == []
