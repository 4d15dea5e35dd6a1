"""merge: two branches become one, and what is not committed is not lost."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path

from live_trees import Work, build, commit_id, fingerprint, parents

BLOCK = 65536


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
