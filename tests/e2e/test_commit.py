"""Commit: what enters a snapshot, what does not, and what is said."""

from __future__ import annotations

import fcntl
import mmap
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from live_trees import (
    SECOND,
    NobodyWork,
    Work,
    build,
    fingerprint,
    finished,
    meanwhile,
    settle,
    touch,
)

MIB = 1 << 20


def test_the_first_commit_says_what_it_did(work: Work) -> None:
    work.write("a", "1")
    work.write("d/b", os.urandom(200_000))
    lines = work("commit", "-m", "first", "-m", "and more").lines
    assert lines[0].startswith("[main ") and lines[0].endswith("] first")
    assert lines[1].startswith(" 2 files, 2 regions, 195.3 KiB changed, ")
    (commit,) = work("log", "--json").json
    assert commit["message"] == "first\n\nand more\n"
    assert commit["author"]["email"] == "test@example.org"
    assert commit["change"]["files"] == 2
    assert commit["change"]["size"] == 200_001


def test_nothing_to_commit(work: Work) -> None:
    assert work("commit", "-m", "empty").out == "nothing to commit, work tree clean\n"
    work.write("a", "1")
    first = work.commit()
    for _ in range(2):
        assert work("commit", "-m", "again").out == "nothing to commit, work tree clean\n"
    made = work.commit("on purpose", "--allow-empty")
    assert made["root"] == first["root"]
    assert made["parents"] == [first["commit"]]
    assert made["change"]["files"] == 0


def test_author_and_identity(work: Work) -> None:
    work.write("a", "1")
    made = work.commit("m", "--author", "Ada L <ada@example.org>")
    assert made["author"]["name"] == "Ada L"
    assert made["committer"]["name"] == "Test Er"
    assert "Name <email>" in work("commit", "--author", "Ada", code=2).err
    (work.home / ".gitconfig").unlink()
    hints = work("commit", "--allow-empty", "-m", "who").err
    assert "no identity is set" in hints and "hint: " in hints
    assert work("commit", "--allow-empty", "-m", "again").err == ""


# -- parts of the tree -----------------------------------------------------------------------------


@pytest.fixture
def parts(work: Work) -> Work:
    build(work.top, {"a": b"a1", "d/b": b"b1", "d/e/c": b"c1", "d/gone": b"g", "z": b"z1"})
    work.commit("one")
    for name in ("a", "d/b", "d/e/c", "z"):
        work.write(name, name + " changed")
    (work.top / "d" / "gone").unlink()
    work.write("new", "n")
    work.write("d/new", "n")
    return work


def cat(work: Work, path: str) -> str:
    return work("cat", f"HEAD:{path}").out


def test_commit_of_one_path(parts: Work) -> None:
    before = parts.ls()
    made = parts.commit("two", "d/b")
    assert made["change"]["files"] == 1
    assert cat(parts, "d/b") == "d/b changed"
    after = parts.ls()
    assert set(after) == set(before)
    for path, entry in before.items():
        if path not in ("d", "d/b"):
            assert after[path] == entry
    assert set(parts.changes()) == {"a", "d/e/c", "d/gone", "d/new", "new", "z"}
    assert parts.commit("again", "d/b")["committed"] is False


def test_commit_of_a_folder_a_new_and_a_deleted_path(parts: Work) -> None:
    parts.commit("the deleted one", "d/gone")
    assert "d/gone" not in parts.ls()
    assert cat(parts, "d/b") == "b1"
    parts.commit("new", "new", "d/e")
    assert (cat(parts, "new"), cat(parts, "d/e/c")) == ("n", "d/e/c changed")
    assert set(parts.changes()) == {"a", "d/b", "d/new", "z"}
    parts("commit", "-m", "here", ".", cwd=parts.top / "d")
    assert set(parts.changes()) == {"a", "z"}
    parts.commit("the rest")
    assert parts.changes() == {}


def test_commit_of_a_path_that_never_was(parts: Work, tmp_path: Path) -> None:
    done = parts("commit", "-m", "m", "nowhere", code=1)
    assert done.err.startswith("treering: nowhere: ")
    assert "outside of the work tree" in parts("commit", "../elsewhere", code=2).err
    assert "not versioned" in parts("commit", ".treering/config", code=2).err


def test_commit_of_a_path_keeps_hard_links_to_names_elsewhere(work: Work) -> None:
    build(work.top, {"d1/a": b"linked", "d1/x": b"1", "d2/y": b"2"})
    os.link(work.top / "d1" / "a", work.top / "d2" / "b")
    settle(work.top)
    root = work.commit("one")["root"]
    assert work.commit("nothing", "d1", code=0)["committed"] is False
    work.write("d1/x", "changed")
    assert work.commit("two", "d1")["change"]["files"] == 1
    assert work.commit("nothing")["committed"] is False
    build(work.top, {"d1/x": b"1"})
    assert work.commit("back")["root"] == root


