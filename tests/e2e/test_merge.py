"""merge: two branches become one, what both changed stays on both sides, nothing is lost."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import subprocess
from pathlib import Path

import pytest
from live_trees import Seen, Work, build, fingerprint

BLOCK = 65536


@pytest.fixture
def split(work: Work) -> Work:
    """On main and on `night`, each with a commit after `base`: `both` was changed on both, `kept`
    changed on main and deleted on night, `gone` the reverse, `twice` added on both. The rest was
    changed on one side. HEAD is on main."""
    base = {"both": b"base", "kept": b"base", "gone": b"base", "mine": b"base", "d/theirs": b"base"}
    build(work.top, base)
    work.commit("base")
    work("switch", "-q", "-c", "night")
    build(
        work.top,
        {"both": b"night", "gone": b"night", "twice": b"night", "d/theirs": b"night", "n/n": b"n"},
    )
    (work.top / "kept").unlink()
    work.commit("night")
    work("switch", "-q", "main")
    build(
        work.top, {"both": b"main", "kept": b"main", "twice": b"main", "mine": b"main", "m": b"m"}
    )
    (work.top / "gone").unlink()
    work.commit("main")
    return work


@pytest.fixture
def apart(work: Work) -> Work:
    """main and `night` changed different paths. HEAD is on main."""
    build(work.top, {"mine": b"base", "theirs": b"base", "d/gone": b"base", "same": b"s"})
    work.commit("base")
    work("switch", "-q", "-c", "night")
    build(work.top, {"theirs": b"night", "new/n": b"n"})
    (work.top / "d" / "gone").unlink()
    work.commit("night")
    work("switch", "-q", "main")
    work.write("mine", "main")
    work.commit("main")
    return work


def parents(work: Work, revision: str = "HEAD") -> list[str]:
    (found,) = work("log", "--json", "-n1", revision).json
    return list(found["parents"])


def commit_id(work: Work, revision: str) -> str:
    (found,) = work("log", "--json", "-n1", revision).json
    return str(found["commit"])


def timeless(top: Path) -> dict[bytes, Seen]:
    """Everything below a folder, but for times."""
    return {path: seen._replace(mtime_ns=0) for path, seen in fingerprint(top).items()}


def test_what_each_side_changed_alone_is_in_one_commit(apart: Work, tmp_path: Path) -> None:
    ends = [commit_id(apart, "main"), commit_id(apart, "night")]
    done = apart("merge", "night")
    assert done.lines[0].startswith("[main ") and done.lines[0].endswith("] Merge branch 'night'")
    assert parents(apart) == ends
    assert (apart.top / "mine").read_text() == "main"
    assert (apart.top / "theirs").read_text() == "night"
    assert (apart.top / "new" / "n").read_text() == "n"
    assert not (apart.top / "d" / "gone").exists()
    assert apart.changes() == {}
    assert fingerprint(apart.top) == fingerprint(apart.restored(tmp_path / "out"))
    assert apart("merge", "night").lines == ["Already up to date with 'night'"]
    assert apart("fsck").code == 0


def test_the_other_way_round_gives_the_same_root(apart: Work) -> None:
    apart("switch", "-q", "-c", "other", "night")
    assert apart("merge", "main").lines[0].endswith("Merge branch 'main' into other")
    apart("switch", "-q", "main")
    apart("merge", "night")
    assert apart("diff", "--name-status", "main", "other").out == ""


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


def test_uncommitted_changes_in_the_way_are_named_and_nothing_moves(apart: Work) -> None:
    apart.write("theirs", "uncommitted")
    apart.write("new/n", "uncommitted")
    apart.write("same", "elsewhere")
    before = fingerprint(apart.top)
    done = apart("merge", "night", code=11)
    assert "would be lost: new/n, theirs" in done.err
    assert fingerprint(apart.top) == before
    assert "Merging" not in apart("status").out
    (apart.top / "new" / "n").unlink()
    apart("restore", "theirs")
    apart("merge", "night")
    assert apart.changes() == {"same": "modified"}
    assert apart("cat", "HEAD:same").out == "s"


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


def test_a_merge_that_needs_no_commit_moves_forwards(apart: Work) -> None:
    apart("switch", "-q", "-c", "old", "main~1")
    night = commit_id(apart, "night")
    assert apart("merge", "night").lines[0].startswith("Fast-forward of 'old': ")
    assert commit_id(apart, "HEAD") == night and apart.changes() == {}
    apart("switch", "-q", "--detach", "main~1")
    assert apart("merge", "night").lines[0].startswith("Fast-forward of HEAD: ")
    assert commit_id(apart, "HEAD") == night
    assert apart("status").lines[0] == f"HEAD detached at {night[:10]}"


def test_with_and_without_a_commit_of_its_own(apart: Work) -> None:
    done = apart("merge", "--ff-only", "night", code=11)
    assert "have diverged" in done.err
    apart("switch", "-q", "-c", "old", "main~1")
    ends = [commit_id(apart, "old"), commit_id(apart, "night")]
    apart("merge", "--no-ff", "-m", "title", "-m", "text", "night")
    assert parents(apart) == ends
    assert apart("log", "-n1").out.count("text") == 1
    assert apart("diff", "--name-status", "night", "old").out == ""


def test_a_detached_head_gets_the_commit(apart: Work) -> None:
    main = commit_id(apart, "main")
    apart("switch", "-q", "--detach", "main")
    assert apart("merge", "night").lines[0].startswith("[detached HEAD ")
    assert parents(apart)[0] == main == commit_id(apart, "main")


def test_unrelated_histories_only_when_asked_for(work: Work, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Work(work.home, tmp_path / "other")
    other("init", "-q")
    build(other.top, {"theirs": b"t", "both": b"same"})
    other.commit("theirs")
    build(work.top, {"mine": b"m", "both": b"same"})
    for top in (work.top, other.top):
        os.utime(top / "both", (1, 1))
    work.commit("mine")
    work("remote", "add", "origin", str(other.top))
    work("fetch")
    assert "no commit in common" in work("merge", "origin/main", code=11).err
    done = work("merge", "--allow-unrelated-histories", "origin/main")
    assert done.lines[0].endswith("Merge remote-tracking branch 'origin/main'")
    assert {name.name for name in work.top.iterdir()} == {".treering", "both", "mine", "theirs"}


def test_a_folder_on_one_side_and_a_file_on_the_other(work: Work) -> None:
    build(work.top, {"x": b"file", "keep": b""})
    work.commit("base")
    work("switch", "-q", "-c", "night")
    (work.top / "x").unlink()
    build(work.top, {"x/inner": b"night"})
    work.commit("night")
    work("switch", "-q", "main")
    work.write("x", "main")
    work.commit("main")
    assert "of another kind there:" in work("merge", "night", code=11).out
    assert (work.top / "x").read_text() == "main"
    assert (work.top / "x~night" / "inner").read_text() == "night"
    work("merge", "--theirs", "x")
    assert (work.top / "x" / "inner").read_text() == "night"
    work("merge", "--continue")
    assert work.changes() == {}


def test_a_change_in_a_folder_that_the_other_side_deleted(work: Work) -> None:
    build(work.top, {"d/changed": b"base", "d/other": b"base"})
    work.commit("base")
    work("switch", "-q", "-c", "night")
    build(work.top, {"d/changed": b"night"})
    work.commit("night")
    work("switch", "-q", "main")
    for name in ("changed", "other"):
        (work.top / "d" / name).unlink()
    (work.top / "d").rmdir()
    work.commit("main")
    work("merge", "night", code=11)
    assert [path.name for path in (work.top / "d").iterdir()] == ["changed~night"]
    work("merge", "--ours")
    assert not (work.top / "d").exists()
    work("merge", "--continue")
    assert work.changes() == {}


def image(work: Work, *changed: int, size: int = 6 * BLOCK) -> None:
    """An image of random blocks, of which some were written again."""
    with (work.top / "image").open("wb") as file:
        for number in range(-(-size // BLOCK)):
            seed = number if number not in changed else 1000 + number + 10 * len(changed)
            file.write(random.Random(seed).randbytes(min(BLOCK, size - number * BLOCK)))


def test_disjoint_regions_of_one_file(work: Work) -> None:
    image(work)
    work.commit("base")
    work("switch", "-q", "-c", "night")
    image(work, 4, 5)
    night = (work.top / "image").read_bytes()
    work.commit("night")
    work("switch", "-q", "main")
    image(work, 1)
    main = (work.top / "image").read_bytes()
    work.commit("main")
    work("merge", "night", code=11)
    assert (work.top / "image").read_bytes() == main
    assert (work.top / "image~night").read_bytes() == night
    work("merge", "--abort")
    work("merge", "--regions", "night")
    expected = main[: 4 * BLOCK] + night[4 * BLOCK :]
    assert (work.top / "image").read_bytes() == expected
    assert work.changes() == {}
    assert work("fsck", "--read-data").code == 0


def test_regions_that_meet_are_a_conflict(work: Work) -> None:
    image(work)
    work.commit("base")
    work("switch", "-q", "-c", "night")
    image(work, 1, 2)
    work.commit("night")
    work("switch", "-q", "main")
    image(work, 2)
    work.commit("main")
    work("merge", "--regions", "night", code=11)
    work("merge", "--theirs")
    work("merge", "--continue")
    assert work("diff", "--name-status", "night", "main").out == ""


def test_an_acl_and_the_mode_that_it_is_part_of(work: Work) -> None:
    """The kernel keeps both in one: of a new ACL here and a new mode there only one would live."""

    def acl(name: str, user: int) -> None:
        """user::rw-, user:USER:r--, group::r--, mask::r--, other::r--"""
        rows = ((1, 6, -1), (2, 4, user), (4, 4, -1), (16, 4, -1), (32, 4, -1))
        packed = b"".join(struct.pack("<HHi", *row) for row in rows)
        os.setxattr(work.top / name, "system.posix_acl_access", struct.pack("<I", 2) + packed)

    build(work.top, {"both": b"", "mine": b"", "theirs": b""})
    work.commit("base")
    work("switch", "-q", "-c", "night")
    (work.top / "both").chmod(0o600)
    (work.top / "theirs").chmod(0o600)
    work.commit("night")
    work("switch", "-q", "main")
    acl("both", 1)
    acl("mine", 1)
    work.commit("main")
    work("merge", "night", code=11)
    assert (work.top / "both~night").stat().st_mode & 0o777 == 0o600
    assert os.listxattr(work.top / "both") == os.listxattr(work.top / "mine") != []
    assert (work.top / "theirs").stat().st_mode & 0o777 == 0o600
    work("merge", "--theirs")
    assert os.listxattr(work.top / "both") == []
    work("merge", "--continue")
    assert fingerprint(work.top) == fingerprint(work.restored(work.home / "out"))


def test_hard_links_that_both_sides_touched(work: Work) -> None:
    work.write("a", "one file")
    (work.top / "b").hardlink_to(work.top / "a")
    work.commit("base")
    work("switch", "-q", "-c", "night")
    (work.top / "a").unlink()
    (work.top / "c").hardlink_to(work.top / "b")
    work.commit("night")
    work("switch", "-q", "main")
    (work.top / "z").hardlink_to(work.top / "b")
    work.commit("main")
    work("merge", "night")
    assert not (work.top / "a").exists()
    assert len({(work.top / name).stat().st_ino for name in "bcz"}) == 1
    assert work.changes() == {}
    assert work("commit", "-m", "x").lines == ["nothing to commit, work tree clean"]


def test_a_criss_cross(apart: Work) -> None:
    """Each side has merged the other one: there are two common ancestors."""
    apart("switch", "-q", "-c", "other", "night")
    apart("merge", "main")
    apart.write("theirs", "other again")
    apart.commit("other again")
    apart("switch", "-q", "main")
    apart("merge", "night")
    apart.write("mine", "main again")
    apart.commit("main again")
    apart("merge", "other")
    assert (apart.top / "theirs").read_text() == "other again"
    assert (apart.top / "mine").read_text() == "main again"
    assert apart.changes() == {}


def test_what_a_merge_refuses(split: Work) -> None:
    assert "which revision" in split("merge", code=2).err
    assert "unknown revision" in split("merge", "nowhere", code=1).err
    assert "exclude each other" in split("merge", "--ours", "--theirs", "night", code=2).err
    assert "stand alone" in split("merge", "--continue", "night", code=2).err
    assert "--force goes with --abort" in split("merge", "--force", "night", code=2).err
    assert "no merge is under way" in split("merge", "--abort", code=2).err
    short = commit_id(split, "HEAD")[:10]
    assert split("merge", "HEAD").lines == [f"Already up to date with '{short}'"]


def test_json(apart: Work) -> None:
    found = apart("merge", "--json", "night").json
    assert found["commit"] == commit_id(apart, "HEAD") and found["conflicts"] == []
    assert (found["label"], found["fast_forward"], found["deleted"]) == ("night", False, 1)
