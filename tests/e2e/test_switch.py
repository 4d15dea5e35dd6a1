"""switch: between branches in place, carrying along what is not committed, losing nothing."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
from live_trees import Work, build, fingerprint, written_bytes

BLOCK = 65536


@pytest.fixture
def split(work: Work) -> Work:
    """main and f differ: `both` in content, `mine` is on main only, `theirs/x` on f only; `same` is
    equal. HEAD is on main."""
    build(work.top, {"both": b"main", "mine": b"m", "same": b"s", "d/same": b"s"})
    work.commit("one")
    work("switch", "-q", "-c", "f")
    build(work.top, {"both": b"f", "theirs/x": b"t", "same": b"s", "d/same": b"s"})
    (work.top / "mine").unlink()
    work.commit("two")
    work("switch", "-q", "main")
    return work


def test_there_and_back_is_what_the_commits_hold(split: Work, tmp_path: Path) -> None:
    main = fingerprint(split.restored(tmp_path / "main", "--source", "main"))
    f = fingerprint(split.restored(tmp_path / "f", "--source", "f"))
    assert fingerprint(split.top) == main
    assert split("switch", "f").lines[0] == "Switched to branch 'f'"
    assert fingerprint(split.top) == f
    split("switch", "-")
    assert fingerprint(split.top) == main
    assert split("status").lines == ["On branch main", "nothing to commit, work tree clean"]
    assert split("switch", "main").lines == ["Already on 'main'"]
    split.write("one more", "file")
    split.commit()
    split("switch", "--detach", "HEAD~1")
    split("switch", "-")
    assert split("switch", "--detach", "HEAD~1").lines[1:] == [" 1 name deleted"]


def test_uncommitted_changes_elsewhere_are_carried_along(split: Work) -> None:
    split.write("same", "changed")
    split.write("new/file", "new")
    (split.top / "d" / "same").unlink()
    expected = {"same": "modified", "new/": "new", "d/same": "deleted"}
    assert split.changes() == expected
    split("switch", "f")
    assert split.changes() == expected
    split("switch", "main")
    assert split.changes() == expected


def test_changes_in_the_way_are_named_and_nothing_moves(split: Work) -> None:
    split.write("both", "uncommitted")
    split.write("theirs/x", "uncommitted, too")
    before = fingerprint(split.top)
    done = split("switch", "f", code=11)
    assert "would be lost: both, theirs/x" in done.err and "--force" in done.err
    assert fingerprint(split.top) == before
    assert split("switch", "--json", "f", code=11).error["error"] == "Conflict"
    assert split("status").lines[0] == "On branch main"
    split("switch", "--force", "f")
    assert split.changes() == {}
    assert (split.top / "both").read_text() == "f"


def test_a_new_file_that_is_what_the_target_has_is_no_conflict(split: Work) -> None:
    split.write("theirs/x", "t")
    split.write("both", "f")
    split("switch", "f")
    assert split.changes() == {}


def test_a_folder_goes_only_when_nothing_is_left_in_it(split: Work) -> None:
    split("switch", "f")
    split.write("theirs/note", "uncommitted")
    split("switch", "main")
    assert [path.name for path in (split.top / "theirs").iterdir()] == ["note"]


def test_a_folder_where_a_file_was_and_the_reverse(work: Work, tmp_path: Path) -> None:
    build(work.top, {"one": b"file", "two/deep/x": b"x", "three": b"3"})
    work.commit("one")
    work("switch", "-c", "f")
    for path in ("one", "two", "three"):
        subprocess.run(["rm", "-r", work.top / path], check=True)
    build(work.top, {"one/deep/x": b"x", "two": b"file"})
    (work.top / "three").symlink_to("two")
    work.commit("two")
    f = fingerprint(work.top)
    work("switch", "main")
    main = fingerprint(work.restored(tmp_path / "main"))
    assert fingerprint(work.top) == main
    work("switch", "f")
    assert fingerprint(work.top) == f
    work.write("one/deep/uncommitted", "u")
    assert "one/deep/uncommitted" in work("switch", "main", code=11).err
    work("switch", "--force", "main")
    assert fingerprint(work.top) == main


def test_ignored_files_are_never_deleted_nor_overwritten_in_silence(work: Work) -> None:
    build(work.top, {"d/x": b"x", "e": b"e"})
    work.commit("one")
    work("switch", "-c", "f")
    subprocess.run(["rm", "-r", work.top / "d"], check=True)
    build(work.top, {"d": b"a file", "k.log": b"committed", "e": b"e"})
    work.commit("two")
    work("switch", "main")
    work.write(".treeringignore", "*.log\n")
    work.write("k.log", "ignored")
    assert "k.log" in work("switch", "f", code=11).err
    work.write("d/k.log", "ignored")
    for force in ([], ["--force"]):
        assert "never deleted: d/k.log" in work("switch", *force, "f", code=11).err
    assert (work.top / "k.log").read_text() == "ignored"
    assert (work.top / "d" / "x").read_text() == "x"


def test_a_symlink_in_the_way_is_not_followed(split: Work, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (split.top / "theirs").symlink_to(outside)
    assert "theirs" in split("switch", "f", code=11).err
    split("switch", "--force", "f")
    assert list(outside.iterdir()) == []
    assert (split.top / "theirs" / "x").read_text() == "t"


def test_a_repository_of_its_own_in_the_way_stays(split: Work) -> None:
    nested = split.top / "theirs"
    nested.mkdir()
    split("init", "-q", cwd=nested)
    assert "never deleted: theirs" in split("switch", "--force", "f", code=11).err
    assert (nested / ".treering").is_dir()


def test_names_that_differ_in_letter_case_only(work: Work) -> None:
    work.write("Name", "1")
    work.commit("one")
    work("switch", "-c", "f")
    (work.top / "Name").rename(work.top / "name")
    work.commit("two")
    for branch, name in (("main", "Name"), ("f", "name")):
        work("switch", branch)
        assert [path.name for path in work.top.iterdir() if path.is_file()] == [name]


def test_hard_links_that_change(work: Work, tmp_path: Path) -> None:
    work.write("a", "linked")
    os.link(work.top / "a", work.top / "b")
    work.write("other", "o")
    work.commit("one")
    work("switch", "-c", "f")
    os.link(work.top / "a", work.top / "c")
    (work.top / "b").unlink()
    work.write("b", "alone")
    work.commit("two")
    f = fingerprint(work.top)
    work("switch", "main")
    assert fingerprint(work.top) == fingerprint(work.restored(tmp_path / "main"))
    work("switch", "f")
    assert fingerprint(work.top) == f


def test_a_new_hard_link_keeps_the_content_it_had(split: Work) -> None:
    """It shares the file of a name that differs: the switch must not write through it."""
    os.link(split.top / "both", split.top / "uncommitted")
    split("switch", "f")
    assert (split.top / "both").read_text() == "f"
    assert (split.top / "uncommitted").read_text() == "main"


def test_metadata_of_files_and_folders_move(work: Work) -> None:
    build(work.top, {"d/file": b"x"})
    work.commit("one")
    work("switch", "-c", "f")
    (work.top / "d").chmod(0o700)
    (work.top / "d" / "file").chmod(0o600)
    os.setxattr(work.top / "d", "user.a", b"1")
    work.commit("two")
    f = fingerprint(work.top)
    work("switch", "main")
    assert stat.S_IMODE((work.top / "d").stat().st_mode) == 0o755
    assert work.changes() == {}
    (work.top / "d").chmod(0o711)
    assert "would be lost: d/" in work("switch", "f", code=11).err
    (work.top / "d").chmod(0o755)
    work("switch", "f")
    assert fingerprint(work.top) == f


def test_only_differing_blocks_are_written_and_nothing_is_read_again(
    work: Work, tmp_path: Path
) -> None:
    disk = work.write("disk.img", os.urandom(100 * BLOCK), age=1000)
    for number in range(30):
        work.write(f"files/{number}", str(number), age=1000)
    work.commit("one")
    work("switch", "-c", "f")
    with disk.open("r+b") as file:
        for block in (3, 50, 99):
            file.seek(block * BLOCK)
            file.write(b"changed")
    work.write("files/7", "seven")
    work.commit("two")
    lines = work.traced("pwrite64,pwritev2,openat,pread64", "switch", "main", log=tmp_path / "log")
    assert written_bytes(lines, "disk.img") == 3 * BLOCK
    assert not [line for line in lines if '"8"' in line or "files/8>" in line]
    lines = work.traced("openat", "status", log=tmp_path / "log")
    assert not [line for line in lines if '"disk.img"' in line or '"7"' in line]


def test_a_store_through_a_mapping_is_not_overwritten(work: Work) -> None:
    """The state may not know of it: no time moves."""
    disk = work.write("disk.img", b"1" * 4 * BLOCK)
    work.commit("one")
    work("switch", "-c", "f")
    with disk.open("r+b") as file:
        file.write(b"2")
    work.commit("two")
    times = disk.stat()
    with disk.open("r+b") as file:
        file.write(b"stored late")
    os.utime(disk, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "would be lost: disk.img" in work("switch", "main", code=11).err


def test_detached_and_back_by_the_reflog(split: Work) -> None:
    assert "HEAD is now at" in split("switch", "--detach", "f").out
    first = split("status").lines[0]
    assert first.startswith("HEAD detached at ")
    split.write("more", "m")
    split.commit("on no branch")
    assert "HEAD)" in split("log", "--oneline", "-n", "1").out
    split("switch", "main")
    assert "HEAD is now at" in split("switch", "-").out
    assert (split.top / "more").exists()
    split("switch", "@{-2}")
    history = split.top / ".treering" / "history"
    reflog = subprocess.run(
        ["git", f"--git-dir={history}", "reflog", "show", "HEAD"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert "checkout: moving from main to f" in reflog


@pytest.mark.parametrize("what", ["v1", "HEAD~1", "f~1"])
def test_what_is_no_branch_needs_detach(split: Work, what: str) -> None:
    split("tag", "v1")
    split("switch", "-q", "f")
    done = split("switch", what, code=2)
    assert f"hint: treering switch --detach {what} " in done.err


def test_names_that_are_refused(split: Work) -> None:
    split("switch", "nowhere", code=1)
    split("switch", code=2)
    split("switch", "-c", "two..dots", code=2)
    split("switch", "-c", "f", code=11)
    split("switch", "-c", "x", "nowhere", code=1)
    split("switch", "-c", "x", "--detach", code=2)
    split("switch", "@{-x}", code=2)
    split("switch", "@{-9}", code=1)
    assert split("status").lines[0] == "On branch main"


def test_before_the_first_commit(work: Work) -> None:
    work.write("a", "a")
    work("switch", "-c", "other")
    assert work("status").lines[0] == "On branch other"
    work.commit("one")
    assert [item["name"] for item in work("branch", "--json").json] == ["other"]


def test_a_bare_repository_has_nothing_to_move(work: Work, tmp_path: Path) -> None:
    work("init", "-q", "--bare", str(tmp_path / "bare"))
    assert "no work tree" in work("switch", "main", code=2, cwd=tmp_path / "bare").err


def test_a_branch_that_one_remote_has_is_followed(split: Work, tmp_path: Path) -> None:
    split("clone", "-q", str(split.top), str(tmp_path / "copy"))
    copy = Work(split.home, tmp_path / "copy")
    done = copy("switch", "f")
    assert done.lines[0] == "Switched to a new branch 'f', which follows origin/f"
    assert "up to date with 'origin/f'" in copy("status").out
    copy("remote", "add", "second", str(split.top))
    copy("fetch", "second")
    copy("switch", "main")
    copy("branch", "-d", "--force", "f")
    done = copy("switch", "f", code=2)
    assert "several remotes" in done.err


def test_a_full_disk_leaves_it_pending(split: Work) -> None:
    wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(split.top / "both")]
    wrapper += ["-e", "trace=pwrite64,pwritev2", "-e", "inject=pwrite64,pwritev2:error=ENOSPC"]
    Work(split.home, split.top, wrapper)("switch", "f", code=1)
    assert "hint: " in split("commit", "-m", "no", code=11).err
    assert "was interrupted" in split("status").out
    assert "treering switch main" in split("restore", "--force", code=11).err
    assert split("switch", "-c", "elsewhere", code=11).err
    split("switch", "f")
    assert split.changes() == {}
    assert split("status").lines[0] == "On branch f"


def synced(work: Work, target: str) -> tuple[set[str], bool]:
    """Which paths of the tree a switch fsyncs, and whether it syncs the file system."""
    lines = work.traced("fsync,syncfs", "switch", target, log=work.home / "log")
    below = [re.search(rf"fsync\(\d+<{re.escape(str(work.top))}(/[^>]*)?>", line) for line in lines]
    paths = {(found[1] or "/")[1:] for found in below if found is not None}
    return {path for path in paths if not path.startswith(".treering")}, any(
        "syncfs(" in line for line in lines
    )


def test_few_changes_do_not_wait_for_what_others_write(work: Work) -> None:
    work.write("d/e/written", "1")
    work.write("d/gone", "1")
    work.write("same/same", "1")
    work.commit("one")
    work("switch", "-c", "next")
    work.write("d/e/written", "22")
    (work.top / "d" / "gone").unlink()
    work.write("new/made", "1")
    work.commit("two")
    assert synced(work, "main") == ({"", "d", "d/e", "d/e/written", "d/gone"}, False)
    assert synced(work, "next") == ({"", "d", "d/e", "d/e/written", "new", "new/made"}, False)
    for number in range(20):
        work.write(f"many/{number}")
    work.commit("many")
    assert synced(work, "main") == ({"", "d", "d/e", "d/e/written", "d/gone"}, False)
    assert synced(work, "next")[1]
    (work.top / "link").symlink_to("d")
    work.commit("what cannot be opened")
    work("switch", "--detach", "next~1")
    assert synced(work, "next")[1]


def test_a_switch_that_is_finished_later_syncs_what_was_written_before(work: Work) -> None:
    work.write("a", "1")
    work.write("b", "1")
    work.commit("one")
    work("switch", "-c", "next")
    work.write("a", "22")
    work.write("b", "22")
    work.commit("two")
    wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(work.top / "b")]
    wrapper += ["-e", "trace=fsync", "-e", "inject=fsync:error=EIO"]
    Work(work.home, work.top, wrapper)("switch", "main", code=1)
    assert (work.top / "a").read_text() == "1"
    assert synced(work, "main") == ({"", "a", "b"}, False)
