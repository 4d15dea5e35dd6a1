"""Restore: whole, paths, other targets, deletions, dry runs and refusals."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from live_trees import Work, build, fingerprint, settle, touch


@pytest.fixture
def two(work: Work) -> Work:
    """Two commits: `a` and `d/b` change, `d/old` goes, `d/new` comes, `same` stays."""
    build(work.top, {"a": b"a1", "d/b": b"b1", "d/old": b"old", "same": b"same"})
    work.commit("one")
    (work.top / "d" / "old").unlink()
    work.write("a", "a2, longer")
    work.write("d/b", "b2")
    work.write("d/new", "new")
    work.commit("two")
    return work


def actions(work: Work, *arguments: str) -> list[tuple[str, str]]:
    """What a dry run says it would do."""
    found = work("restore", "--dry-run", "--json", *arguments).json
    assert found["dry_run"] is True
    return sorted((item["what"], item["path"]) for item in found["actions"])


def test_whole_and_back(two: Work, tmp_path: Path) -> None:
    second = fingerprint(two.top)
    first = fingerprint(two.restored(tmp_path / "first", "--source", "HEAD~1"))
    two("restore", "--source", "HEAD~1", "--delete")
    assert fingerprint(two.top) == first
    two("restore", "--delete", "--force")
    assert fingerprint(two.top) == second
    assert two.commit()["committed"] is False


def test_without_delete_new_files_stay(two: Work) -> None:
    done = two("restore", "--source", "HEAD~1")
    assert re.match(r"Restored 3 files from [0-9a-f]{10}: \d+ B written\n", done.out), done.out
    assert (two.top / "d" / "new").read_text() == "new"
    assert (two.top / "d" / "old").read_text() == "old"
    assert (two.top / "a").read_text() == "a1"


def test_paths_only(two: Work) -> None:
    two.write("a", "uncommitted")
    two.write("same", "uncommitted too")
    two("restore", "--source", "HEAD~1", "d")
    assert (two.top / "d" / "b").read_text() == "b1"
    assert (two.top / "a").read_text() == "uncommitted"
    # With paths, what is there is overwritten, as in Git; paths are relative to where we are.
    two("restore", "b", "../a", cwd=two.top / "d")
    assert (two.top / "d" / "b").read_text() == "b2"
    assert (two.top / "a").read_text() == "a2, longer"
    assert (two.top / "same").read_text() == "uncommitted too"


def test_paths_with_delete_touch_nothing_else(two: Work) -> None:
    two.write("stray", "x")
    two.write("d/stray", "x")
    two("restore", "--delete", "d")
    assert not (two.top / "d" / "stray").exists()
    assert (two.top / "stray").exists()


def test_a_deleted_folder_comes_back_with_its_times(two: Work) -> None:
    before = fingerprint(two.top)
    shutil.rmtree(two.top / "d")
    two("restore", "d")
    after = fingerprint(two.top)
    assert {path: seen for path, seen in after.items() if path} == {
        path: seen for path, seen in before.items() if path
    }


def test_an_unknown_path_is_refused_by_name(two: Work) -> None:
    done = two("restore", "nowhere/at all", code=1)
    assert done.err.startswith("treering: nowhere/at all is not in that commit\n")
    assert "hint: " in done.err


def test_another_target_leaves_the_work_tree_alone(two: Work, tmp_path: Path) -> None:
    before = fingerprint(two.top)
    target = tmp_path / "not" / "there" / "yet"
    two("restore", "--source", "HEAD~1", "--target", str(target), "d")
    assert sorted(os.listdir(target)) == ["d"]
    assert sorted(os.listdir(target / "d")) == ["b", "old"]
    assert fingerprint(two.top) == before
    (target / "stray").write_text("x")
    two.restored(target, "--delete")
    assert fingerprint(target) == before


def test_a_dry_run_says_all_and_changes_nothing(two: Work) -> None:
    two.write("stray", "x")
    settle(two.top)
    before = fingerprint(two.top)
    found = actions(two, "--source", "HEAD~1", "--delete", "--force")
    for action in (
        ("create", "d/old"),
        ("delete", "d/new"),
        ("delete", "stray"),
        ("update", "a"),
        ("update", "d/b"),
    ):
        assert action in found
    assert fingerprint(two.top) == before
    text = two("restore", "--dry-run", "--source", "HEAD~1", "--delete", "--force").lines
    assert "create    d/old" in text


def test_a_dry_run_into_a_new_folder_makes_none(two: Work, tmp_path: Path) -> None:
    found = actions(two, "--target", str(tmp_path / "out"))
    assert ("create", "d/new") in found
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_nothing_when_nothing_differs(two: Work) -> None:
    os.link(two.top / "a", two.top / "linked")
    os.symlink("a", two.top / "symlink")
    two.commit()
    assert actions(two) == []
    assert two("restore", "--dry-run").out == ""
    done = two("restore", "--json")
    assert done.json["bytes"] == 0


def test_a_dry_run_names_changes_of_metadata_only(two: Work) -> None:
    os.symlink("a", two.top / "symlink")
    settle(two.top)
    two.commit()
    (two.top / "same").chmod(0o600)
    touch(two.top / "symlink", 1)
    touch(two.top / "d", 1)
    found = actions(two, "--force")
    assert ("metadata", "symlink") in found
    assert ("metadata", "d/") in found
    assert any(path == "same" for _, path in found)
    assert len(found) == 3


def test_losses_are_refused_by_name(two: Work) -> None:
    two.write("a", "not committed")
    done = two("restore", code=11)
    assert done.err.startswith("treering: uncommitted changes would be lost: a\nhint: ")
    assert (two.top / "a").read_text() == "not committed"
    two("restore", "--force")
    assert (two.top / "a").read_text() == "a2, longer"
    for number in range(8):
        two.write(f"stray {number}", "x")
    two("restore")  # nothing of them is lost
    done = two("restore", "--delete", code=11)
    assert "stray 0, stray 1, stray 2, stray 3, stray 4 and 3 more" in done.err
    error = two("restore", "--delete", "--json", code=11).error
    assert error["error"] == "Conflict"
    assert "--force" in error["hint"]


def test_a_new_file_in_the_way_is_not_lost(two: Work) -> None:
    two.write("d/old", "a new one of the same name")
    done = two("restore", "--source", "HEAD~1", code=11)
    assert "d/old" in done.err
    assert (two.top / "d" / "old").read_text() == "a new one of the same name"


def test_new_files_in_a_folder_in_the_way_are_not_lost(two: Work) -> None:
    """Status shows a new folder as one line; what is in it counts all the same."""
    shutil.rmtree(two.top / "d")
    two.commit("no d")
    two.write("d/b", "mine")
    assert "d/" in two("restore", "--source", "HEAD~1", code=11).err
    assert (two.top / "d" / "b").read_text() == "mine"


def test_a_folder_in_place_of_a_file_is_not_lost(two: Work) -> None:
    (two.top / "a").unlink()
    two.write("a/precious", "mine")
    assert "a/" in two("restore", code=11).err
    assert (two.top / "a" / "precious").read_text() == "mine"
    two("restore", "--force")
    assert (two.top / "a").read_text() == "a2, longer"


def test_a_file_in_place_of_a_folder(two: Work) -> None:
    before = fingerprint(two.top)
    shutil.rmtree(two.top / "d")
    two.write("d", "now a file")
    assert "d" in two("restore", code=11).err
    two("restore", "--force")
    assert fingerprint(two.top) == before


def test_a_planted_symlink_leads_nowhere(two: Work, tmp_path: Path) -> None:
    before = fingerprint(two.top)
    victim = tmp_path / "victim"
    build(victim, {"b": b"outside", "keep": b"outside"})
    outside = fingerprint(victim)
    shutil.rmtree(two.top / "d")
    os.symlink(victim, two.top / "d")
    (two.top / "a").unlink()
    os.symlink(victim / "keep", two.top / "a")
    two("restore", "--delete", "--force")
    assert fingerprint(victim) == outside
    assert fingerprint(two.top) == before
    # And in another target, which may be anything.
    target = tmp_path / "target"
    target.mkdir()
    os.symlink(victim, target / "d")
    two.restored(target, "--delete")
    assert fingerprint(victim) == outside
    assert fingerprint(target) == before
