"""PostgreSQL on an attached tree: as its own user, under load, killed, and started again."""

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

import pytest
from attached_trees import attached, away, scanned, take_off
from live_trees import Work, make_home

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
CLIENTS = 4


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


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the user postgres can reach."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="treering-test-"))
    folder.chmod(0o755)
    yield folder
    take_off(folder / "tree")
    shutil.rmtree(folder)


def test_killed_under_load_it_has_what_it_acknowledged(place: Path) -> None:
    owner = pwd.getpwnam("postgres")
    cluster = Cluster(place / "tree" / "data", place / "run")
    for folder in (place / "tree", cluster.data, cluster.run):
        folder.mkdir()
    for folder in (cluster.data, cluster.run):
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    work = Work(make_home(place), place / "tree")
    work("init", "-q")
    with attached(work):
        cluster.call("initdb", "-D", cluster.data, "-A", "trust")
        with cluster.served():
            cluster.call("pgbench", "-i", "-q", "-s", "3", "postgres")
            cluster.query("create table told (number integer primary key)")
            acknowledged = under_load_and_killed(cluster, work)
        with cluster.served():
            has_what_was_acknowledged(cluster, acknowledged)
            cluster.call("pg_amcheck", "--all", "--install-missing", "--heapallindexed")
        away(work, "detach")
    assert scanned(work)[0] == {"data/": "new"}
    with cluster.served():
        cluster.call("pg_amcheck", "--all", "--heapallindexed")


def under_load_and_killed(cluster: Cluster, work: Work) -> int:
    """Transactions of pgbench beside a client that counts what was acknowledged to it."""
    load = cluster.begin("pgbench", "-c", str(CLIENTS), "-T", "60", "postgres")
    acknowledged = 0
    for number in range(1, 61):
        cluster.query(f"insert into told values ({number})")
        acknowledged = number
        if number % 20 == 0:
            assert "data/" in away(work, "status").out
            assert "active" in away(work, "maps").out
    cluster.kill()
    assert "Run was aborted" in load.communicate(timeout=60)[1]
    return acknowledged


def has_what_was_acknowledged(cluster: Cluster, acknowledged: int) -> None:
    found = cluster.query("select count(*), max(number) from told")
    assert found == f"{acknowledged}|{acknowledged}"
    assert int(cluster.query("select count(*) from pgbench_history")) > acknowledged
    balances = cluster.query(
        "select (select sum(abalance) from pgbench_accounts)"
        " = (select coalesce(sum(delta), 0) from pgbench_history)"
    )
    assert balances == "t"
