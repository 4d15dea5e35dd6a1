"""Attaching a tree on a disk that is full, or read-only, or about to be unmounted."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
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


BLOCK = 65536


def test_where_on_the_device_changed_blocks_lie(on_disk: Work, small_disk: Path) -> None:
    """The device is a file: what it has there is what the file has in these blocks."""
    disk = on_disk.write("disk", bytes(range(256)) * (BLOCK * 6 // 256))
    on_disk.commit("a disk")
    with attached(on_disk):
        content = random.Random(1).randbytes(BLOCK * 3)
        with disk.open("r+b") as file:
            os.pwrite(file.fileno(), content[:BLOCK], BLOCK)
            os.pwrite(file.fileno(), content[BLOCK:], 3 * BLOCK)
        subprocess.run(
            ["fallocate", "-p", "-o", str(4 * BLOCK), "-l", str(BLOCK), disk], check=True
        )
        on_disk.write("gone", "soon")
        (on_disk.top / "gone").unlink()
        rows = away(on_disk, "maps", "--physical", "--json", "disk").json["blocks"]
        text = away(on_disk, "maps", "--physical", "disk").out.splitlines()
        os.sync()
        image = small_disk.with_name("disk.img").read_bytes()
        live = disk.read_bytes()
        assert [row["block"] for row in rows] == [1, 3, 4]
        for row in rows:
            start, device = row["block"] * BLOCK, row["device"]
            if row["block"] == 4:
                assert device is None
            else:
                assert image[device : device + BLOCK] == live[start : start + BLOCK]
        assert "device offset" in text[0]
        assert [line.split()[2] for line in text[1:]] == [
            str(rows[0]["device"]),
            str(rows[1]["device"]),
            "none",
        ]
        assert len(away(on_disk, "maps", "--physical").out.splitlines()) == 4
        away(on_disk, "detach")


def test_a_file_system_that_does_not_tell(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        work = Work(make_home(tmp_path), Path(folder) / "tree")
        work.top.mkdir()
        work("init", "-q")
        work.write("a", "a")
        with attached(work):
            work.write("b", "b")
            done = away(work, "maps", "--physical", code=1)
            assert "does not tell where b lies" in done.err
            assert "leave --physical away" in done.err
            assert away(work, "maps").out.count("\n") == 2
            away(work, "detach")
