"""Commits of attached trees with something that happens between the freeze and all reading; and
steps for that."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from attached_trees import away, told
from live_trees import Work
from random_changes import copied, root_of

from treering.store.history import Person
from treering.store.repository import Repository
from treering.tracker.capture import build
from treering.tracker.capture.plan import Plan
from treering.tracker.snapshot import Outcome, Request, commit

BLOCK = 65536
SOMEBODY = Person("Somebody", "somebody@example", 0, 0)
Step = Callable[[Path], object]


def commit_late(work: Work, between: Step) -> Outcome:
    """Commit; `between` is called when the maps are frozen, and nothing was read yet."""

    def plan(*rows: object) -> Plan:
        between(work.top)
        return Plan(*rows)  # type: ignore[arg-type]

    repository = Repository(work.top / ".treering")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(build, "Plan", plan)
            return commit(repository, work.top, Request("late", SOMEBODY, SOMEBODY))
    finally:
        repository.close()


def check_the_next(work: Work, tmp_path: Path) -> None:
    """All that happened since is in the next commit, and then there is nothing left."""
    copy = copied(work.top, tmp_path / "next")
    done = away(work, "commit", "-m", "next", "--allow-empty", "--json").json
    assert done["root"] == root_of(work, copy)
    assert told(work) == ({}, 0)


def nothing(_top: Path) -> None:
    pass


def both(*steps: Step) -> Step:
    def act(top: Path) -> None:
        for step in steps:
            step(top)

    return act


def fill(path: str, size: int, seed: bytes = b"x") -> Step:
    return lambda top: (top / path).write_bytes(seed * size)


def write(path: str, offset: int, data: bytes) -> Step:
    def act(top: Path) -> None:
        with (top / path).open("r+b") as file:
            file.seek(offset)
            file.write(data)

    return act


def move(old: str, new: str) -> Step:
    return lambda top: os.rename(top / old, top / new)


def remove(path: str) -> Step:
    return lambda top: (top / path).unlink()


def remove_all(path: str) -> Step:
    return lambda top: shutil.rmtree(top / path)


def make(path: str) -> Step:
    return lambda top: (top / path).mkdir()


def mark(path: str, value: bytes) -> Step:
    return lambda top: os.setxattr(top / path, "user.mark", value)
