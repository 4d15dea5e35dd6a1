"""A merge with conflicts: both versions stay, they are settled by hand or by taking a side, or the
merge is given up; nothing is lost."""

from __future__ import annotations

import contextlib
import os
import subprocess

import pytest
from live_trees import Work, build, commit_id, fingerprint, parents, timeless


def test_conflicts_leave_both_versions_beside_each_other(split: Work) -> None:
    done = split("merge", "night", code=11)
    told = {" ".join(line.split()) for line in done.lines if line.startswith("        ")}
    assert told == {
        "changed on both sides: both (theirs: both~night)",
        "deleted here, changed there: gone (theirs: gone~night)",
        "changed here, deleted there: kept",
        "added on both sides: twice (theirs: twice~night)",
    }
    assert (split.top / "both").read_text() == "main"
    assert (split.top / "both~night").read_text() == "night"
    assert (split.top / "gone~night").read_text() == "night"
    assert not (split.top / "gone").exists()
    assert (split.top / "kept").read_text() == "main"
    assert (split.top / "d" / "theirs").read_text() == "night"
    assert len(parents(split)) == 1


def test_a_merge_is_committed_once_everything_is_settled(split: Work) -> None:
    ends = [commit_id(split, "main"), commit_id(split, "night")]
    split("merge", "night", code=11)
    left = split("merge", "--continue", code=11)
    assert "not settled: both, gone, kept, twice" in left.err
    assert split("commit", "-m", "must not be", code=11).err == left.err
    split.write("both", "settled")
    for name in ("both~night", "gone~night", "kept", "twice~night"):
        (split.top / name).unlink()
    status = split("status")
    assert status.lines[1].endswith(": everything is settled.")
    assert split("merge", "--continue").lines[0].endswith("] Merge branch 'night'")
    assert parents(split) == ends
    assert split("cat", "HEAD:both").out == "settled"
    assert split("ls", "HEAD").lines == ["both", "d/", "m", "mine", "n/", "twice"]
    assert split("status").lines == ["On branch main", "nothing to commit, work tree clean"]


def test_a_commit_is_the_merges_with_a_message_of_its_own(split: Work) -> None:
    split("merge", "night", code=11)
    assert split("commit", "both", code=11).err.startswith("treering: a merge is committed whole")
    split("merge", "--theirs")
    assert "two in one" in split("commit", "-m", "two in one").lines[0]
    assert len(parents(split)) == 2
    assert split("merge", "--continue", code=2).err.startswith("treering: no merge is under way")


def test_status_says_what_is_left(split: Work) -> None:
    split("merge", "night", code=11)
    found = split("status", "--json").json["merging"]
    assert found["label"] == "night" and found["commit"] == commit_id(split, "night")
    assert {(item["path"], item["what"], item["theirs"]) for item in found["conflicts"]} == {
        ("both", "changed", "both~night"),
        ("gone", "deleted-here", "gone~night"),
        ("kept", "deleted-there", None),
        ("twice", "added", "twice~night"),
    }
    (split.top / "both~night").rename(split.top / "both")
    assert "3 conflicts left" in split("status").lines[1]


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_taking_one_side_of_all_conflicts(split: Work, side: str) -> None:
    split("merge", "night", code=11)
    split.write("both", "half done")
    assert "everything is settled" in split("merge", f"--{side}").out
    split("merge", "--continue")
    theirs = side == "theirs"
    assert split("cat", "HEAD:both").out == ("night" if theirs else "main")
    names = split("ls", "HEAD").lines
    assert ("gone" in names, "kept" in names) == ((True, False) if theirs else (False, True))
    assert not [name for name in names if "~" in name]
    assert split.changes() == {}


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_taking_one_side_from_the_start(split: Work, side: str) -> None:
    split("merge", f"--{side}", "night")
    assert split("cat", "HEAD:both").out == ("night" if side == "theirs" else "main")
    assert split("cat", "HEAD:mine").out == "main"
    assert split("cat", "HEAD:d/theirs").out == "night"
    assert split.changes() == {}


def test_taking_sides_path_by_path(split: Work) -> None:
    split("merge", "night", code=11)
    split("merge", "--theirs", "gone", "both")
    split("merge", "--ours", "kept")
    assert (split.top / "gone").read_text() == "night"
    assert (split.top / "both").read_text() == "night"
    assert not (split.top / "gone~night").exists()
    assert "in dispute" in split("merge", "--ours", "mine", code=1).err
    left = split("status", "--json").json["merging"]["conflicts"]
    assert [item["path"] for item in left] == ["twice"]
    split("merge", "--ours", "twice")
    split("merge", "--continue")
    assert split("cat", "HEAD:kept").out == "main"
    assert split("cat", "HEAD:gone").out == "night"


def test_settled_by_hand_stays_when_the_rest_is_taken_from_one_side(split: Work) -> None:
    split("merge", "night", code=11)
    split.write("both", "by hand")
    (split.top / "both~night").unlink()
    split("merge", "--theirs")
    assert (split.top / "both").read_text() == "by hand"


def test_abort_goes_back_and_keeps_what_is_not_committed(split: Work) -> None:
    split.write("notes", "uncommitted")
    split.write("mine", "uncommitted, too")
    split.write(".treeringignore", "*.tmp\n")
    split.write("n/x.tmp", "ignored")
    before = timeless(split.top)
    changed = split.changes()
    split("merge", "night", code=11)
    split.write("d/new", "since")
    assert split("merge", "--abort").lines[0] == "The merge is given up"
    assert split.changes() == changed | {"d/new": "new"}
    (split.top / "d" / "new").unlink()
    assert timeless(split.top) == before
    assert split("merge", "--abort", code=2).err.startswith("treering: no merge is under way")


