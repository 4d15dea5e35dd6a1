"""A PostgreSQL cluster of a test's own, run as its own user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attached_trees import take_off
from live_trees import Work, make_home

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@dataclass
class Cluster:
    """A database cluster in `data`, served through a socket in `run`, by the user postgres."""

    data: Path
    run: Path
    killed: bool = False

    def call(self, program: str, *arguments: str | Path) -> str:
        """One of its programs; what it printed."""
        done = subprocess.run(
            [PROGRAMS[-1] / program, *arguments], **self._as_owner(), timeout=200, check=False
        )
        log = self.run / "log"
        said = log.read_text()[-2000:] if log.exists() else ""
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}{said}"
        return str(done.stdout)

    def begin(self, program: str, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen([PROGRAMS[-1] / program, *arguments], **self._as_owner())

    def _as_owner(self) -> dict[str, Any]:
        owner = pwd.getpwnam("postgres")
        return {
            "env": {"PATH": os.environ["PATH"], "PGHOST": str(self.run), "LC_ALL": "C.UTF-8"},
            "cwd": "/",
            "user": owner.pw_uid,
            "group": owner.pw_gid,
            "extra_groups": [],
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }

    @contextmanager
    def served(self) -> Iterator[None]:
        """Started, and stopped in order unless something failed."""
        options = f"-k {self.run} -c listen_addresses=''"
        self.call("pg_ctl", "-D", self.data, "-w", "-l", self.run / "log", "-o", options, "start")
        self.killed = False
        try:
            yield
        except BaseException:
            print((self.run / "log").read_text()[-3000:])
            self.kill()
            raise
        if not self.killed:
            self.call("pg_ctl", "-D", self.data, "-w", "-m", "fast", "stop")

    def kill(self) -> None:
        """All of its processes at once, as a crash of the machine would."""
        self.killed = True
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for number in (postmaster, *map(int, children)):
            os.kill(number, signal.SIGKILL)
        while any(Path(f"/proc/{number}").exists() for number in (postmaster, *children)):
            time.sleep(0.05)

    def query(self, text: str) -> str:
        return self.call("psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text).strip()


@contextmanager
def place_for_all() -> Iterator[Path]:
    """A folder that the user postgres can reach."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="treering-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        take_off(folder / "tree")
        shutil.rmtree(folder)


def own(*folders: Path) -> None:
    """Make folders of the user postgres."""
    owner = pwd.getpwnam("postgres")
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, owner.pw_uid, owner.pw_gid)


def new_cluster(place: Path) -> tuple[Work, Cluster]:
    """A work tree, and in it the place for a cluster."""
    cluster = Cluster(place / "tree" / "data", place / "run")
    (place / "tree").mkdir()
    own(cluster.data, cluster.run)
    work = Work(make_home(place), place / "tree")
    work("init", "-q")
    return work, cluster
