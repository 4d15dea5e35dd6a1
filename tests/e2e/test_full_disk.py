"""A file system of 64 MiB that runs full: said clearly, nothing lost, and cured by free space."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from fault_trees import read_tree, second_tree, third_tree
from faulting import (
    Point,
    check_error,
    check_next_commit,
    check_snapshot,
    check_whole,
    commits,
    first_commit,
    inject,
    seed,
)
from running import Done, succeed, treering


@pytest.fixture
def top(small_disk: Path, tmp_path: Path) -> Path:
    """A tree with one commit, its repository on the small disk."""
    first_commit(tmp_path / "tree", "--repo", str(small_disk / "repository"))
    return tmp_path / "tree"


def test_a_full_disk_is_said_and_cured(top: Path, small_disk: Path, tmp_path: Path) -> None:
    history = commits(top)
    (top / "big").write_bytes(random.Random(4).randbytes(90 << 20))
    for _ in range(2):
        done = run_full(top)
        assert commits(top) == history
        assert not list((small_disk / "repository" / "tmp").glob("pack-*"))
        assert "No space left" in done.err or "full" in done.err, done
        assert "free some space" in done.err, done
    check_whole(top)
    (top / "big").unlink()
    third_tree(top)
    check_next_commit(top, tmp_path / "out")


def run_full(top: Path) -> Done:
    done = treering(top, "commit", "-m", "too much")
    assert done.code == 1, done
    check_error(done)
    return done


def test_a_disk_filled_to_the_last_block_by_others(
    top: Path, small_disk: Path, tmp_path: Path
) -> None:
    """Every part of the repository meets the full disk; what frees it is outside of our reach."""
    history = commits(top)
    second_tree(top)
    with (small_disk / "filler").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))
    done = run_full(top)
    assert "No space left" in done.err or "full" in done.err, done
    assert commits(top) == history
    (small_disk / "filler").unlink()
    check_whole(top)
    check_next_commit(top, tmp_path / "out")


def test_what_a_killed_commit_left_does_not_keep_a_disk_full(
    top: Path, small_disk: Path, tmp_path: Path
) -> None:
    """Salvage copies; where there is no room for that, it must give way."""
    (top / "big").write_bytes(random.Random(4).randbytes(38 << 20))
    inject(Point("fsync", 1), "signal=SIGKILL", tmp_path, ["commit", "-m", "killed"], top)
    left = list((small_disk / "repository" / "tmp").glob("pack-*"))
    assert sum(path.stat().st_size for path in left) > 30 << 20
    (top / "big").unlink()
    third_tree(top)
    check_next_commit(top, tmp_path / "out")
    assert not list((small_disk / "repository" / "tmp").glob("pack-*"))


# -- random passes -------------------------------------------------------------------------------

PASSES = [*range(1), *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 10))]
BLOCK_SIZES = [1024, 4096]
"""Of the disk: below SQLite's and the kernel's pages, and as large."""


class Session:
    """Somebody who works on a small disk, tree, repository and remote all on it, until it is full
    and beyond."""

    def __init__(self, disk: Path, chance: random.Random) -> None:
        self._chance = chance
        self._names = 0
        self.top, self.remote = disk / "tree", disk / "remote"
        self.acknowledged: list[str] = []
        self.pushed: list[str] = []
        self.refused = 0

    def change(self) -> None:
        """Some files more, some fewer, one changed in the middle."""
        for _ in range(self._chance.randrange(1, 5)):
            self._names += 1
            path = self.top / f"d{self._names % 7}" / str(self._names)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(self._chance.randbytes(self._chance.randrange(1 << 21)))
        found = sorted(path for path in self.top.glob("d*/*") if path.is_file())
        for path in self._chance.sample(found, min(len(found), 2)):
            if self._chance.random() < 0.4:
                path.unlink()
            else:
                with path.open("r+b") as file:
                    file.seek(path.stat().st_size // 2)
                    file.write(self._chance.randbytes(1000))

    def step(self) -> None:
        kind = self._chance.choice(["change", "commit", "commit", "push", "restore"])
        try:
            if kind == "change":
                self.change()
        except OSError:  # full: also for whoever writes files
            self.refused += 1
            return
        if kind == "commit" and self._done("commit", "-m", "more"):
            self.acknowledged = commits(self.top)
        if kind == "push" and self._done("push"):
            self.pushed = commits(self.remote)
        if kind == "restore" and self.acknowledged:
            self._done("restore", "--force", "--source", self._chance.choice(self.acknowledged))

    def _done(self, *arguments: str) -> bool:
        """Whether it was done: if not, for a reason that it says."""
        done = treering(self.top, *arguments)
        assert "Traceback" not in done.err, done
        if done.code == 0:
            return True
        self.refused += 1
        assert done.code in (1, 3, 11), done
        return False


@pytest.mark.parametrize("small_disk", BLOCK_SIZES, indirect=True)
@pytest.mark.parametrize("number", PASSES)
def test_a_session_until_the_disk_is_full_and_beyond(
    small_disk: Path, tmp_path: Path, number: int
) -> None:
    found = seed() + number
    print(f"pass {number} with seed {found}")
    filler = small_disk / "filler"
    filler.write_bytes(os.urandom(8 << 20))
    session = Session(small_disk, random.Random(found))
    session.top.mkdir()
    succeed(session.top, "init")
    succeed(small_disk, "init", "--bare", "remote")
    succeed(session.top, "remote", "add", "origin", str(session.remote))
    session.change()
    session.step()
    steps = 0
    while session.refused < 6 and (steps := steps + 1) < 300:
        session.step()
    assert session.refused >= 6, "it was never full"
    filler.unlink()  # free space
    for path in session.top.glob("d*"):
        shutil.rmtree(path)
    print(f"{steps} steps, {len(session.acknowledged)} commits, {len(session.pushed)} pushed")
    restore = session.top / ".treering" / "tracker" / "restore"
    if restore.exists():
        succeed(session.top, "restore", "--force", "--delete")
    check_whole(session.top)
    check_whole(session.remote)
    history = commits(session.top)
    assert history[-len(session.acknowledged) :] == session.acknowledged
    there = commits(session.remote)
    assert there[-len(session.pushed) :] == session.pushed
    third_tree(session.top)
    succeed(session.top, "commit", "-m", "after it")
    check_snapshot(session.top, tmp_path / "out")
    succeed(session.top, "push")
    assert commits(session.remote) == commits(session.top)
    assert read_tree(tmp_path / "out") == read_tree(session.top)