def test_abort_names_what_would_be_lost(split: Work) -> None:
    split("merge", "night", code=11)
    split.write("both", "hours of work")
    split.write("both~night", "and more")
    done = split("merge", "--abort", code=11)
    assert "would be lost: both, both~night" in done.err
    assert (split.top / "both").read_text() == "hours of work"
    split("merge", "--abort", "--force")
    assert (split.top / "both").read_text() == "main"
    assert split.changes() == {}


def test_abort_after_their_version_took_the_place_of_ours(split: Work) -> None:
    split("merge", "night", code=11)
    (split.top / "both~night").rename(split.top / "both")
    split("merge", "--theirs", "kept")
    split("merge", "--abort")
    assert (split.top / "both").read_text() == "main"
    assert (split.top / "kept").read_text() == "main"
    assert split.changes() == {}


def test_conflicts_below_a_path_that_is_too_long_for_the_kernel_stay_open(work: Work) -> None:
    folders = [*["d" * 200] * 22, "inner"]

    def write(content: str) -> None:
        above = os.open(work.top, os.O_RDONLY)
        for folder in folders:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, dir_fd=above)
            below = os.open(folder, os.O_RDONLY, dir_fd=above)
            os.close(above)
            above = below
        with open("f", "w", opener=lambda name, flags: os.open(name, flags, dir_fd=above)) as file:
            file.write(content)
        os.close(above)

    write("base")
    work.commit("base")
    work("switch", "-q", "-c", "night")
    write("night")
    work.commit("night")
    work("switch", "-q", "main")
    write("main")
    work.commit("main")
    work("merge", "night", code=11)
    assert "1 conflict left" in work("status").lines[1]
    assert "is not settled" in work("commit", "-m", "must not be", code=11).err
    assert "everything is settled" in work("merge", "--theirs").out


def test_uncommitted_changes_of_a_path_in_dispute_are_in_the_way(split: Work) -> None:
    """The merge would not write it, but taking a side would."""
    split.write("both", "uncommitted")
    split.write("gone", "uncommitted, and new")
    split.write("kept", "uncommitted")
    before = fingerprint(split.top)
    done = split("merge", "night", code=11)
    assert "would be lost: both, gone, kept" in done.err
    assert fingerprint(split.top) == before and "Merging" not in split("status").out
    split("restore", "both", "kept")
    (split.top / "gone").unlink()
    split("merge", "night", code=11)


def test_abort_leaves_what_was_there_before_as_theirs_has_it(split: Work) -> None:
    build(split.top, {"d/theirs": b"night", "n/n": b"n", "both~night": b"night"})
    before, changed = timeless(split.top), split.changes()
    split("merge", "night", code=11)
    split("merge", "--abort")
    assert timeless(split.top) == before
    assert split.changes() == changed


def test_a_merge_whose_branch_was_moved_is_not_committed(split: Work) -> None:
    split("merge", "night", code=11)
    split("merge", "--theirs")
    history = split.top / ".treering" / "history"
    move = ["update-ref", "refs/heads/main", "refs/heads/main~1"]
    subprocess.run(["git", "--git-dir", history, *move], check=True)
    assert "HEAD has moved since the merge" in split("merge", "--continue", code=11).err
    assert len(parents(split)) == 0


def test_nothing_else_moves_the_tree_while_a_merge_is_under_way(split: Work) -> None:
    split("merge", "night", code=11)
    for command in (["switch", "night"], ["merge", "night"], ["switch", "-c", "x"]):
        assert "treering merge --abort" in split(*command, code=11).err


def test_attributes_of_a_folder_are_in_dispute_one_by_one(work: Work) -> None:
    """Taking their side takes what is in dispute, and leaves what only we changed."""
    work.write("d/f", "base")
    work.commit("base")
    work("switch", "-q", "-c", "night")
    (work.top / "d").chmod(0o711)
    work.commit("night")
    work("switch", "-q", "main")
    (work.top / "d").chmod(0o700)
    os.setxattr(work.top / "d", "user.ours", b"kept")
    work.commit("main")
    assert "attributes changed on both sides:  d" in work("merge", "night", code=11).out
    work("merge", "--theirs", "d")
    assert (work.top / "d").stat().st_mode & 0o777 == 0o711
    work("merge", "--continue")
    assert os.getxattr(work.top / "d", "user.ours") == b"kept"
    assert work.changes() == {}


def test_a_conflict_is_named_by_either_version(split: Work) -> None:
    split("merge", "night", code=11)
    split("merge", "--theirs", "both~night")
    assert (split.top / "both").read_text() == "night"
    assert not (split.top / "both~night").exists()


@pytest.mark.parametrize("content", [b"", b"garbage", b"treering merge 1\n\x93"])
def test_a_damaged_state_is_told_and_nothing_is_recorded(split: Work, content: bytes) -> None:
    """Deleting it, as the hint says, leaves both versions in the work tree."""
    split("merge", "night", code=11)
    state = split.top / ".treering" / "tracker" / "merge"
    state.write_bytes(content)
    for command in (["commit", "-m", "x"], ["merge", "--abort"], ["switch", "night"], ["status"]):
        done = split(*command, code=12)
        assert "tracker/merge" in done.err and "hint: delete it" in done.err
    state.unlink()
    assert split.changes()["both~night"] == "new"
    assert len(parents(split)) == 1