def test_commit_of_a_path_below_a_deleted_folder(work: Work) -> None:
    build(work.top, {"d/x": b"1", "d/y": b"2"})
    work.commit("one")
    shutil.rmtree(work.top / "d")
    work.commit("two", "d")
    assert work.ls() == {}


# -- the same content is the same root -------------------------------------------------------------


def test_same_content_same_root(work: Work, tmp_path: Path) -> None:
    files = {f"f{number % 7}/{number}": b"%d" % (number % 11) for number in range(200)}
    build(work.top, files)
    os.link(work.top / "f1" / "1", work.top / "f2" / "linked")
    settle(work.top)
    root = work.commit("at once")["root"]
    other = Work(work.home, tmp_path / "other")
    other.top.mkdir()
    other("init", "-q")
    backwards = dict(reversed(files.items()))
    half = dict(list(backwards.items())[:90])
    build(other.top, {**half, "f3/extra": b"x", "extra/y": b"y"}, 1)
    os.link(other.top / "f3" / "extra", other.top / "f3" / "extra too")
    other.commit("some of it")
    other("commit", "-m", "a part", "--allow-empty", "f4", "f5")
    shutil.rmtree(other.top / "extra")
    build(other.top, backwards, 2)
    other.commit("all, but with other times")
    for name in ("extra", "extra too"):
        (other.top / "f3" / name).unlink()
    (other.top / "f1" / "1").rename(other.top / "f2" / "linked")
    os.link(other.top / "f2" / "linked", other.top / "f1" / "1")
    settle(other.top)
    assert other.commit("equal in the end")["root"] == root
    shutil.rmtree(other.top / ".treering")
    other("init", "-q")
    settle(other.top)
    assert other.commit("and from scratch")["root"] == root


def test_a_renamed_folder_is_not_read(work: Work, tmp_path: Path) -> None:
    work.write("old name/big", os.urandom(8 * MIB), age=1000)
    work.write("old name/sub/other", os.urandom(MIB), age=1000)
    settle(work.top)
    work.commit()
    shutil.rmtree(work.top / "old name")
    work("restore", "old name")  # what restore wrote itself is never in doubt
    (work.top / "old name").rename(work.top / "new name")
    lines = work.traced("openat,open", "commit", "-q", "-m", "renamed", log=tmp_path / "log")
    opened = [line for line in lines if '"big"' in line or '"other"' in line]
    assert opened == []
    assert set(work.ls()) == {f"new name{rest}" for rest in ("", "/big", "/sub", "/sub/other")}
    assert work("log", "--json", "-n", "1").json[0]["change"]["stored"] < 4096
    work.write("new name/big", "control")
    lines = work.traced("openat,open", "commit", "-q", "-m", "x", log=tmp_path / "log")
    assert [line for line in lines if '"big"' in line]


# -- changes that hide -----------------------------------------------------------------------------


def test_a_change_right_after_a_commit_with_its_mtime_put_back(work: Work) -> None:
    path = work.write("file", "one")
    info = path.stat()
    work.commit()
    path.write_text("two")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert path.stat().st_size == info.st_size
    assert work.changes() == {"file": "modified"}
    work.commit()
    assert cat(work, "file") == "two"


def test_stores_through_a_mapping_that_stays_open(work: Work) -> None:
    """The second store moves no time stamp: its page is writable already. Where somebody syncs the
    disk meanwhile it is not any more; the store is found all the same, and another file tried."""
    for number in range(50):
        path = work.write(f"mapped {number}", bytes(64 * 4096))
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            mapped[4096:4101] = b"first"
            work.commit()
            before = path.stat()
            mapped[4096:4102] = b"second"
            unmoved = path.stat().st_mtime_ns == before.st_mtime_ns
            work.commit()
        assert work("cat", f"HEAD:mapped {number}").raw[4096:4102] == b"second"
        assert work("cat", f"HEAD~1:mapped {number}").raw[4096:4102] == b"first\0"
        if unmoved:
            return
    pytest.fail("all stores moved a time stamp: no test of anything")


# -- a tree that moves -----------------------------------------------------------------------------


def test_a_file_that_keeps_changing(work: Work, tmp_path: Path) -> None:
    work.write("calm", "calm")
    path = work.write("busy", os.urandom(48 * MIB))
    with path.open("r+b", buffering=0) as file:
        number = 0

        def scribble() -> None:
            nonlocal number
            number += 1
            os.pwrite(file.fileno(), b"%020d" % number, number % 40 * MIB)

        with meanwhile(scribble):
            done = work("commit", "-m", "moving", code=3)
    assert "warning: busy: changed while it was read" in done.err
    target = work.restored(tmp_path / "out")
    assert (target / "calm").read_text() == "calm"
    assert (target / "busy").stat().st_size == 48 * MIB
    work("fsck", "--read-data")
    made = work.commit("still")
    assert made["problem_count"] == 0
    assert fingerprint(work.restored(tmp_path / "still")) == fingerprint(work.top)


