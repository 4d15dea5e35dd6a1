"""Commits of an attached tree killed at any moment: the command, its worker, or the driver. What
was acknowledged is there, and the next commit is the tree as a scan would find it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from attached_trees import away, driver, some_files, take_off, told, wait_until_off
from live_trees import Work
from random_changes import Changes, copied, root_of

TIMES = 60 if os.environ.get("TREERING_LONG") == "1" else 4


@pytest.fixture
def here(work: Work) -> Work:
    some_files(work)
    Changes(work.top, 1).some(60)
    work.commit("before")
    return work


def start_commit(work: Work, *, worker: bool) -> subprocess.Popen[bytes]:
    how = [] if worker else ["env", "TREERING_NO_WORKER=1"]
    return Work(work.home, work.home, how).start(
        "-C", str(work.top), "commit", "-m", "to be killed"
    )


def workers_of(work: Work) -> list[int]:
    """The worker of the tree, and what it runs."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (place / "cmdline").read_bytes()
            if b"treering.cli.worker" in words and os.fsencode(work.top) in words:
                found.append(int(place.name))
    return found


def check_now(work: Work, copy: Path, *, code: int = 0) -> None:
    copied(work.top, copy)
    done = away(work, "commit", "-m", "after", "--allow-empty", "--json", code=code).json
    assert told(work) == ({}, 0)
    assert done["root"] == root_of(work, copy)
    away(work, "fsck", "--read-data")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", ["command", "worker", "driver"])
def test_killed_at_any_moment(here: Work, tmp_path: Path, what: str) -> None:
    moments = random.Random(what)
    changes = Changes(here.top, 7)
    try:
        away(here, "attach")
        for number in range(TIMES):
            changes.some(10)
            process = start_commit(here, worker=what == "worker")
            time.sleep(moments.uniform(0, 0.35))
            changes.some(3)
            if what == "command":
                process.kill()
            elif what == "worker":
                for pid in workers_of(here):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            else:
                os.kill(driver(here)["pid"], signal.SIGKILL)
            process.communicate(timeout=60)
            if what == "driver":
                wait_until_off(here.top)
                away(here, "attach")
            check_now(here, tmp_path / f"copy{number}")
    finally:
        take_off(here.top)
