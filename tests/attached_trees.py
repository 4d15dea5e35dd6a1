"""Work trees that are attached while a test runs, and what a scan says beside the maps."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from live_trees import Work, build
from running import Done

from treering.cli.worker_client import worker_socket
from treering.store.repository import Repository
from treering.tracker.fuse.control import ask, socket_path
from treering.tracker.fuse.surroundings import mount_points_below, mounted_on
from treering.tracker.status import StatusScan

SOCKETS = Path("/run/treering")
"""Of root, who runs the tests."""


def some_files(work: Work) -> Work:
    """The work tree with some files, committed."""
    build(
        work.top,
        {
            "disk": bytes(range(256)) * 1024,
            "d/a": b"a",
            "d/e/b": b"b",
            "d/e/c": b"c",
            "gone/x": b"x",
            "n": b"n",
        },
    )
    os.symlink("d/a", work.top / "link")
    os.link(work.top / "n", work.top / "d" / "n2")
    work.commit("first")
    return work


def wait_until_off(top: Path) -> None:
    for _ in range(200):
        if mounted_on(top) is None and not mount_points_below(top):
            return
        time.sleep(0.05)
    raise AssertionError("still mounted")


def away(work: Work, *arguments: str, code: int = 0) -> Done:
    """Run a command on the tree from elsewhere."""
    return work("-C", str(work.top), *arguments, cwd=work.home, code=code)


@contextmanager
def attached(work: Work, *options: str) -> Iterator[Any]:
    """Attach; what that said. Whatever happens, nothing is mounted at the end."""
    try:
        yield away(work, "attach", "--json", *options).json
    finally:
        take_off(work.top)


def take_off(top: Path) -> None:
    """Unmount, and delete the sockets that a killed driver or worker leaves."""
    _unmount(top)
    socket = socket_path(SOCKETS, top)
    for path in (socket, worker_socket(socket)):
        path.unlink(missing_ok=True)


def _unmount(top: Path) -> None:
    for _ in range(4):
        if mounted_on(top) is None:
            return
        for path in (top / ".treering", top):
            subprocess.run(["umount", "-l", path], check=False, capture_output=True)


def driver(work: Work) -> dict[str, Any]:
    """What the driver says of itself."""
    return ask(socket_path(SOCKETS, work.top), "status")


def scanned(work: Work) -> tuple[dict[str, str], int]:
    """What a scan finds, and folders with new times only, whatever the maps say."""
    repository = Repository(work.top / ".treering")
    try:
        scan = StatusScan(repository, work.top)
        found = {item.path.decode(): str(item.what) for item in scan.items()}
        return found, scan.touched
    finally:
        repository.close()


def told(work: Work) -> tuple[dict[str, str], int]:
    """The same by the command, which asks the driver."""
    found = away(work, "status", "--json").json
    return {item["path"]: item["what"] for item in found["changes"]}, found["touched_folders"]