def test_a_tree_that_comes_and_goes(work: Work, tmp_path: Path) -> None:
    build(work.top, {f"calm/{number}": b"%d" % number for number in range(100)})
    where = work.top / "busy"
    where.mkdir()
    number = 0

    def churn() -> None:
        nonlocal number
        number += 1
        path = where / f"{number % 37}"
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        kind = number // 37 % 4
        if kind == 0:
            path.write_bytes(bytes([number % 256]) * (number % 100_000))
        elif kind == 1:
            path.mkdir()
            (path / "in").write_text("in")
        elif kind == 2:
            path.symlink_to("elsewhere")
        else:
            os.mkfifo(path)
            path.unlink()

    with meanwhile(churn):
        for turn in range(6):
            work("commit", "-m", f"turn {turn}", code=(0, 3))
            work("status", code=(0, 3))
    work("fsck", "--read-data")
    assert len([path for path in work.ls() if path.startswith("calm/")]) == 100
    work.commit("calm again")
    assert fingerprint(work.restored(tmp_path / "out")) == fingerprint(work.top)


# -- an ordinary user ------------------------------------------------------------------------------


def test_unreadable_files_of_an_ordinary_user(nobody: NobodyWork) -> None:
    for name in ("kept", "fine", "folder/in"):
        nobody.write(name, "one")
    subprocess.run(["chown", "-R", "nobody:nogroup", nobody.top], check=True)
    nobody.commit("one")
    for name in ("kept", "fine"):
        (nobody.top / name).write_text("two")
    nobody.write("new", "unreadable from the start")
    for name in ("kept", "new", "folder"):
        os.chown(nobody.top / name, 0, 0)
        (nobody.top / name).chmod(0o600)
    done = nobody("commit", "-m", "two", code=3)
    for name in ("kept", "new", "folder"):
        assert f"treering: warning: {name}: cannot read" in done.err
    assert "Permission denied" in done.err
    assert set(nobody.ls()) == {"kept", "fine", "folder", "folder/in"}
    assert (cat(nobody, "kept"), cat(nobody, "fine")) == ("one", "two")
    assert nobody.commit("nothing new", code=3)["problem_count"] == 3
    (nobody.top / "kept").chmod(0o644)
    (nobody.top / "new").chmod(0o644)
    (nobody.top / "folder").chmod(0o755)
    nobody.commit("three")
    assert (cat(nobody, "kept"), cat(nobody, "new")) == ("two", "unreadable from the start")


# -- interrupted, and at once ----------------------------------------------------------------------


def test_an_interrupted_commit(work: Work) -> None:
    work.write("small", "x")
    first = work.commit("first")
    total = 320 * MIB
    for number in range(5):
        work.write(f"big {number}", os.urandom(total // 5))
    # A run in the background has SIGINT ignored, which children inherit.
    heeding = Work(work.home, work.top, ["env", "--default-signal=INT"])
    process = heeding.start("commit", "-m", "long")
    repository = work.top / ".treering"

    def stored() -> int:
        folders = (repository / "tmp", repository / "packs")
        return sum(path.stat().st_size for folder in folders for path in folder.iterdir())

    # Early, and held still: all of it takes half a second, and this process may have to wait.
    while stored() < 16 * MIB:
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    done = finished(process, 130)
    assert done.err.endswith("treering: interrupted\n")
    assert [commit["commit"] for commit in work("log", "--json").json] == [first["commit"]]
    made = work.commit("once more")
    assert made["change"]["size"] == total
    assert made["change"]["stored"] < total - 8 * MIB
    work("fsck", "--read-data")


def test_a_second_commit_waits_then_gives_up(work: Work) -> None:
    work.write("a", "1")
    with (work.top / ".treering" / "tmp" / "commit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = work("commit", "-m", "m", "--wait", "1.5", code=11)
        assert "waiting: a commit is running in another process" in done.err
        assert "hint: " in done.err
        assert work("commit", "--json", "--wait", "0", code=11).error["error"] == "LockHeld"
    # The lock is the process's, not the file's: what is left of it is in nobody's way.
    work.commit()


def test_clock_that_jumps_back(work: Work) -> None:
    future = time.time_ns() + 10**6 * SECOND
    path = work.write("from the future", "one")
    touch(path, future)
    work.commit()
    path.write_text("two")
    touch(path, future)
    work.commit()
    assert cat(work, "from the future") == "two"
