"""Histories made by hand, and stock Git beside them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from treering.store.history import Commit, History, Person
from treering.store.ids import NodeId
from treering.store.locking import FileLock
from treering.store.root_record import Change, RootRecord

MAIN = "refs/heads/main"
JANE = Person("Jane Doe", "jane@example.org", 1_700_000_000, 120)


def git(path: Path, *arguments: str) -> str:
    command = ["git", f"--git-dir={path}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def open_history(path: Path) -> History:
    return History(path, lambda: FileLock(path.parent / "history.lock", "a change", wait=5))


def commit(
    history: History, number: int, *parents: str, ref: str = MAIN, message: str | None = None
) -> Commit:
    record = RootRecord(
        NodeId(b"%032d" % number), change=Change(1, 2, 3, number), users={1000: "jane"}
    )
    who = JANE._replace(time=JANE.time + number)
    return history.create_commit(record, parents, who, who, message or f"commit {number}\n", ref)


def chain(history: History, count: int) -> list[Commit]:
    found: list[Commit] = []
    for number in range(count):
        found.append(commit(history, number, *(found[-1].id,) if found else ()))
    return found
