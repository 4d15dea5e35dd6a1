"""Commits of an attached tree that stand still, or have no room to save what is overwritten: nobody
waits for them for long, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from attached_trees import attached, away, driver, some_files, take_off
from late_commits import BLOCK, check_the_next, fill
from live_trees import Work, make_home
from random_changes import copied, root_of


@pytest.fixture
def here(work: Work) -> Work:
    return some_files(work)


def overwrite(path: Path, data: bytes) -> None:
    """Each block of a file."""
    with path.open("r+b") as file:
        for place in range(0, path.stat().st_size, BLOCK):
            file.seek(place)
            file.write(data)


def stopped_commit(work: Work) -> subprocess.Popen[bytes]:
    """A commit that has frozen the maps, and stands still."""
    alone = Work(work.home, work.home, ["env", "TREERING_NO_WORKER=1"])
    stopped = alone.start("-C", str(work.top), "commit", "-m", "stopped")
    while not driver(work)["frozen"]:
        assert stopped.poll() is None, "it was too quick"
    stopped.send_signal(signal.SIGSTOP)
    return stopped


def test_a_commit_that_stands_still(here: Work, tmp_path: Path) -> None:
    """Stopped in the middle: writers go on, and what it took is given back when it ends."""
    fill("large", 100 << 20)(here.top)
    away(here, "commit", "-m", "large")
    with attached(here):
        overwrite(here.top / "large", b"y")
        stopped = stopped_commit(here)
        overwrite(here.top / "large", b"z")
        stopped.kill()
        stopped.communicate()
        while driver(here)["frozen"]:
            time.sleep(0.01)
        check_the_next(here, tmp_path)


def test_a_large_file_is_cut_while_a_commit_stands_still(here: Work, tmp_path: Path) -> None:
    """Too much to be saved at once: whoever cuts it waits, but not for long."""
    fill("large", 100 << 20)(here.top)
    with attached(here):
        fill("large", 100 << 20, b"y")(here.top)
        stopped = stopped_commit(here)
        os.truncate(here.top / "large", 5)
        assert driver(here)["frozen"] == 0, "it was given up"
        stopped.send_signal(signal.SIGCONT)
        _, said = stopped.communicate()
        assert stopped.returncode == 1
        assert b"the commit stood still" in said
        check_the_next(here, tmp_path)


def test_a_full_disk_below_what_is_saved(work: Work, small_disk: Path, tmp_path: Path) -> None:
    """The commit's loss: writers notice nothing."""
    repository = small_disk / "repository"
    shutil.rmtree(work.top / ".treering")
    away(work, "init", "-q", "--repo", str(repository))
    fill("large", 100 << 20)(work.top)
    away(work, "commit", "-m", "large")
    with attached(work):
        overwrite(work.top / "large", b"y")
        stopped = stopped_commit(work)
        filling = small_disk / "filling"
        with suppress(OSError), filling.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        overwrite(work.top / "large", b"z")
        filling.unlink()
        stopped.send_signal(signal.SIGCONT)
        _, said = stopped.communicate()
        assert stopped.returncode == 1
        assert b"No space left on device" in said
        check_the_next(work, tmp_path)
        away(work, "detach")


@pytest.fixture
def on_xfs(tmp_path: Path) -> Iterator[Work]:
    """A work tree on a file system that copies files at no cost."""
    image, where = tmp_path / "xfs.img", tmp_path / "xfs"
    with image.open("wb") as file:
        file.truncate(600 << 20)
    subprocess.run(["mkfs.xfs", "-q", image], check=True)
    where.mkdir()
    subprocess.run(["mount", "-o", "loop", image, where], check=True)
    try:
        work = Work(make_home(tmp_path), where / "tree")
        work.top.mkdir()
        work("init", "-q")
        yield work
        take_off(work.top)
    finally:
        subprocess.run(["umount", where], check=True)


def test_a_large_file_is_cut_where_copies_cost_nothing(on_xfs: Work, tmp_path: Path) -> None:
    """Nobody waits, and the commit has what it was."""
    (on_xfs.top / "large").write_bytes(os.urandom(100 << 20))
    on_xfs.commit("large")
    with attached(on_xfs):
        overwrite(on_xfs.top / "large", b"y")
        copy = copied(on_xfs.top, tmp_path / "copy")
        stopped = stopped_commit(on_xfs)
        os.truncate(on_xfs.top / "large", 5)
        assert driver(on_xfs)["frozen"], "it waited until the commit was given up"
        stopped.send_signal(signal.SIGCONT)
        stopped.communicate()
        assert stopped.returncode == 0
        assert on_xfs.root() == root_of(on_xfs, copy)
        check_the_next(on_xfs, tmp_path)
        away(on_xfs, "detach")
