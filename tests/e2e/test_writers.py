"""Restores that start writer processes: the same result as without, and processes that die, are
left behind, are interrupted, or meet damage and refusals."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from damaging import flip, packs
from live_trees import NobodyWork, Work, fingerprint, finished, rsync_differences

from treering.tracker import file_writer

MANY = 2 * file_writer.MANY_FILES
"""Files that make a restore start processes, with as many left to write."""


def grow(work: Work) -> None:
    """Many files, in folders of some dozen: alike, empty, sparse, linked, with attributes."""
    source = random.Random(7)
    for number in range(MANY):
        path = work.write(f"{number // 40}/{number:05}", source.randbytes(number % 300))
        if number % 97 == 0:
            os.setxattr(path, "user.number", b"%d" % number)
        if number % 53 == 0:
            path.chmod(0o400)
    with (work.top / "7" / "sparse").open("wb") as file:
        file.truncate(300_000)
        file.seek(130_000)
        file.write(b"in the middle")
    os.link(work.top / "3" / "00120", work.top / "9" / "linked")
    (work.top / "5" / "link").symlink_to("nowhere")
    os.chown(work.top / "8" / "00330", 1234, 4321)


@pytest.fixture
def grown(work: Work) -> Work:
    grow(work)
    work.commit("many")
    return work


def workers_of(parent: int) -> list[int]:
    """The live writer processes of a command."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, its_parent = (path / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            writes = b"treering.tracker.write_worker" in (path / "cmdline").read_bytes()
        except OSError:
            continue
        if writes and state not in "ZX" and int(its_parent) == parent:
            found.append(int(path.name))
    return found


def has_begun(pid: int) -> bool:
    """Whether a writer has come so far as to open the block index."""
    try:
        return "/index/data.mdb" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def held(work: Work, *arguments: str) -> subprocess.Popen[bytes]:
    """A command that is stopped when a writer runs."""
    wrapper = ["setsid", "env", "--default-signal=INT"]  # which a run in the background ignores
    process = Work(work.home, work.top, wrapper).start(*arguments)
    while not any(map(has_begun, workers_of(process.pid))):
        assert process.poll() is None, "the command has ended before"
        time.sleep(0.001)
    process.send_signal(signal.SIGSTOP)
    return process


def spoil(top: Path) -> None:
    """Another size, one byte less, other bytes, no right to write, gone."""
    ways: list[Callable[[Path], object]] = [
        lambda path: path.write_bytes(b"longer than it was" * 40),
        lambda path: os.truncate(path, max(0, path.stat().st_size - 1)),
        lambda path: path.write_bytes(b"x" * path.stat().st_size),
        lambda path: path.chmod(0o000),
        lambda path: path.unlink(),
    ]
    for number, path in enumerate(sorted(top.glob("*/0*"))):
        ways[number % len(ways)](path)


def test_processes_restore_what_was_committed(grown: Work, tmp_path: Path) -> None:
    target = grown.restored(tmp_path / "out")
    assert fingerprint(target) == fingerprint(grown.top)
    assert rsync_differences(grown.top, target) == ""


def test_processes_restore_in_place(grown: Work) -> None:
    before = fingerprint(grown.top)
    spoil(grown.top)
    assert fingerprint(grown.top) != before
    grown("restore", "--force")
    assert fingerprint(grown.top) == before
    assert grown.changes() == {}


def test_an_ordinary_user_restores_over_folders_that_refuse(nobody: NobodyWork) -> None:
    grow_plain(nobody)
    nobody.commit("many")
    before = fingerprint(nobody.top)
    spoil(nobody.top)
    for number in range(20):
        (nobody.top / f"{number}").chmod(stat.S_IXUSR)
    nobody("restore", "--force")
    assert fingerprint(nobody.top) == before


def grow_plain(work: NobodyWork) -> None:
    for number in range(MANY):
        work.write(f"{number // 40}/{number:05}", b"%d" % number)
    subprocess.run(["chown", "-R", "nobody:nogroup", work.top], check=True)


def test_a_writer_that_is_killed_is_done_without(grown: Work, tmp_path: Path) -> None:
    process = held(grown, "restore", "--source", "HEAD", "--target", str(tmp_path / "out"))
    for pid in workers_of(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.send_signal(signal.SIGCONT)
    finished(process, 0)
    assert fingerprint(tmp_path / "out") == fingerprint(grown.top)


def test_no_writer_outlives_the_command(grown: Work) -> None:
    before = fingerprint(grown.top)
    spoil(grown.top)
    process = held(grown, "restore", "--force")
    pids = list(filter(has_begun, workers_of(process.pid)))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # it cannot end by itself
    process.kill()
    finished(process, -signal.SIGKILL)
    deadline = time.monotonic() + 30
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline, "a writer goes on without its command"
        time.sleep(0.01)
    assert fingerprint(grown.top) != before
    grown("commit", "-m", "too early", code=11)
    grown("restore")
    assert fingerprint(grown.top) == before


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_an_interrupt_ends_it_and_the_next_run_completes(grown: Work) -> None:
    before = fingerprint(grown.top)
    spoil(grown.top)
    process = held(grown, "restore", "--force")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    finished(process, 130)
    grown("restore")
    assert fingerprint(grown.top) == before


def test_damage_that_a_writer_meets_is_told_and_leaves_the_index(
    grown: Work, tmp_path: Path
) -> None:
    pack = packs(grown.top)[0]
    flip(pack, pack.stat().st_size // 2)
    target = tmp_path / "out"
    done = grown("restore", "--source", "HEAD", "--target", str(target), code=12)
    assert "damaged" in done.err or "corrupt" in done.err, done.err
    grown("commit", "-m", "heals", "--allow-empty")


def test_what_a_writer_may_not_change_is_named(grown: Work) -> None:
    spoil(grown.top)
    number = MANY - 6
    path = grown.top / f"{number // 40}" / f"{number:05}"
    path.write_bytes(b"immutable")
    subprocess.run(["chattr", "+i", path], check=True)
    try:
        done = grown("restore", "--force", code=3)
    finally:
        subprocess.run(["chattr", "-i", path], check=True)
    assert str(path.relative_to(grown.top)) in done.err
    assert path.read_bytes() == b"immutable"
