"""A tree that is attached again: what an earlier driver left spares reading changed files whole,
and nothing is missed."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from attached_trees import attached, away, driver, scanned, take_off, told, wait_until_off
from faulting import seed
from live_trees import Work, build, fingerprint

from treering.tracker.heartbeat import SECONDS, last_beat
from treering.tracker.scan_state import COARSE_NS

BLOCK = 65536
BLOCKS = 200


def kill(work: Work) -> None:
    os.kill(driver(work)["pid"], signal.SIGKILL)
    wait_until_off(work.top)


def write_at(path: Path, block: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(block * BLOCK)
        file.write(content)


def outlive(work: Work) -> None:
    """The driver lives on until it has shown that it does, long enough after what was changed."""
    time.sleep(COARSE_NS / 1e9)
    until = time.time_ns()
    for _ in range(20):
        os.listdir(work.top / "d")
        (work.top / "d" / "nothing").exists()
        (work.top / "d").stat()
        os.listxattr(work.top / "d")
        time.sleep(SECONDS)
        beat = last_beat(work.top / ".treering" / "tracker")
        if beat is not None and beat + COARSE_NS > until:
            return
    raise AssertionError("no sign of life")


@pytest.fixture
def here(work: Work) -> Work:
    build(work.top, {"d/disk": os.urandom(BLOCK * BLOCKS), "d/other": b"other", "f": b"f"})
    work.commit("first")
    return work


def read_of(work: Work, name: str, log: Path) -> int:
    """Bytes of a file that an attach reads; it is attached after that."""
    how = ["strace", "-f", "-y", "--detach-on=execve", "-o", str(log), "-e", "trace=pread64,read"]
    Work(work.home, work.home, how)("-C", str(work.top), "attach")
    lines = log.read_text("utf-8", "surrogateescape").splitlines()
    found = 0
    for line in lines:
        if f"/{name}>" in line and (result := re.search(r"= (\d+)$", line)):
            found += int(result[1])
    return found


def settle() -> None:
    """Time stamps become old enough to be believed."""
    time.sleep(0.1)


def test_after_a_detach_only_what_the_maps_have_is_read(here: Work, tmp_path: Path) -> None:
    with attached(here):
        write_at(here.top / "d" / "disk", 7, b"changed")
        write_at(here.top / "d" / "disk", 100, b"changed")
        settle()
        expected = away(here, "status", "--regions", "--json").json["changes"]
        away(here, "detach")
    try:
        assert read_of(here, "disk", tmp_path / "log") == 2 * BLOCK
        assert away(here, "status", "--regions", "--json").json["changes"] == expected
        assert len(expected[0]["regions"]) == 2
        away(here, "detach")
        write_at(here.top / "d" / "disk", 9, b"while detached")
        assert read_of(here, "disk", tmp_path / "log") > 2 * BLOCK
        (changed,) = away(here, "status", "--regions", "--json").json["changes"]
        assert changed["regions"][1] == {"offset": 9 * BLOCK, "length": BLOCK}
    finally:
        take_off(here.top)


def test_after_a_kill_only_what_is_journalled_is_read(here: Work, tmp_path: Path) -> None:
    with attached(here):
        write_at(here.top / "d" / "disk", 7, b"changed")
        outlive(here)
        kill(here)
    try:
        extent = (16 << 20) // BLOCK
        assert read_of(here, "disk", tmp_path / "log") <= extent * BLOCK
        assert told(here) == scanned(here)
        assert told(here)[0] == {"d/disk": "modified"}
        outlive(here)
        kill(here)
        # The finding of that scan was journalled, too.
        read_of(here, "disk", tmp_path / "log")
        assert told(here)[0] == {"d/disk": "modified"}
    finally:
        take_off(here.top)


def test_a_large_file_is_not_read_whole_after_a_kill(here: Work, tmp_path: Path) -> None:
    """Two extents of four; one of them changed while nobody looked at the other."""
    (here.top / "d" / "large").write_bytes(os.urandom(64 << 20))
    here.commit("large")
    with attached(here):
        write_at(here.top / "d" / "large", 300, b"changed")
        outlive(here)
        kill(here)
    try:
        found = read_of(here, "large", tmp_path / "log")
        assert 0 < found <= 16 << 20
        assert told(here)[0] == {"d/large": "modified"}
    finally:
        take_off(here.top)


def test_what_changed_after_the_kill_is_found(here: Work) -> None:
    with attached(here):
        write_at(here.top / "d" / "disk", 7, b"changed")
        outlive(here)
        kill(here)
    write_at(here.top / "d" / "disk", 150, b"later")
    with attached(here):
        assert told(here) == scanned(here)
        (changed,) = away(here, "status", "--regions", "--json").json["changes"]
        assert [region["offset"] // BLOCK for region in changed["regions"]] == [7, 150]


def test_a_file_in_another_ones_place_is_read_whole(here: Work) -> None:
    """It has no suspects of its own; its folder's names are one."""
    with attached(here):
        (here.top / "d" / "new").write_bytes(os.urandom(BLOCK * BLOCKS))
        os.replace(here.top / "d" / "new", here.top / "d" / "disk")
        outlive(here)
        kill(here)
    with attached(here):
        assert told(here) == scanned(here)
        (changed,) = away(here, "status", "--regions", "--json").json["changes"]
        assert changed["regions"] == [{"offset": 0, "length": BLOCK * BLOCKS}]


