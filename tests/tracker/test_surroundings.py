"""Who is in the way of a mount is found and named."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from treering.tracker.fuse.surroundings import (
    Outsider,
    mount_points_below,
    mounted_on,
    outsiders,
)


@contextmanager
def running(script: str, folder: Path) -> Iterator[int]:
    """A process that runs this, then waits."""
    script += "\nprint(1, flush=True)\nimport sys\nsys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.communicate()


def of(pid: int, top: Path) -> list[Outsider]:
    return [each for each in outsiders(top, top.stat().st_dev) if each.pid == pid]


@pytest.mark.parametrize(
    ("script", "writing"),
    [
        ("f = open({path!r}, 'rb')", False),
        ("f = open({path!r}, 'ab')", True),
        ("import mmap\nf = open({path!r}, 'r+b')\nm = mmap.mmap(f.fileno(), 0)\nf.close()", True),
    ],
)
def test_open_files_are_found(tmp_path: Path, script: str, writing: bool) -> None:
    path = tmp_path / "a file"
    path.write_bytes(bytes(mmap.PAGESIZE))
    with running(script.format(path=str(path)), Path("/")) as pid:
        (found,) = of(pid, tmp_path)
    assert (found.path, found.standing, found.writing) == (os.fsencode(path), False, writing)
    assert found.name.startswith("python")


def test_who_stands_in_the_tree_is_found(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with running("", tmp_path / "d") as pid:
        (found,) = of(pid, tmp_path)
        assert found.standing
        assert of(pid, tmp_path / "d") == [found]
    (tmp_path / "d2").mkdir()
    with running("", tmp_path / "d2") as pid:
        assert of(pid, tmp_path / "d") == []


def test_mount_points_are_found(tmp_path: Path) -> None:
    inside = tmp_path / "with space" / "x"
    inside.mkdir(parents=True)
    assert mount_points_below(tmp_path) == []
    subprocess.run(["mount", "-t", "tmpfs", "some source", inside], check=True)
    try:
        assert mount_points_below(tmp_path) == [b"with space/x"]
        found = mounted_on(inside)
        assert found is not None
        assert (found.kind, found.source) == ("tmpfs", b"some source")
        assert mounted_on(tmp_path) is None
    finally:
        subprocess.run(["umount", inside], check=True)
