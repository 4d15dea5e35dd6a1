"""Commits of databases while they work: what is restored of each is sound, and has every
transaction that was acknowledged before the commit began."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attached_trees import attached, away, told
from live_trees import Work
from postgresql import Cluster, new_cluster, own, place_for_all
from random_changes import copied, root_of

LONG = os.environ.get("TREERING_LONG") == "1"
COMMITS = 100 if LONG else 5
CLUSTERS = 100 if LONG else 2
IMAGES = 30 if LONG else 3
SECONDS = 7200 if LONG else 300
WORK = """
import sqlite3, sys, time
path, told, *pragmas = sys.argv[1:]
connection = sqlite3.connect(path, isolation_level=None, timeout=60)
for pragma in pragmas:
    connection.execute(f"pragma {pragma}").fetchall()
connection.execute("create table if not exists told (number integer primary key, ballast)")
connection.execute("create index if not exists ballasts on told (ballast)")
log = open(told, "w")
number = 0
while True:
    connection.execute("begin immediate")
    for _ in range(5):
        number += 1
        connection.execute("insert into told values (?, ?)", (number, str(number) * 200))
    connection.execute("update told set ballast = ? where number = ?", ("x" * 900, number // 2))
    connection.execute("delete from told where number % 50 = 0 and number < ?", (number - 500,))
    connection.execute("commit")
    log.seek(0)
    log.write(f"{number:012}")
    log.flush()
    time.sleep(0.0005)
"""
MODES = {
    "rollback": ["journal_mode=delete", "synchronous=full"],
    "truncated": ["journal_mode=truncate", "synchronous=full"],
    "wal": ["journal_mode=wal", "synchronous=full", "wal_autocheckpoint=50"],
    "mapped": ["journal_mode=wal", "synchronous=full", "mmap_size=1000000000"],
}


@contextmanager
def writing(database: Path, log: Path, pragmas: list[str]) -> Iterator[None]:
    command = [sys.executable, "-c", WORK, str(database), str(log), *pragmas]
    process = subprocess.Popen(command, cwd="/", stderr=subprocess.PIPE)
    try:
        while not (log.exists() and log.stat().st_size):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        yield
        assert process.poll() is None, process.communicate()[1]
    finally:
        process.kill()
        process.communicate()


def commit_and_restore(work: Work, to: Path, name: str = "live") -> None:
    """What a commit of now has of a folder."""
    shutil.rmtree(to, ignore_errors=True)
    done = away(work, "commit", "-m", "live", "--json").json
    assert done["pause_seconds"] is not None, "a scan made it"
    away(work, "restore", "--source", done["commit"], "--target", str(to), name)


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("mode", MODES)
def test_sqlite(work: Work, tmp_path: Path, mode: str) -> None:
    log, restored = tmp_path / "log", tmp_path / "restored"
    (work.top / "live").mkdir()
    work.commit("empty")
    counts = []
    with attached(work):
        with writing(work.top / "live" / "db", log, MODES[mode]):
            for _ in range(COMMITS):
                before = int(log.read_text())
                commit_and_restore(work, restored)
                counts.append(check_database(restored / "live" / "db", before))
        copy = copied(work.top, tmp_path / "copy")
        root = away(work, "commit", "-m", "last", "--json").json["root"]
        assert told(work) == ({}, 0)
        assert root == root_of(work, copy)
    assert counts == sorted(set(counts)), "it went on meanwhile"


def check_database(path: Path, acknowledged: int) -> int:
    """The last transaction that it has."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        (last,) = connection.execute("select max(number) from told").fetchone()
        (count,) = connection.execute(
            "select count(*) from told where number > ? - 500", (last,)
        ).fetchone()
    finally:
        connection.close()
    assert last >= acknowledged
    assert last % 5 == 0, "half a transaction"
    assert count == min(last, 500), "some are missing"
    return int(last)


@pytest.mark.timeout(SECONDS)
def test_postgresql() -> None:
    with place_for_all() as place:
        work, cluster = new_cluster(place)
        cluster.call("initdb", "-D", cluster.data, "-A", "trust")
        work("commit", "-q", "-m", "made")
        with attached(work):
            with cluster.served():
                cluster.call("pgbench", "-i", "-q", "-s", "2", "postgres")
                cluster.query("create table told (number integer primary key)")
                load = cluster.begin("pgbench", "-c", "4", "-T", "7200", "postgres")
                for number in range(1, CLUSTERS + 1):
                    cluster.query(f"insert into told values ({number})")
                    assert load.poll() is None
                    commit_and_restore(work, place / "to", "data")
                    check_cluster(Cluster(place / "to" / "data", place / "other"), number)
                load.terminate()
                load.communicate()


def check_cluster(cluster: Cluster, told_until: int) -> None:
    """One that was restored starts, and is sound."""
    own(cluster.run)
    (cluster.data / "postmaster.pid").unlink()
    with cluster.served():
        found = cluster.query("select count(*), max(number) from told")
        assert found == f"{told_until}|{told_until}"
        balances = cluster.query(
            "select (select sum(abalance) from pgbench_accounts)"
            " = (select coalesce(sum(delta), 0) from pgbench_history)"
        )
        assert balances == "t"
        cluster.call("pg_amcheck", "--all", "--install-missing", "--heapallindexed")


@pytest.mark.timeout(SECONDS)
def test_an_image_with_a_file_system(work: Work, tmp_path: Path) -> None:
    """Mounted from the tree, and written to: each commit is what a power cut would leave."""
    image, mount, restored = work.top / "live" / "image", tmp_path / "mount", tmp_path / "to"
    image.parent.mkdir()
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    work.commit("made")
    with attached(work), mounted(image, mount):
        script = (
            "import os, sys, random, itertools\n"
            "for number in itertools.count():\n"
            "    path = f'{sys.argv[1]}/f{number % 50}'\n"
            "    with open(path + '.new', 'wb') as file:\n"
            "        file.write(b'%06d' % number * random.randrange(1, 40000))\n"
            "        if number % 3 == 0: os.fsync(file.fileno())\n"
            "    os.rename(path + '.new', path)\n"
        )
        writer = subprocess.Popen([sys.executable, "-c", script, mount], cwd="/")
        try:
            time.sleep(1)
            for _ in range(IMAGES):
                commit_and_restore(work, restored)
                check_image(restored / "live" / "image")
                time.sleep(0.2)
            assert writer.poll() is None
        finally:
            writer.kill()
            writer.wait()


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def check_image(image: Path) -> None:
    """After its journal was replayed, a check finds nothing to mend."""
    subprocess.run(["e2fsck", "-E", "journal_only", "-p", image], check=False, capture_output=True)
    done = subprocess.run(["e2fsck", "-fn", image], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
