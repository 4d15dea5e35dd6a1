"""Attaching a tree on a disk that is full, or read-only, or about to be unmounted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from attached_trees import attached, away, take_off, told, wait_until_off
from live_trees import Work, make_home

from treering.tracker.fuse.surroundings import mounted_on


@pytest.fixture
def on_disk(small_disk: Path, tmp_path: Path) -> Iterator[Work]:
    """A committed tree on it."""
    work = Work(make_home(tmp_path), small_disk / "tree")
    work.top.mkdir()
    work("init", "-q")
    work.write("a", "a")
    work.commit("first")
    yield work
    take_off(work.top)


def test_nothing_of_a_driver_keeps_the_disk_busy(on_disk: Work, small_disk: Path) -> None:
    """`treering detach` and then `umount`, as a script does."""
    for number in range(3):
        with attached(on_disk):
            on_disk.write("a", f"{number}")
            assert told(on_disk)[0] == {"a": "modified"}
            away(on_disk, "detach")
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    subprocess.run(["umount", small_disk], check=True)


def test_full(on_disk: Work, small_disk: Path) -> None:
    with (small_disk / "filling").open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    assert "No space left" in away(on_disk, "attach", code=1).err
    assert mounted_on(on_disk.top) is None
    (small_disk / "filling").unlink()
    with attached(on_disk):
        assert told(on_disk) == ({}, 0)
        away(on_disk, "detach")


def test_read_only(on_disk: Work, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert "Read-only file system" in away(on_disk, "attach", code=1).err
    wait_until_off(on_disk.top)
    assert away(on_disk, "status").out.endswith("work tree clean\n")
