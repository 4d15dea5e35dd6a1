"""What a commit leaves out: ignored paths, nested repositories, mount points."""

from __future__ import annotations

import subprocess

from live_trees import Work


def test_patterns(work: Work) -> None:
    work.write(
        ".treeringignore",
        "# a comment\n*.o\n/only-at-top\nfolders/\ndeep/**/x\n!keep.o\ntrailing\\ \n[ab]?\n",
    )
    for name in ("f.o", "sub/f.o", "keep.o", "sub/keep.o", "only-at-top", "sub/only-at-top"):
        work.write(name, name)
    for name in ("folders/in", "sub/folders/in", "folders.txt", "deep/1/2/x", "trailing ", "b1"):
        work.write(name, name)
    work.write("is-file/folders", "a file of that name")
    work.commit()
    files = {path for path, entry in work.ls().items() if entry["kind"] == "file"}
    assert files == {
        ".treeringignore",
        "keep.o",
        "sub/keep.o",
        "sub/only-at-top",
        "folders.txt",
        "is-file/folders",
    }
    assert work.changes() == {}


def test_nested_rules_win_over_higher_ones(work: Work) -> None:
    work.write(".treeringignore", "*.tmp\nclosed/\n")
    work.write("open/.treeringignore", "!*.tmp\nlocal\n")
    work.write("open/more/.treeringignore", "b.tmp\n")
    work.write("closed/.treeringignore", "!*\n")
    for name in ("a.tmp", "local", "open/a.tmp", "open/local", "open/more/a.tmp"):
        work.write(name, name)
    for name in ("open/more/b.tmp", "closed/a", "other/a.tmp"):
        work.write(name, name)
    work.commit()
    files = {path for path, entry in work.ls().items() if entry["kind"] == "file"}
    rules = {".treeringignore", "open/.treeringignore", "open/more/.treeringignore"}
    assert files == rules | {"local", "open/a.tmp", "open/more/a.tmp"}


def test_names_that_are_not_utf8(work: Work) -> None:
    (work.top / ".treeringignore").write_bytes(b"caf\xe9*\n")
    for name in (b"caf\xe9", b"caf\xe9.txt", b"caf\xea"):
        work.write(name.decode(errors="surrogateescape"), "x")
    work.commit()
    names = work("ls", "-z").raw.split(b"\0")
    assert names == [b".treeringignore", b"caf\xea", b""]


def test_a_path_that_becomes_ignored_leaves_the_next_commit(work: Work) -> None:
    work.write("log", "x")
    work.write("logs/1", "x")
    work.write("stays", "x")
    work.commit()
    work.write(".treeringignore", "log\nlogs/\n")
    assert work.changes() == {".treeringignore": "new", "log": "deleted", "logs": "deleted"}
    work.commit()
    assert set(work.ls()) == {".treeringignore", "stays"}
    assert (work.top / "logs" / "1").exists()
    (work.top / ".treeringignore").unlink()
    work.commit()
    assert set(work.ls()) == {"log", "logs", "logs/1", "stays"}


def test_a_pattern_without_sense_is_an_error(work: Work) -> None:
    work.write("d/.treeringignore", "!\n")
    done = work("commit", "-m", "m", code=(0, 2))
    assert done.code == 0 or "d/.treeringignore" in done.err


def test_a_nested_repository_is_left_out_and_said_once(work: Work) -> None:
    work.write("a", "x")
    work.write("sub/nested/file", "x")
    work("init", "-q", "sub/nested")
    done = work("commit", "-m", "m")
    assert done.err == "treering: sub/nested: left out: a repository of its own\n"
    assert set(work.ls()) == {"a", "sub"}
    assert work.commit("again")["committed"] is False
    assert work.changes() == {}
    inner = Work(work.home, work.top / "sub" / "nested")
    inner.commit()
    assert set(inner.ls()) == {"file"}
    work("restore", "--delete")
    assert (inner.top / "file").exists()


def test_a_mount_point_stays_an_empty_folder(work: Work) -> None:
    where = work.top / "mounted"
    where.mkdir()
    work.write("mounted/below", "hidden by the mount")
    subprocess.run(["mount", "-t", "tmpfs", "none", where], check=True)
    try:
        work.write("mounted/file", "on another file system")
        done = work("commit", "-m", "m")
        assert done.err == "treering: mounted: left empty: a mount point\n"
        assert set(work.ls()) == {"mounted"}
        assert work.commit("again")["committed"] is False
        work("fsck")
        (restored,) = work("restore", "--json", "--force", code=3).json["problems"]
        assert restored["path"] == "mounted"
        assert (where / "file").exists()
    finally:
        subprocess.run(["umount", where], check=True)
    work.commit("unmounted")
    assert set(work.ls()) == {"mounted", "mounted/below"}


def test_reserved_names_below_the_top(work: Work) -> None:
    work.write("d/.TREERING", "x")
    done = work("commit", "-m", "m", code=3)
    assert "d/.TREERING: left out: the name is reserved" in done.err
    assert set(work.ls()) == {"d"}


def test_a_folder_with_the_name_of_the_rules(work: Work) -> None:
    """It has none; what is in it is part of the tree, and moves with it."""
    work.write("d/.treeringignore/f", "f")
    work.write("d/a", "a")
    work.commit("first")
    work.write("d/.treeringignore/f", "changed")
    work.write("d/b", "b")
    work.commit("second")
    work("switch", "--detach", "HEAD~1")
    assert work.changes() == {}
    work("restore", "--source", "main", "--delete")
    assert (work.top / "d" / ".treeringignore" / "f").read_bytes() == b"changed"
