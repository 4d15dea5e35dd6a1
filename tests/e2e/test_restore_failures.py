"""A restore in place that fails at single files: what is half restored never enters history."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_trees import Work, begin_restore, build, fingerprint

BLOCK = 65536
BACK = ("restore", "--source", "HEAD~1", "--force")


@pytest.fixture
def two(work: Work) -> Work:
    """`big` differs in four of its five blocks, not in that in the middle, between two commits,
    `small` too, `d/gone` is deleted in the second."""
    build(work.top, {"big": big(b"1"), "small": b"1", "d/gone": b"gone"})
    work.commit("one")
    build(work.top, {"big": big(b"2"), "small": b"2"})
    (work.top / "d" / "gone").unlink()
    work.commit("two")
    return work


def big(left: bytes, right: bytes = b"") -> bytes:
    """Five blocks, two and two of which are of one byte each."""
    return left * 2 * BLOCK + b"=" * BLOCK + (right or left) * 2 * BLOCK


def every_other_block(content: bytes) -> Iterator[bytes]:
    """Other blocks, and between them those of `content`."""
    for offset in range(0, len(content), 2 * BLOCK):
        yield os.urandom(BLOCK)
        yield content[offset + BLOCK : offset + 2 * BLOCK]


def failing(work: Work, name: str, fault: str, call: str = "pwrite64,pwritev2") -> Work:
    """The same command, with a fault at one path."""
    log = work.home / "strace.log"
    wrapper = ["strace", "-f", "-qq", "-o", str(log), "-P", str(work.top / name)]
    wrapper += ["-e", f"trace={call}", "-e", f"inject={call}:{fault}"]
    return Work(work.home, work.top, wrapper)


def assert_refused(work: Work) -> str:
    head = work.root()
    done = work("commit", "-m", "must not be", code=11)
    work("commit", "-m", "must not be", "small", code=11)
    assert work.root() == head
    return done.err


def tear(work: Work) -> None:
    """Restore the first commit with a disk that is full after the second block of `big`: those side
    by side are written at once."""
    done = failing(work, "big", "error=ENOSPC:when=2+")(*BACK, code=3)
    assert "warning: big: cannot restore: No space left on device" in done.err
    assert "1 path half restored: commits are refused" in done.err
    assert (work.top / "big").read_bytes() == big(b"1", b"2")
    assert (work.top / "small").read_bytes() == b"1"


def test_a_file_written_in_part_keeps_commits_away(two: Work) -> None:
    tear(two)
    first = two("log", "--json", "HEAD~1").json[0]["commit"]
    finish = f"treering restore --force --source {first[:10]} big"
    lines = two("status").lines
    assert f"A restore of {first[:10]} failed at big." in lines
    assert f"  (finish it with: {finish})" in lines
    assert "  (or go back with: treering restore --force big)" in lines
    assert two("status", "--json").json["half_restored"] == [{"path": "big"}]
    assert finish in assert_refused(two)
    two(*finish.split()[1:])
    assert (two.top / "big").read_bytes() == big(b"1")
    assert two.commit("as it was")["root"] == two.root("HEAD~2")


@pytest.mark.parametrize("fault", ["EIO", "ENOSPC"])
def test_a_large_file_torn_by_several_workers(work: Work, fault: str) -> None:
    """Each writes a piece of its own, and each fails after some calls."""
    contents = [os.urandom(10 << 20)]
    contents.append(b"".join(every_other_block(contents[0])))
    path = work.write("big", contents[0])
    work.commit("one")
    path.write_bytes(contents[1])
    work.commit("two")
    done = failing(work, "big", f"error={fault}:when=3+")(*BACK, code=3)
    assert "warning: big: cannot restore: " in done.err
    assert "1 path half restored: commits are refused" in done.err
    assert path.read_bytes() not in contents
    assert "failed at big" in assert_refused(work)
    work("restore", "big")
    assert path.read_bytes() == contents[1]
    assert work.commit()["committed"] is False


def test_a_root_is_still_named_by_its_id(two: Work) -> None:
    root = two.root("HEAD~1")
    source = ("restore", "--source", f"root:{root[:8]}", "--force")
    failing(two, "big", "error=ENOSPC:when=2+")(*source, code=3)
    finish = f"treering restore --force --source root:{root[:10]} big"
    assert f"a restore of root:{root[:10]} failed at big" in assert_refused(two)
    assert finish in assert_refused(two)
    two(*finish.split()[1:])
    assert two.commit("as it was")["root"] == root


def test_the_same_restore_finishes_it(two: Work) -> None:
    tear(two)
    two("restore", "--source", "HEAD~1")
    assert two.commit("as it was")["root"] == two.root("HEAD~2")


def test_any_restore_of_the_file_undoes_it(two: Work) -> None:
    tear(two)
    two("restore", "small", code=11)
    two("restore", "big")
    assert two.changes() == {"small": "modified", "d/gone": "new"}
    two.commit("without the big one")


def test_failing_again_without_a_write_forgets_nothing(two: Work) -> None:
    tear(two)
    for fault in ("error=EIO:when=1+", "error=EPERM:when=1+"):
        failing(two, "big", fault)(*BACK, code=3)
        assert "failed at big" in assert_refused(two)
    two(*BACK)
    two.commit("done")


def test_a_file_that_is_as_it_was_is_only_warned_about(two: Work) -> None:
    done = failing(two, "big", "error=EIO:when=1+")(*BACK, code=3)
    assert "warning: big: cannot restore: Input/output error" in done.err
    assert "half restored" not in done.err
    assert two.changes() == {"small": "modified", "d/gone": "new"}
    two.commit("the rest")
    assert two("cat", "HEAD:big").raw == big(b"2")


def test_a_new_file_that_fails_does_not_stay(two: Work) -> None:
    (two.top / "big").unlink()
    done = failing(two, "big", "error=ENOSPC:when=1+")(*BACK, code=3)
    assert "warning: big: cannot restore" in done.err and "half restored" not in done.err
    assert not (two.top / "big").exists()
    assert two.changes() == {"big": "deleted", "small": "modified", "d/gone": "new"}


def test_a_file_that_failed_after_the_old_one_was_replaced(two: Work) -> None:
    """It had another name, so it was to become a file of its own: neither is there now."""
    os.link(two.top / "big", two.top / "d" / "other name")
    failing(two, "big", "error=EIO:when=1+")(*BACK, code=3)
    assert not (two.top / "big").exists()
    assert "failed at big" in assert_refused(two)
    two(*BACK)
    assert (two.top / "d" / "other name").read_bytes() == big(b"2")
    two.commit("done")


def test_metadata_that_fails_after_the_content(two: Work) -> None:
    """Content of one commit, mode of none: commits wait until it is right."""
    (two.top / "big").chmod(0o640)
    done = failing(two, "big", "error=EIO:when=1+", "fchmod")(*BACK, code=3)
    assert "warning: big: cannot restore: Input/output error" in done.err
    assert "failed at big" in assert_refused(two)
    two(*BACK)
    assert two.commit("as it was")["root"] == two.root("HEAD~2")


def test_metadata_that_may_not_be_set_is_only_warned_about(two: Work) -> None:
    (two.top / "big").chmod(0o640)
    done = failing(two, "big", "error=EPERM:when=1+", "fchmod")(*BACK, code=3)
    assert "warning: big: cannot restore the metadata of: Operation not permitted" in done.err
    assert "half restored" not in done.err
    two.commit("with another mode")
    assert two("cat", "HEAD:big").raw == big(b"1")


def test_names_of_a_file_that_failed_are_read_again(work: Work) -> None:
    path = work.write("a", b"1" * BLOCK)
    os.link(path, work.top / "b")
    work.commit("one")
    path.write_bytes(b"2" * BLOCK)
    work.commit("two")
    failing(work, "a", "error=EIO:when=1+")(*BACK, code=3)
    assert work.changes() == {}
    assert work.commit()["committed"] is False
    assert work("cat", "HEAD:b").raw == b"2" * BLOCK


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    subprocess.run(["chattr", "+i", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)


def test_what_may_not_be_deleted_does_not_end_the_restore(two: Work) -> None:
    stays = two.write("d/a stray")
    with immutable(stays):
        done = two(*BACK, "--delete", code=3)
        assert "warning: d/a stray: cannot delete: Operation not permitted" in done.err
        assert (two.top / "d" / "gone").exists()
        assert two.changes() == {
            "big": "modified",
            "small": "modified",
            "d/gone": "new",
            "d/a stray": "new",
        }
        two.commit("all the same")


def test_what_may_not_be_replaced_stays(two: Work) -> None:
    (two.top / "d" / "gone").symlink_to("elsewhere")
    handle = two.top / "small"
    handle.unlink()
    handle.mkdir()
    stays = two.write("small/inside", "x")
    before = fingerprint(handle)
    with immutable(stays):
        done = two(*BACK, code=3)
        assert "warning: small: cannot replace: Operation not permitted" in done.err
        assert fingerprint(handle)[b"inside"] == before[b"inside"]
        two.commit("with a folder")
    assert (two.top / "d" / "gone").read_bytes() == b"gone"


def test_an_interrupted_restore_is_not_held_up_by_what_may_not_be_written(two: Work) -> None:
    """Nobody knows what the killed one had written, but this file it could not write either."""
    first = two("log", "--json", "HEAD~1").json[0]["commit"]
    with immutable(two.top / "big"):
        begin_restore(two.top / ".treering", first)
        assert "interrupted" in assert_refused(two)
        two("restore", "--source", "HEAD~1", code=3)
        two.commit("goes on")
        assert two("cat", "HEAD:big").raw == big(b"2")


def test_an_interrupted_restore_that_fails_at_a_file_doubts_it(two: Work) -> None:
    first = two("log", "--json", "HEAD~1").json[0]["commit"]
    begin_restore(two.top / ".treering", first)
    failing(two, "big", "error=EIO:when=1+")(*BACK, code=3)
    assert "failed at big" in assert_refused(two)


@pytest.fixture
def small_disk(tmp_path: Path, work: Work) -> Iterator[Work]:
    """A work tree on a file system of 16 MiB, its repository elsewhere."""
    top = tmp_path / "mounted"
    top.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", top], check=True)
    try:
        made = Work(work.home, top)
        made("init", "-q", "--repo", str(tmp_path / "repository"))
        yield made
    finally:
        subprocess.run(["umount", "-l", top], check=True)


def test_a_full_disk(small_disk: Work) -> None:
    """A file of more than a piece, so that several workers write it."""
    work, content = small_disk, os.urandom(10 << 20)
    work.write(".treeringignore", "ballast")
    path = work.write("big", content)
    work.commit("one")
    with path.open("r+b") as file:
        file.truncate(0)
        file.truncate(len(content))
    work.commit("two")
    ballast = work.write("ballast", bytes(11 << 20))
    done = work(*BACK, code=3)
    assert "big: cannot restore: No space left on device" in done.err
    assert path.read_bytes() not in (content, bytes(len(content)))
    head = work.root()
    work("commit", "-m", "must not be", code=11)
    assert work.root() == head
    ballast.unlink()
    work("restore", "--source", "HEAD~1")
    assert path.read_bytes() == content
    assert work.commit()["root"] == work.root("HEAD~2")
