"""A commit that was killed or interrupted in the middle: the next one goes on where it was."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from faulting import check_snapshot, check_whole, commits
from running import TREERING, environment, succeed, treering

SIZE = 300 << 20
BLOCKS = SIZE >> 16
SLACK = 1 << 20
"""A record that was cut, and headers."""
NODES = 40


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A work tree with one large file that does not compress, not yet committed."""
    folder = tmp_path / "tree"
    folder.mkdir()
    succeed(folder, "init")
    source = random.Random(5)
    with (folder / "disk").open("wb") as file:
        for _ in range(SIZE >> 20):
            file.write(source.randbytes(1 << 20))
    return folder


def kept(top: Path) -> int:
    """Bytes of packs, finished or not."""
    repository = top / ".treering"
    found = [*(repository / "packs").iterdir(), *(repository / "tmp").glob("pack-*")]
    return sum(path.stat().st_size for path in found)


def stop(top: Path, number: signal.Signals, at: int) -> int:
    """Start a commit, send the signal once so many bytes are in packs; its exit code."""
    # A test run in the background may have SIGINT ignored, which children inherit.
    process = subprocess.Popen(
        ["env", "--default-signal=INT", TREERING, "commit", "-q", "-m", "stopped"],
        cwd=top,
        env=environment(top),
        stderr=subprocess.PIPE,
    )
    give_up = time.monotonic() + 100
    while (size := grown(top)) < at and process.poll() is None:
        assert time.monotonic() < give_up, size
        time.sleep(0.002)
    # Held still first: the whole commit takes half a second.
    process.send_signal(signal.SIGSTOP)
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=100)
    assert b"Traceback" not in said, said
    return process.returncode


def grown(top: Path) -> int:
    try:
        return kept(top)
    except FileNotFoundError:  # just renamed
        return 0


def check_rest(top: Path, before: int, target: Path) -> None:
    """A commit that stores no more than what was not there, and nothing twice."""
    done = succeed(top, "commit", "--json", "-m", "whole").json
    assert done["change"]["stored"] <= SIZE - before + SLACK
    assert done["change"]["size"] >= SIZE
    assert not list((top / ".treering" / "tmp").glob("pack-*"))
    assert kept(top) < SIZE + 2 * SLACK
    found = succeed(top, "fsck", "--json", "--read-data").json
    assert found["whole"]
    assert BLOCKS < found["objects"] < BLOCKS + NODES
    check_snapshot(top, target)


def test_a_killed_commit_is_not_done_again(top: Path, tmp_path: Path) -> None:
    assert stop(top, signal.SIGKILL, 90 << 20) == -signal.SIGKILL
    before = kept(top)
    assert before >= 90 << 20
    assert treering(top, "log").code == 1
    check_whole(top)
    check_rest(top, before, tmp_path / "out")


def test_an_interrupted_commit_is_not_done_again(top: Path, tmp_path: Path) -> None:
    assert stop(top, signal.SIGINT, 80 << 20) == 130
    before = kept(top)
    assert before >= 80 << 20
    assert treering(top, "log").code == 1
    check_whole(top)
    check_rest(top, before, tmp_path / "out")


def test_kills_again_and_again_lose_no_ground(top: Path, tmp_path: Path) -> None:
    """Also when one falls into the salvage of the one before."""
    for size in (40, 90, 100, 150, 220):
        assert stop(top, signal.SIGKILL, size << 20) == -signal.SIGKILL
        assert kept(top) >= size << 20
    succeed(top, "commit", "-m", "at last")
    assert len(commits(top)) == 1
    check_whole(top)
    assert kept(top) < SIZE + (160 << 20)
    check_snapshot(top, tmp_path / "out")
