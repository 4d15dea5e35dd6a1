"""Large new files are written past the page cache; they are the same as any other file."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from live_trees import Work, fingerprint

MIB = 1 << 20


@pytest.fixture
def large(work: Work) -> Work:
    """A commit of `big`, which has a hole of 30 MiB and an end that fills no page."""
    path = work.write("big", os.urandom(40 * MIB))
    with path.open("r+b") as file:
        file.seek(70 * MIB)
        file.write(os.urandom(5 * MIB + 123))
    work.commit("one")
    return work


def injected(work: Work, target: Path, call: str, fault: str) -> Work:
    log = work.home / "strace.log"
    wrapper = ["strace", "-f", "-qq", "-o", str(log), "-P", str(target / "big"), "-P", "big"]
    wrapper += ["-e", f"trace={call}", "-e", f"inject={call}:{fault}"]
    return Work(work.home, work.top, wrapper)


def test_it_has_what_was_committed(large: Work, tmp_path: Path) -> None:
    before = fingerprint(large.top)
    lines = large.traced(
        "openat,pwrite64,pwritev2", "restore", "--target", str(tmp_path / "out"), log=tmp_path / "l"
    )
    (opened,) = [line for line in lines if "O_DIRECT|" in line]
    descriptor = opened.rsplit("= ", 1)[1].split("<")[0]
    assert len([line for line in lines if f"pwrite64({descriptor}<" in line]) >= 45 // 4
    assert fingerprint(tmp_path / "out") == before
    allocated = (tmp_path / "out" / "big").stat().st_blocks * 512
    assert 45 * MIB <= allocated < 60 * MIB


def test_a_disk_that_takes_no_direct_writes(large: Work, tmp_path: Path) -> None:
    """EINVAL comes from a file system that wants larger pages, or none."""
    target = tmp_path / "out"
    injected(large, target, "pwrite64", "error=EINVAL:when=2+7")("restore", "--target", str(target))
    assert fingerprint(target) == fingerprint(large.top)


@pytest.mark.parametrize("fault", ["EIO", "ENOSPC"])
def test_a_disk_that_fails(large: Work, tmp_path: Path, fault: str) -> None:
    target = tmp_path / "out"
    failing = injected(large, target, "pwrite64", f"error={fault}:when=3+")
    done = failing("restore", "--target", str(target), code=3)
    assert f"big: cannot restore: {os.strerror(getattr(errno, fault))}" in done.err
    assert not (target / "big").exists()
    large("restore", "--target", str(target), "--force")
    assert fingerprint(target) == fingerprint(large.top)


def test_what_was_there_is_written_in_place(large: Work) -> None:
    path = large.top / "big"
    before = fingerprint(large.top)
    inode = path.stat().st_ino
    with path.open("r+b") as file:
        file.write(b"changed")
    large("restore", "--force", "big")
    assert path.stat().st_ino == inode
    assert fingerprint(large.top)[b"big"] == before[b"big"]


def test_files_that_are_gone_come_back(large: Work) -> None:
    before = fingerprint(large.top)
    shutil.copy(large.top / "big", large.top / "other")
    (large.top / "big").unlink()
    large("restore", "big")
    assert fingerprint(large.top)[b"big"] == before[b"big"]