def test_after_another_commit_nothing_of_it_counts(here: Work) -> None:
    with attached(here):
        write_at(here.top / "d" / "disk", 7, b"changed")
        settle()
        away(here, "detach")
    here.commit("second")
    here("switch", "-q", "-c", "back", "HEAD~1", code=(0, 11))
    with attached(here):
        assert told(here) == scanned(here)


@pytest.mark.parametrize("name", ["maps", "attached", "driver/alive"])
def test_damaged_evidence_costs_time_alone(here: Work, name: str) -> None:
    with attached(here):
        write_at(here.top / "d" / "disk", 7, b"changed")
        settle()
        away(here, "detach")
    left = here.top / ".treering" / "tracker" / name
    left.write_bytes(left.read_bytes()[:-3])
    assert told(here)[0] == {"d/disk": "modified"}
    with attached(here):
        assert told(here)[0] == {"d/disk": "modified"}


@pytest.mark.parametrize("number", range(3))
def test_again_and_again(work: Work, number: int) -> None:
    """Random changes, by the mount and past it, with detaches and kills between."""
    chance = random.Random(seed() + number)
    files = [f"{folder}{name}" for folder in ("", "p/", "p/q/") for name in "ab"]
    build(work.top, {name: chance.randbytes(BLOCK * 4) for name in files})
    work.commit("first")
    try:
        for _ in range(8):
            if chance.random() < 0.5:
                write_at(work.top / chance.choice(files), chance.randrange(6), chance.randbytes(9))
            away(work, "attach")
            for _ in range(chance.randrange(4)):
                write_at(work.top / chance.choice(files), chance.randrange(6), chance.randbytes(9))
            if chance.random() < 0.3:
                one, other = chance.sample(files, 2)
                os.rename(work.top / one, work.top / "aside")
                os.rename(work.top / other, work.top / one)
                os.rename(work.top / "aside", work.top / other)
            if chance.random() < 0.3:
                os.truncate(work.top / chance.choice(files), chance.randrange(BLOCK * 5))
            assert told(work) == scanned(work)
            settle()
            if chance.random() < 0.4:
                kill(work)
            else:
                away(work, "detach")
            assert told(work) == scanned(work)
    finally:
        take_off(work.top)


LOAD = """
import os, random, sys
top, kind = ".", sys.argv[1]  # not by a path that leads elsewhere once the mount is off
chance = random.Random(kind)
number = 0
try:
    while True:
        number += 1
        if kind == "replaces":
            path = f"{top}/f{number % 20}"
            with open(path + ".new", "wb") as file:
                file.write(b"%d" % number * 1000)
                os.fsync(file.fileno())
            os.rename(path + ".new", path)
        elif kind == "overwrites":
            with open(f"{top}/disk", "r+b") as file:
                os.pwrite(file.fileno(), chance.randbytes(5000), chance.randrange(1 << 21))
        else:
            folder = f"{top}/{chance.choice('abcd')}"
            os.makedirs(folder, exist_ok=True)
            with open(f"{folder}/{number % 30}", "ab") as file:
                file.write(chance.randbytes(100))
            if chance.random() < 0.1:
                os.rename(folder, f"{top}/{number}")
            for name in chance.sample(os.listdir(top), 2):
                if name.isdigit():
                    for inner in os.listdir(f"{top}/{name}"):
                        os.unlink(f"{top}/{name}/{inner}")
                    os.rmdir(f"{top}/{name}")
except OSError as error:
    sys.exit(f"ended: {error.strerror}")
"""
KINDS = ("replaces", "overwrites", "moves")
TIMES = 200 if os.environ.get("TREERING_LONG") == "1" else 2


def test_killed_under_load_the_next_commit_is_the_tree(work: Work, tmp_path: Path) -> None:
    """Nobody hangs, and what the next driver is told is what a scan finds."""
    chance = random.Random(seed())
    build(work.top, {"disk": chance.randbytes(2 << 20)})
    work.commit("first")
    try:
        for number in range(TIMES):
            away(work, "attach")
            load = [
                subprocess.Popen(
                    [sys.executable, "-c", LOAD, kind], cwd=work.top, stderr=subprocess.PIPE
                )
                for kind in KINDS
            ]
            time.sleep(0.2 + chance.random() / 2)
            kill(work)
            for writer in load:
                assert b"ended: " in writer.communicate(timeout=20)[1]
            wait_until_off(work.top)
            if number % 2:
                away(work, "attach")
                assert told(work) == scanned(work)
                away(work, "detach")
            away(work, "commit", "-m", "after it")
            assert scanned(work) == ({}, 0)
            target = tmp_path / f"restored {number}"
            away(work, "restore", "--target", str(target))
            assert fingerprint(target) == fingerprint(work.top)
            shutil.rmtree(target)
        away(work, "fsck", "--read-data")
    finally:
        take_off(work.top)
