"""A session on a disk that, at a power cut, loses and tears what was not synced: what a command
acknowledged is there, wherever and whenever the power goes."""

from __future__ import annotations

import random
from pathlib import Path

from faulting import seed
from forgetful import Forgetful, forgetful
from running import succeed

from treering.store.durable import fsync_folder

CUTS = 2


class Session:
    """A tree at `disk/tree` and a remote at `disk/remote`; `commits` and `pushed` were
    acknowledged."""

    def __init__(self, disk: Forgetful, scratch: Path, start: int) -> None:
        self.disk, self.scratch = disk, scratch
        self.chance = random.Random(start)
        self.top = disk.top / "tree"
        self.commits: list[str] = []
        self.pushed: tuple[str, list[str]] | None = None

    def run(self, *arguments: str, folder: Path | None = None) -> str:
        said = succeed(folder or self.top, *arguments).out
        self.check()
        return said

    def write(self) -> None:
        for _ in range(self.chance.randrange(1, 6)):
            folder = self.top / self.chance.choice(["a", "b", "c/d"])
            folder.mkdir(parents=True, exist_ok=True)
            content = self.chance.randbytes(self.chance.choice([10, 5000, 200_000]))
            (folder / self.chance.choice("uvwxyz")).write_bytes(content)

    def commit(self) -> None:
        self.write()
        succeed(self.top, "commit", "-m", "one")
        self.commits = self.listed(self.top)
        self.check()

    def push(self) -> None:
        succeed(self.top, "push")
        (branch,) = [each for each in succeed(self.top, "branch").lines if each.startswith("*")]
        self.pushed = branch.split()[1], list(self.commits)
        self.check()

    def listed(self, folder: Path, revision: str = "HEAD") -> list[str]:
        return [each["commit"] for each in succeed(folder, "log", "--json", revision).json]

    def check(self) -> None:
        for _ in range(CUTS):
            number = self.chance.randrange(1 << 30)
            left = self.scratch / str(number)
            self.disk.cut(number, left)
            print(f"cut {number}")
            self._check_one(left / "tree", "HEAD", self.commits)
            if self.pushed:
                self._check_one(left / "remote", *self.pushed)
            succeed(left / "tree", "commit", "-m", "after")

    def _check_one(self, folder: Path, revision: str, commits: list[str]) -> None:
        succeed(folder, "fsck", "--read-data")
        if commits:
            listed = self.listed(folder, revision)
            assert listed[listed.index(commits[0]) :] == commits


def test_what_was_acknowledged_is_there(tmp_path: Path) -> None:
    with forgetful(tmp_path / "disk") as disk:
        session = Session(disk, tmp_path, seed())
        session.top.mkdir()
        fsync_folder(disk.top)
        session.run("init")
        session.commit()
        session.run("tag", "v1")
        session.commit()
        succeed(disk.top, "init", "--bare", "remote")
        session.run("remote", "add", "origin", "../remote")
        session.push()
        session.run("switch", "-q", "-c", "other")
        session.commit()
        session.run("restore", "--force", "--source", "v1")
        session.commit()
        session.run("fsck", "--rebuild-index")
        session.push()
