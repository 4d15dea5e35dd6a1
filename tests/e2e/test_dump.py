"""dump: the archive that real tar programs make the same tree of."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from live_trees import PROGRAM, SECOND, Work, environment, rsync_differences, touch
from odd_tree import make_odd_tree

EXTRACT = ["tar", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-xpf", "-"]


def extract(archive: bytes, target: Path) -> Path:
    target.mkdir()
    done = subprocess.run(EXTRACT, cwd=target, input=archive, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_tar_makes_the_same_tree_of_it(work: Work, tmp_path: Path) -> None:
    make_odd_tree(work.top)
    work.commit()
    target = extract(work("dump").raw, tmp_path / "out")
    assert rsync_differences(work.top, target) == ""
    hollow = target / "holes" / "data hole data"
    assert hollow.stat().st_blocks * 512 < hollow.stat().st_size / 10


def test_a_part_and_what_it_links_to(work: Work, tmp_path: Path) -> None:
    work.write("a/first", "content" * 9)
    (work.top / "b").mkdir()
    for name in ("one", "two"):
        os.link(work.top / "a" / "first", work.top / "b" / name)
    work.write("b/c/d", "deep")
    work.commit()
    target = extract(work("dump", "HEAD:b").raw, tmp_path / "out")
    assert sorted(os.listdir(target)) == ["b"]
    assert rsync_differences(work.top / "b", target / "b") == ""
    assert (target / "b" / "one").stat().st_nlink == 2
    assert extract(work("dump", "HEAD:b/c/d").raw, tmp_path / "d").joinpath("b/c/d").exists()
    assert "no such path" in work("dump", "HEAD:nowhere", code=1).err


def test_owners_have_the_names_of_the_commit(work: Work, tmp_path: Path) -> None:
    work.write("mine")
    os.chown(work.top / "mine", 0, 0)
    work.commit()
    file = tmp_path / "it.tar"
    document = work("dump", "--json", "-o", str(file)).json
    assert document["bytes"] == file.stat().st_size
    with tarfile.open(file) as archive:
        assert archive.getmember("mine").uname == "root"


def test_large_numbers_and_times(work: Work, tmp_path: Path) -> None:
    path = work.write("old", "x")
    os.chown(path, 2**32 - 2, 2**31)
    touch(path, -3 * SECOND - 1)
    work.commit()
    with tarfile.open(fileobj=None, name=dumped(work, tmp_path)) as archive:
        member = archive.getmember("old")
        assert (member.uid, member.gid) == (2**32 - 2, 2**31)
        assert member.pax_headers["mtime"] == "-3.000000001"


def dumped(work: Work, tmp_path: Path) -> Path:
    work("dump", "-o", str(tmp_path / "x.tar"))
    return tmp_path / "x.tar"


def test_a_terminal_gets_no_archive(two: Work) -> None:
    leader, follower = pty.openpty()
    done = subprocess.run(
        [PROGRAM, "dump"],
        cwd=two.top,
        env=environment(two.home),
        stdout=follower,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(follower)
    os.close(leader)
    assert done.returncode == 2
    assert b"nothing for a terminal" in done.stderr


def test_whoever_stops_reading_hears_nothing(work: Work) -> None:
    work.write("big", os.urandom(3 << 20))
    work.commit()
    process = work.start("dump")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(1000)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0
    process.stderr.close()


def test_a_full_disk_and_a_damaged_block(work: Work, tmp_path: Path) -> None:
    work.write("big", os.urandom(3 << 20))
    work.commit()
    assert "writing /dev/full" in work("dump", "-o", "/dev/full", code=1).err
    for pack in (work.top / ".treering" / "packs").rglob("*.pack"):
        content = bytearray(pack.read_bytes())
        content[1 << 20] ^= 1
        pack.write_bytes(content)
    target = tmp_path / "never.tar"
    work("dump", "-o", str(target), code=12)
    assert not target.exists()


@pytest.mark.parametrize("size", [0, 1, 511, 512, 65536, 65537])
def test_sizes(work: Work, tmp_path: Path, size: int) -> None:
    work.write("file", b"x" * size)
    shutil.copy(work.top / "file", tmp_path / "file")
    work.commit()
    assert (extract(work("dump").raw, tmp_path / "out") / "file").read_bytes() == b"x" * size
