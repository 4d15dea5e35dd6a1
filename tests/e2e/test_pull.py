"""pull: the current branch and its work tree forwards to its upstream, in place, losing nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from live_trees import Work, build, fingerprint, written_bytes

BLOCK = 65536


@pytest.fixture
def theirs(work: Work) -> Work:
    """The remote: a work tree with one commit."""
    build(work.top, {"both": b"one", "gone": b"g", "same": b"s", "d/same": b"s"})
    work.commit("one")
    return work


@pytest.fixture
def mine(theirs: Work, tmp_path: Path) -> Work:
    """A clone of it."""
    theirs("clone", "-q", str(theirs.top), str(tmp_path / "mine"))
    return Work(theirs.home, tmp_path / "mine")


def move_on(theirs: Work) -> str:
    """The remote's second commit."""
    theirs.write("both", "two")
    theirs.write("new/x", "x")
    (theirs.top / "gone").unlink(missing_ok=True)
    return str(theirs.commit("two")["commit"])


def head(work: Work) -> str:
    return str(work("log", "--json", "-n", "1").json[0]["commit"])


def reflog(work: Work) -> str:
    history = work.top / ".treering" / "history"
    command = ["git", f"--git-dir={history}", "reflog", "show", "main"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def test_forwards_to_what_the_remote_has(theirs: Work, mine: Work) -> None:
    old, new = head(mine), move_on(theirs)
    done = mine("pull")
    assert done.lines[0].startswith("Fetched 1 commit from origin: ")
    assert f"Fast-forward of 'main': {old[:10]}..{new[:10]} two" in done.lines
    assert done.lines[-1] == " 2 files, 4 B written, 1 name deleted"
    assert fingerprint(mine.top) == fingerprint(theirs.top)
    assert mine.changes() == {} and head(mine) == new
    assert "pull: fast-forward" in reflog(mine)
    assert mine("pull").out == "Your branch is up to date with 'origin/main'.\n"
    assert mine("pull", "-q").out == ""


def test_what_was_fetched_before_is_pulled(theirs: Work, mine: Work) -> None:
    new = move_on(theirs)
    mine("fetch", "-q")
    assert mine("pull").lines[0].startswith("Fast-forward ")
    assert head(mine) == new


def test_only_differing_blocks_are_written(theirs: Work, tmp_path: Path) -> None:
    disk = theirs.write("disk.img", os.urandom(100 * BLOCK), age=1000)
    theirs.commit("a disk")
    theirs("clone", "-q", str(theirs.top), str(tmp_path / "mine"))
    mine = Work(theirs.home, tmp_path / "mine")
    with disk.open("r+b") as file:
        for block in (3, 50, 99):
            file.seek(block * BLOCK)
            file.write(b"changed")
    theirs.commit("changed")
    lines = mine.traced("pwrite64,pwritev2", "pull", log=tmp_path / "log")
    assert written_bytes(lines, "disk.img") == 3 * BLOCK
    assert (mine.top / "disk.img").read_bytes() == disk.read_bytes()


def test_uncommitted_changes_elsewhere_are_carried_along(theirs: Work, mine: Work) -> None:
    move_on(theirs)
    mine.write("same", "changed")
    mine.write("new/mine", "mine")
    (mine.top / "d" / "same").unlink()
    mine("pull")
    assert mine.changes() == {"same": "modified", "new/mine": "new", "d/same": "deleted"}
    assert (mine.top / "both").read_text() == "two"
    assert (mine.top / "same").read_text() == "changed"


def test_changes_in_the_way_are_named_and_nothing_moves(theirs: Work, mine: Work) -> None:
    old = head(mine)
    move_on(theirs)
    mine.write("both", "uncommitted")
    mine.write("new/x", "uncommitted, too")
    before = fingerprint(mine.top)
    done = mine("pull", code=11)
    assert "would be lost: both, new/x" in done.err and "move them away" in done.err
    assert "--force" not in done.err
    assert fingerprint(mine.top) == before and head(mine) == old
    mine("restore", "both")
    (mine.top / "new" / "x").unlink()
    mine("pull")
    assert mine.changes() == {}


def test_ahead_is_said(mine: Work) -> None:
    mine.write("more", "m")
    mine.commit("mine")
    old = head(mine)
    assert mine("pull").out == "Your branch is ahead of 'origin/main' by 1 commit.\n"
    assert head(mine) == old


def test_diverged_is_refused_and_the_hint_works(theirs: Work, mine: Work) -> None:
    move_on(theirs)
    for name in ("m", "n"):
        mine.write(name, name)
        mine.commit(name)
    old, before = head(mine), fingerprint(mine.top)
    done = mine("pull", code=11)
    line, hint = done.err.splitlines()
    assert line.endswith("have diverged: 2 commits here, 1 commit there")
    assert head(mine) == old and fingerprint(mine.top) == before
    command = hint.rpartition("treering ")[2].replace("NAME", "look")
    mine(*command.split())
    assert (mine.top / "both").read_text() == "two"
    assert mine("pull", "--json", "origin", "main").json["old"] == head(mine)


def test_one_document(theirs: Work, mine: Work) -> None:
    old, new = head(mine), move_on(theirs)
    found = mine("pull", "--json", "--jobs", "1").json
    assert (found["old"], found["new"], found["ahead"]) == (old, new, 0)
    assert (found["files"], found["bytes"], found["deleted"]) == (2, 4, 1)
    assert found["fetched"]["commits"] == 1 and found["upstream"] == "refs/remotes/origin/main"
    assert found["resumed"] is None and found["problem_count"] == 0
    assert mine("pull", "--json").json["files"] == 0


def test_before_the_first_commit(theirs: Work, tmp_path: Path) -> None:
    (tmp_path / "fresh").mkdir()
    fresh = Work(theirs.home, tmp_path / "fresh")
    fresh("init", "-q")
    assert "treering remote add" in fresh("pull", code=1).err
    fresh("remote", "add", "elsewhere", str(theirs.top))
    fresh.write("both", "uncommitted")
    fresh.write("own", "mine")
    fresh.write("d/same", "s")
    before = fingerprint(fresh.top)
    assert "would be lost: both\n" in fresh("pull", code=11).err
    assert fingerprint(fresh.top) == before
    (fresh.top / "both").unlink()
    assert "Fast-forward of 'main': " in fresh("pull").out
    assert fresh.changes() == {"own": "new"}
    assert head(fresh) == head(theirs)


def test_which_branch(theirs: Work, mine: Work) -> None:
    theirs("branch", "other")
    theirs("switch", "-q", "other")
    new = move_on(theirs)
    assert mine("pull", "--json").json["new"] == head(mine)
    assert mine("pull", "--json", "origin", "other").json["new"] == new
    mine("switch", "-q", "-c", "own", "HEAD~1")
    err = mine("pull", code=1).err
    assert "there is no branch 'own' on origin" in err and "hint: it has: main, other" in err
    mine("config", "branch.own.remote", "origin")
    mine("config", "branch.own.merge", "refs/heads/other")
    mine("pull")
    assert head(mine) == new
    assert "no remote 'nowhere'" in mine("pull", "nowhere", code=1).err
    assert "'nothing' on origin" in mine("pull", "origin", "nothing", code=1).err


def test_a_branch_that_is_gone_there_is_not_up_to_date(theirs: Work, mine: Work) -> None:
    theirs("switch", "-q", "-c", "other")
    theirs("branch", "-d", "main")
    assert "there is no branch 'main' on origin" in mine("pull", code=1).err


def test_only_the_branch_that_is_named_is_fetched(theirs: Work, mine: Work) -> None:
    theirs("branch", "other")
    theirs("tag", "v1")
    new = move_on(theirs)
    moved = mine("pull", "--json", "origin", "main").json["fetched"]["moved"]
    assert [(move["name"], move["new"]) for move in moved] == [("refs/remotes/origin/main", new)]
    assert len(mine("pull", "--json").json["fetched"]["moved"]) == 2


def test_nothing_to_bring_forwards(theirs: Work, mine: Work, tmp_path: Path) -> None:
    move_on(theirs)
    mine("switch", "-q", "--detach", "HEAD")
    assert "hint: go to one with: treering switch BRANCH" in mine("pull", code=2).err
    mine("clone", "-q", "--bare", str(theirs.top), str(tmp_path / "bare"))
    assert "treering fetch" in mine("pull", code=2, cwd=tmp_path / "bare").err


def test_a_pending_switch_or_restore_comes_first(theirs: Work, mine: Work) -> None:
    mine("switch", "-q", "-c", "f")
    mine.write("both", "f")
    mine.commit("f")
    mine("switch", "-q", "main")
    new = move_on(theirs)
    fail_at(mine, "both", "switch", "f")
    assert "treering switch f" in mine("pull", code=11).err
    mine("switch", "main")
    mine.write("both", "changed")
    fail_at(mine, "both", "restore", "both")
    assert "treering restore" in mine("pull", code=11).err
    mine("restore", "--force", "both")
    mine("pull")
    assert head(mine) == new and mine.changes() == {}


def test_a_full_disk_leaves_it_pending(theirs: Work, mine: Work) -> None:
    old, first = head(mine), move_on(theirs)
    before = fingerprint(mine.top)
    fail_at(mine, "both", "pull")
    assert head(mine) == old
    assert "finish it with: treering pull origin main" in mine("commit", "-m", "x", code=11).err
    lines = mine("status").lines
    assert "  (finish it with: treering pull origin main)" in lines
    assert "  (or go back with: treering switch main)" in lines
    assert not any("bring it forwards" in line for line in lines)
    assert "go back with: treering switch main" in mine("pull", "origin", "other", code=11).err
    mine("switch", "main")
    assert fingerprint(mine.top) == before
    fail_at(mine, "both", "pull")
    theirs.write("both", "three")
    second = theirs.commit("three")["commit"]
    found = mine("pull", "--json").json
    assert (found["old"], found["resumed"]["commit"], found["new"]) == (old, first, second)
    assert fingerprint(mine.top) == fingerprint(theirs.top)
    assert mine.changes() == {}


def test_what_is_pending_is_finished_without_the_remote(theirs: Work, mine: Work) -> None:
    new = move_on(theirs)
    fail_at(mine, "both", "pull")
    theirs.top.rename(theirs.top.with_name("away"))
    assert f"finished the pull to {new[:10]}" in mine("pull", code=10).err
    assert head(mine) == new and mine.changes() == {}


def test_status_says_when_to_pull(theirs: Work, mine: Work) -> None:
    hint = "  (bring it forwards with: treering pull)"
    assert hint not in mine("status").lines
    move_on(theirs)
    mine("fetch")
    lines = mine("status").lines
    assert lines[1:3] == ["Your branch is behind 'origin/main' by 1 commit.", hint]
    mine.write("own", "mine")
    mine.commit("own")
    lines = mine("status").lines
    assert lines[1].startswith("Your branch and 'origin/main' have diverged")
    assert lines[2] == "  (merge the two with: treering pull --merge)"
    mine("pull", code=11)
    mine("pull", "--merge")


def fail_at(work: Work, path: str, *arguments: str) -> None:
    """Run a command on a disk that is full for this file; it fails."""
    wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(work.top / path)]
    wrapper += ["-e", "trace=pwrite64,pwritev2", "-e", "inject=pwrite64,pwritev2:error=ENOSPC"]
    Work(work.home, work.top, wrapper)(*arguments, code=(1, 3))
