"""An ordinary user attaches a tree of their own, and commits it while it changes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attached_trees import wait_until_off
from live_trees import NOBODY, NobodyWork, Work, make_home
from random_changes import root_of


@pytest.fixture
def here(nobody: NobodyWork) -> Iterator[NobodyWork]:
    """Attached, with a commit before that."""
    os.chmod("/dev/fuse", 0o666)
    shell(nobody, "mkdir -p d/e; echo a > d/a; echo b > d/e/b; ln d/a hard; seq 100000 > large")
    nobody.commit("first")
    run(nobody, "attach")
    try:
        yield nobody
    finally:
        subprocess.run(["umount", "-l", nobody.top], check=False, capture_output=True)
        wait_until_off(nobody.top)


def run(work: NobodyWork, *arguments: str, code: int = 0) -> Any:
    return work("-C", str(work.top), *arguments, "--json", cwd=Path("/"), code=code).json


def shell(work: NobodyWork, script: str) -> None:
    """As that user, in the tree."""
    command = ["sh", "-ec", f"cd {work.top}\n{script}"]
    subprocess.run(command, cwd="/", check=True, user=NOBODY, group=NOBODY, extra_groups=[])


def entries(work: NobodyWork) -> dict[str, Any]:
    found = work("-C", str(work.top), "ls", "-R", "--json", "HEAD", cwd=Path("/")).json
    return {entry["path"]: entry for entry in found}


def test_a_commit_is_one_instant_for_them_too(here: NobodyWork, tmp_path: Path) -> None:
    shell(
        here,
        """echo more >> large; echo new > d/new; mkdir made; cp large made/; mv d/e made/e
        echo changed > hard; chmod 600 made/e/b; ln -s nowhere link; rm d/new""",
    )
    copy = here.home / "copy"
    shell(here, f"cp -a . {copy}; rm -r {copy}/.treering; touch -r . {copy}")
    done = run(here, "commit", "-m", "second")
    assert done["pause_seconds"] is not None, "a scan made it"
    assert done["root"] == root_of(Work(make_home(tmp_path), tmp_path), copy)
    assert run(here, "status")["changes"] == []
    shell(here, "chmod 000 d/a")
    assert run(here, "commit", "-m", "only its mode")["pause_seconds"] is not None


def test_what_one_may_not_read_stays_marked(here: NobodyWork) -> None:
    """What the last commit has of it is kept, and nothing is lost of what it is."""
    shell(here, "echo much more >> large; chmod 000 large; echo fine > d/e/b")
    done = run(here, "commit", "-m", "without it", code=3)
    assert done["pause_seconds"] is not None, "a scan made it"
    found = entries(here)
    assert (found["large"]["size"], found["d/e/b"]["size"]) == (588895, 5)
    shell(here, "chmod 600 large")
    run(here, "commit", "-m", "with it")
    assert entries(here)["large"]["size"] == 588895 + 10
