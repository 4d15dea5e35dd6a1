"""Commit, status by a scan, restore and switch on an attached tree, which read past the mount."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attached_trees import attached, away, scanned, some_files, told
from live_trees import Work

from treering.store.repository import Repository
from treering.tracker.live_top import live_top

STORES = """
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    memory = mmap.mmap(file.fileno(), 0)
memory[70_000:70_006] = b"stored"
print("stored", flush=True)
sys.stdin.read()
"""
WRITES = """
import sys
with open(sys.argv[1], "r+b", buffering=0) as file:
    print("open", flush=True)
    sys.stdin.read()
    file.write(b"past the driver")
"""


@pytest.fixture
def here(work: Work) -> Work:
    return some_files(work)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    return tmp_path / "elsewhere"


def outside(script: str, path: Path) -> subprocess.Popen[bytes]:
    """A process that has said that it has done its first part."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", script, path], stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def committed(work: Work, path: str, elsewhere: Path) -> bytes:
    """What the last commit has of a file."""
    away(work, "restore", path, "--target", str(elsewhere))
    return (elsewhere / path).read_bytes()


def files_opened(work: Work, *arguments: str) -> set[str]:
    """Which regular files of the tree a command opens, when no worker runs it."""
    log = work.home / "strace.log"
    how = ["strace", "-f", "-y", "-s", "4096", "-E", "TREERING_NO_WORKER=1", "-o", str(log)]
    traced = Work(work.home, work.home, [*how, "-e", "trace=openat"])
    traced("-C", str(work.top), *arguments)
    text = log.read_text("utf-8", "surrogateescape")
    opened = re.findall(rf"= \d+<{re.escape(str(work.top))}/([^>]*)>", text)
    return {path for path in opened if ".treering" not in path and (work.top / path).is_file()}


def test_after_a_commit_a_scan_reads_no_file(here: Work) -> None:
    with attached(here):
        here.write("d/a", "changed")
        away(here, "commit", "-m", "second")
        assert files_opened(here, "status") == set()
        here.write("d/e/b", "changed")
        assert files_opened(here, "status") <= {"d/e/b"}
        assert told(here)[0] == {"d/e/b": "modified"}
    assert files_opened(here, "status") <= {"d/e/b"}


def test_a_commit_has_what_was_stored_through_a_mapping(here: Work, elsewhere: Path) -> None:
    """Which the kernel need not have told anybody yet."""
    with attached(here):
        storing = outside(STORES, here.top / "disk")
        try:
            away(here, "commit", "-m", "second")
        finally:
            storing.communicate()
        assert committed(here, "disk", elsewhere)[70_000:70_006] == b"stored"
        assert told(here)[0] == {}


def test_what_passes_the_driver_by_is_committed(here: Work, elsewhere: Path) -> None:
    """Whatever the kernel remembers of the mount."""
    stranger = outside(WRITES, here.top / "d" / "a")
    try:
        with attached(here, "--force"):
            assert (here.top / "d" / "a").stat().st_size == 1
            stranger.communicate(b"go on")
            assert told(here)[0] == {"d/a": "modified"}
            away(here, "commit", "-m", "second")
            assert committed(here, "d/a", elsewhere) == b"past the driver"
    finally:
        stranger.kill()


@pytest.fixture
def behind(here: Work) -> Iterator[Work]:
    """Attached, with a second commit, and HEAD at the first."""
    with attached(here):
        (here.top / "disk").write_bytes(b"short now")
        here.write("d/e/c", "changed")
        (here.top / "d" / "a").unlink()
        away(here, "commit", "-m", "second")
        away(here, "switch", "--detach", "HEAD~1")
        yield here


def test_a_switch_is_known_to_the_scan(behind: Work) -> None:
    assert (behind.top / "disk").read_bytes() == bytes(range(256)) * 1024
    assert (behind.top / "d" / "a").read_bytes() == b"a"
    assert told(behind) == ({}, 0)
    away(behind, "detach")
    assert files_opened(behind, "status") == set()
    assert scanned(behind) == ({}, 0)


def test_a_restore_is_known_to_the_scan(behind: Work) -> None:
    behind.write("d/e/b", "to be lost")
    os.truncate(behind.top / "disk", 5)
    away(behind, "restore", "--force")
    assert told(behind) == ({}, 0)
    assert files_opened(behind, "status") == set()


def test_what_is_restored_is_synced_below_the_mount(behind: Work) -> None:
    """By the folder that the driver handed over: a sync of the mount would do nothing."""
    for number in range(40):
        behind.write(f"d/e/f{number}", f"{number}")
    third = away(behind, "commit", "-m", "third", "--json").json["commit"]
    for number in range(40):
        behind.write(f"d/e/f{number}", "to be lost")
    check_synced(behind, "restore", "--force")
    away(behind, "switch", "--detach", "HEAD~1")
    check_synced(behind, "switch", "--detach", third)


def check_synced(work: Work, *arguments: str) -> None:
    log = work.home / "strace.log"
    how = ["strace", "-f", "-o", str(log), "-e", "trace=recvmsg,syncfs"]
    Work(work.home, work.home, how)("-C", str(work.top), *arguments)
    calls = re.findall(r"cmsg_data=\[(\d+)\]|syncfs\((\d+)\)", log.read_text())
    synced = [place for place, (_, given) in enumerate(calls) if given]
    assert synced
    for place in synced:
        assert calls[place - 1][0] == calls[place][1]


def test_the_tree_is_opened_below_the_mount(here: Work) -> None:
    device = here.top.stat().st_dev
    with attached(here):
        repository = Repository(here.top / ".treering")
        try:
            with live_top(repository, here.top) as descriptor:
                assert os.fstat(descriptor).st_dev == device != here.top.stat().st_dev
                assert sorted(os.listdir(descriptor)) == sorted(os.listdir(here.top))
                assert not os.get_inheritable(descriptor)
        finally:
            repository.close()
