"""Restore over what is there: only what differs is written, and only into the tree."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from live_trees import NobodyWork, Work, build, fingerprint, written_bytes

MIB = 1 << 20


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "in").write_text("in")


def test_kinds_change_between_commits(work: Work, tmp_path: Path) -> None:
    """Each kind of thing becomes each other one, and back."""
    makers: dict[str, Callable[[Path], object]] = {
        "file": lambda path: path.write_text("file"),
        "folder": make_folder,
        "symlink": lambda path: path.symlink_to("target"),
        "fifo": os.mkfifo,
        "device": lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 7)),
    }
    for old, make in makers.items():
        for new in makers:
            make(work.top / f"{old} to {new}")
    work.commit("old")
    for old in makers:
        for new, make in makers.items():
            subprocess.run(["rm", "-rf", work.top / f"{old} to {new}"], check=True)
            make(work.top / f"{old} to {new}")
    second = fingerprint(work.top)
    work.commit("new")
    first = fingerprint(work.restored(tmp_path / "first", "--source", "HEAD~1"))
    assert first != second
    work("restore", "--source", "HEAD~1", "--delete")
    assert fingerprint(work.top) == first
    work("restore", "--delete", "--force")
    assert fingerprint(work.top) == second


@pytest.mark.parametrize("known", [True, False])
def test_only_differing_blocks_are_written(work: Work, tmp_path: Path, known: bool) -> None:
    content = os.urandom(64 * MIB)
    disk = work.write("disk.img", content, age=1000)
    work.commit("one")
    with disk.open("r+b") as file:
        for offset in (0, 10 * MIB + 7, 64 * MIB - 1):
            file.seek(offset)
            file.write(bytes([content[offset] ^ 1]))
    if known:
        work.commit("two")
    inode = disk.stat().st_ino
    lines = work.traced(
        "pwrite64,pwritev,pwritev2,write",
        *("restore", "--force", "--source", "HEAD~1" if known else "HEAD"),
        log=tmp_path / "log",
    )
    assert written_bytes(lines, "disk.img") == 3 * 65536
    assert disk.read_bytes() == content
    assert disk.stat().st_ino == inode


def test_files_grow_and_shrink_in_place(work: Work, tmp_path: Path) -> None:
    sizes = (0, 1, 65535, 65536, 65537, 4 * MIB + 65537)
    for old in sizes:
        for new in sizes:
            work.write(f"{old}-{new}", os.urandom(old))
    first = fingerprint(work.top)
    work.commit("one")
    for old in sizes:
        for new in sizes:
            with (work.top / f"{old}-{new}").open("r+b") as file:
                file.truncate(new)
                if new > 3:
                    file.seek(new // 2)
                    file.write(b"x")
    second = fingerprint(work.top)
    work.commit("two")
    work("restore", "--source", "HEAD~1")
    assert fingerprint(work.top) == first
    work("restore", "--force")
    assert fingerprint(work.top) == second


def tie(work: Work, pairs: list[tuple[str, str]], length: int) -> None:
    """Files with two names of one letter each."""
    for one, other in pairs:
        work.write(one, one * length)
        os.link(work.top / one, work.top / other)


def test_hard_links_that_were_tied_otherwise(work: Work, tmp_path: Path) -> None:
    """a=b and c=d in the first commit, a=c and b=d in the second, b, c=x in the third."""
    top = work.top
    tie(work, [("a", "b"), ("c", "d")], 100)
    work.commit("first")
    for name in "abcd":
        (top / name).unlink()
    tie(work, [("a", "c"), ("b", "d")], 50)
    work.commit("second")
    for name in "acd":
        (top / name).unlink()
    work.write("a", "alone")
    work.write("c", "cx")
    os.link(top / "c", top / "x")
    work.commit("third")
    commits = ["HEAD~2", "HEAD~1", "HEAD"]
    wanted = {rev: fingerprint(work.restored(tmp_path / rev, "--source", rev)) for rev in commits}
    assert len({wanted[rev][b"b"].same_as + wanted[rev][b"c"].same_as for rev in commits}) == 3
    for rev in ("HEAD~2", "HEAD~1", "HEAD~2", "HEAD", "HEAD~1"):
        work("restore", "--delete", "--force", "--source", rev)
        assert fingerprint(top) == wanted[rev], rev
        assert work("restore", "--dry-run", "--delete", "--force", "--source", rev).out == ""


def test_a_name_outside_of_the_tree_is_not_written_through(work: Work, tmp_path: Path) -> None:
    work.write("a", "one")
    work.commit()
    work.write("a", "two")
    os.link(work.top / "a", tmp_path / "outside")
    work.commit()
    work("restore", "--source", "HEAD~1")
    assert (work.top / "a").read_text() == "one"
    assert (tmp_path / "outside").read_text() == "two"


def test_read_only_files_and_folders_of_an_ordinary_user(nobody: NobodyWork) -> None:
    build(nobody.top, {"locked/file": b"one", "file": b"one", "gone/deep/er": b"x"})
    subprocess.run(["chown", "-R", "nobody:nogroup", nobody.top], check=True)
    for name in ("locked/file", "file", "gone/deep/er"):
        (nobody.top / name).chmod(0o444)
    nobody.commit("one")
    first = fingerprint(nobody.top)
    for name in ("locked/file", "file"):
        (nobody.top / name).write_text("two, and longer")
    (nobody.top / "locked").chmod(0o555)
    shutil.rmtree(nobody.top / "gone")
    nobody.commit("two")
    second = fingerprint(nobody.top)
    nobody("restore", "--source", "HEAD~1")
    assert fingerprint(nobody.top) == first
    for name in ("gone", "gone/deep"):
        (nobody.top / name).chmod(0o555)
    nobody("restore", "--delete", "--force")
    assert fingerprint(nobody.top) == second


def test_a_running_program_is_replaced(work: Work) -> None:
    program = work.top / "program"
    shutil.copy("/bin/sleep", program)
    work.commit("one")
    with program.open("ab") as file:
        file.write(b"more")
    work.commit("two")
    running = subprocess.Popen([program, "100"])
    try:
        work("restore", "--source", "HEAD~1")
        assert program.read_bytes() == Path("/bin/sleep").read_bytes()
    finally:
        running.kill()
        running.wait()


@pytest.mark.parametrize("blocks", [8, 200])
def test_zeros_come_back_over_what_was_written_there(work: Work, blocks: int) -> None:
    """As holes: the old bytes are gone, and so is their room."""
    path = work.write("disk", bytes(blocks * 65536))
    with path.open("r+b") as file:
        file.write(b"first")
    work.commit("zeros")
    zeros = path.read_bytes()
    path.write_bytes(b"x" * len(zeros))
    work.commit("full")
    work("restore", "--source", "HEAD~1")
    assert path.read_bytes() == zeros
    assert path.stat().st_blocks * 512 <= 2 * 65536
    assert work.changes() == {"disk": "modified"}
