"""Locks: one holder, a wait that ends, and no stale lock ever."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from treering.store import locking
from treering.store.errors import LockHeld
from treering.store.locking import FileLock

HOLD = """
import sys, time
from pathlib import Path
from treering.store.locking import FileLock
with FileLock(Path(sys.argv[1]), "a commit"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_second_lock_waits_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "NOTICE_SECONDS", 0)
    monkeypatch.setattr(locking, "POLL_SECONDS", 0.001)
    path = tmp_path / "x.lock"
    notices: list[str] = []
    noticed, entered = threading.Event(), threading.Event()

    def notice(message: str) -> None:
        notices.append(message)
        noticed.set()

    def wait() -> None:
        with FileLock(path, "a commit", notice=notice):
            entered.set()

    with FileLock(path, "a push"):
        thread = threading.Thread(target=wait)
        thread.start()
        assert noticed.wait(30)
        assert not entered.is_set()
    thread.join(30)
    assert entered.is_set()
    assert notices == ["waiting: a commit is running in another process"]


def test_held_after_the_wait(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with FileLock(path, "a commit"):
        with pytest.raises(LockHeld, match="a commit is running") as caught:
            with FileLock(path, "a commit", wait=0):
                pytest.fail("the lock was given twice")
        assert caught.value.hint is not None and "--wait" in caught.value.hint
    with FileLock(path, "a commit", wait=0):
        pass


def test_released_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with pytest.raises(ZeroDivisionError), FileLock(path, "a commit"):
        _ = 1 // 0
    with FileLock(path, "a commit", wait=0):
        pass


def test_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        with pytest.raises(LockHeld):
            FileLock(path, "a commit", wait=0).__enter__()
        child.kill()
    with FileLock(path, "a commit", wait=0):
        assert path.exists()
    assert path.exists(), "a lock file is never deleted"
