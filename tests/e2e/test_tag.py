"""tag: names that stay."""

from __future__ import annotations

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
