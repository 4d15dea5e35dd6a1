"""Attaching and detaching by the commands: what is in the way, and how it ends."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from attached_trees import (
    attached,
    away,
    driver,
    scanned,
    some_files,
    take_off,
    told,
    wait_until_off,
)
from live_trees import Work, finished, make_home

from treering.tracker.fuse.surroundings import mounted_on

STOOD = """
import os, sys
os.chdir(sys.argv[1])
print(flush=True)
if sys.stdin.read():
    open("a", "ab").write(b"unseen")
"""
WRITES = """
import sys
f = open(sys.argv[1], "ab")
print(flush=True)
if sys.stdin.read():
    f.write(b"unseen")
"""


def outside(script: str, path: Path) -> subprocess.Popen[bytes]:
    """A process that was there before."""
    made = subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert made.stdout is not None
    made.stdout.readline()
    return made


@pytest.fixture
def here(work: Work) -> Work:
    return some_files(work)


def test_from_attach_to_detach(here: Work) -> None:
    try:
        said = away(here, "attach").out
        assert said == f"Attached {here.top}: 0 changes since the last commit\n"
        found = mounted_on(here.top)
        assert found is not None and found.kind == "fuse.treering"
        assert told(here) == ({}, 0)
        with (here.top / "disk").open("r+b") as file:
            file.seek(70_000)
            file.write(b"changed")
        (changed,) = away(here, "status", "--regions", "--json").json["changes"]
        assert changed["regions"] == [{"offset": 65536, "length": 65536}]
        assert away(here, "detach", str(here.top)).out == f"Detached {here.top}\n"
    finally:
        take_off(here.top)
    assert mounted_on(here.top) is None
    assert here.changes() == {"disk": "modified"}
    assert (here.top / "disk").read_bytes()[70_000:70_007] == b"changed"


def test_a_tree_without_a_commit(work: Work) -> None:
    with attached(work):
        assert (driver(work)["base"], told(work)) == ("", ({}, 0))
        work.write("d/f", "f")
        assert told(work)[0] == {"d/": "new"}


# -- what is in the way --------------------------------------------------------------------------


def test_twice(here: Work) -> None:
    with attached(here):
        done = away(here, "attach", code=11)
        assert "attached already" in done.err
        assert told(here) == ({}, 0)


def test_no_repository_and_a_bare_one(tmp_path: Path) -> None:
    work = Work(make_home(tmp_path), tmp_path)
    assert "no treering repository" in work("attach", code=10).err
    work("init", "--bare", "-q", "bare")
    assert "bare" in work("attach", "bare", code=2).err


def test_a_mount_point_inside(here: Work) -> None:
    (here.top / "d" / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", here.top / "d" / "disk"], check=True)
    try:
        done = away(here, "attach", code=11)
        assert "something is mounted in the tree: d/disk" in done.err
    finally:
        subprocess.run(["umount", here.top / "d" / "disk"], check=True)


@pytest.mark.parametrize(("script", "path"), [(STOOD, "d"), (WRITES, "d/a")])
def test_who_would_go_on_past_it_is_named(here: Work, script: str, path: str) -> None:
    stranger = outside(script, here.top / path)
    try:
        done = away(here, "attach", code=11)
        assert f"({stranger.pid})" in done.err
        assert mounted_on(here.top) is None
        with attached(here, "--force") as said:
            assert said["complete"] is False
            (here.top / "n").write_bytes(b"by the mount")
            stranger.communicate(b"go on")  # and writes
            assert told(here) == scanned(here)
            assert set(told(here)[0]) >= {"n", "d/a"}
    finally:
        stranger.communicate()


def test_the_callers_own_shell_has_to_leave(here: Work) -> None:
    """What it wrote would pass the driver by, and nobody would know."""
    program = Path(sys.executable).parent / "treering"
    script = f"cd {here.top}/d; {program} attach; cd ../..; {program} attach tree"
    try:
        done = subprocess.run(
            ["sh", "-c", script], env=os.environ, capture_output=True, text=True, check=False
        )
        assert "is in use by sh (" in done.stderr
        assert f"hint: leave the tree, and: treering attach {here.top}" in done.stderr
        assert done.stdout.startswith("Attached ")
    finally:
        take_off(here.top)


def test_detaching_a_tree_that_is_not_attached(here: Work) -> None:
    assert "is not attached" in away(here, "detach", code=2).err


def test_detaching_a_busy_tree(here: Work) -> None:
    with attached(here):
        stranger = outside(STOOD, here.top / "d")
        try:
            done = away(here, "detach", str(here.top), "--wait", "0.2", code=11)
            assert f"({stranger.pid})" in done.err
            assert told(here) == ({}, 0)
            away(here, "detach", str(here.top / "d"), "--force")
            assert mounted_on(here.top) is None
        finally:
            stranger.communicate()


def test_without_a_journal(here: Work) -> None:
    with attached(here, "--journal", "off"):
        here.write("d/a", "other")
        assert driver(here)["journal"] is False
        assert told(here)[0] == {"d/a": "modified"}


# -- its end -------------------------------------------------------------------------------------


def test_in_the_foreground_a_signal_detaches(here: Work) -> None:
    process = here.start("-C", str(here.top), "attach", "--foreground", cwd=here.home)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"Attached ")
        here.write("d/a", "other")
        assert told(here)[0] == {"d/a": "modified"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert mounted_on(here.top) is None
    finally:
        take_off(here.top)
        process.communicate()


def test_a_killed_driver_leaves_a_tree_that_is_scanned(here: Work) -> None:
    with attached(here):
        here.write("d/a", "other")
        os.kill(driver(here)["pid"], signal.SIGKILL)
        wait_until_off(here.top)
        here.write("n", "more")
        assert told(here)[0] == {"d/a": "modified", "d/n2": "modified", "n": "modified"}
        with attached(here):
            assert told(here)[0] == {"d/a": "modified", "d/n2": "modified", "n": "modified"}
        here.commit("after")
        assert told(here) == ({}, 0)
        here("fsck", "-q", "--read-data")


def test_driver_and_holder_killed(here: Work) -> None:
    """Nobody is left to take the mount off but the command."""
    with attached(here):
        pid = driver(here)["pid"]
        holders = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for number in (*holders, pid):
            os.kill(int(number), signal.SIGKILL)
        with pytest.raises(OSError, match=r"not connected|connection abort"):
            (here.top / "d" / "a").read_bytes()
        assert "hint: its driver has died: treering detach" in away(here, "status", code=1).err
        away(here, "detach", str(here.top))
        assert mounted_on(here.top) is None
        assert (here.top / "d" / "a").read_bytes() == b"a"


def test_after_a_commit_the_maps_are_not_those_of_head(here: Work) -> None:
    """Until commits take from the maps, status scans."""
    with attached(here):
        here.write("d/a", "other")
        away(here, "commit", "-q", "-m", "second")
        assert told(here) == ({}, 0)
        here.write("d/a", "third")
        assert told(here)[0] == {"d/a": "modified"}


def test_interrupted_while_it_scans(here: Work) -> None:
    """It leaves no tree that is half attached. Here it waits for a commit."""
    with (here.top / ".treering" / "tmp" / "commit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock_holder = os.dup(lock.fileno())
    try:
        process = here.start("-C", str(here.top), "attach", "--force", cwd=here.home)
        assert process.stderr is not None
        assert b"waiting" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        finished(process, 130)
        wait_until_off(here.top)
    finally:
        os.close(lock_holder)
        take_off(here.top)
    assert told(here) == ({}, 0)
