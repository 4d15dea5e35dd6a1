"""PostgreSQL on an attached tree: as its own user, under load, killed, and started again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attached_trees import attached, away, scanned
from live_trees import Work
from postgresql import Cluster, new_cluster, place_for_all

CLIENTS = 4


@pytest.fixture
def place() -> Iterator[Path]:
    with place_for_all() as folder:
        yield folder


def test_killed_under_load_it_has_what_it_acknowledged(place: Path) -> None:
    work, cluster = new_cluster(place)
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
