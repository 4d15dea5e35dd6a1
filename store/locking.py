"""Locks that die with their process: flock on small files that are never deleted.

A waiting caller is told once, after a second, that it waits; `LockHeld` after its limit. Locks are
per open file, so two `FileLock`s on one path exclude each other within a process too.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from .errors import LockHeld

POLL_SECONDS = 0.05
NOTICE_SECONDS = 1.0
DEFAULT_WAIT_SECONDS = 60.0


def _ignore(_message: str) -> None:
    pass


class FileLock:
    """An exclusive lock on `path`, as a context manager. `purpose` says in messages what the
    holder does ("a commit"). Not reentrant."""

    def __init__(
        self,
        path: Path,
        purpose: str,
        *,
        wait: float = DEFAULT_WAIT_SECONDS,
        notice: Callable[[str], None] = _ignore,
    ) -> None:
        self._path = path
        self._purpose = purpose
        self._wait = wait
        self._notice = notice
        self._descriptor = -1

    def at_once(self) -> FileLock:
        """This lock, for who goes without rather than waits: LockHeld where it is taken."""
        self._wait = 0.0
        return self

    def __enter__(self) -> FileLock:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._acquire(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
        self._descriptor = -1

    def _acquire(self, descriptor: int) -> None:
        started = time.monotonic()
        noticed = False
        while True:
            if try_lock(descriptor):
                return
            waited = time.monotonic() - started
            if waited >= self._wait:
                raise LockHeld(
                    f"{self._purpose} is running in another process, and still was after"
                    f" {self._wait:.0f} s",
                    hint="wait for it to end and try again (commit --wait SECONDS waits longer)",
                )
            if waited >= NOTICE_SECONDS and not noticed:
                self._notice(f"waiting: {self._purpose} is running in another process")
                noticed = True
            time.sleep(POLL_SECONDS)


def try_lock(descriptor: int) -> bool:
    """Take the exclusive lock of an open file if it is free; it is held until the file closes."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
