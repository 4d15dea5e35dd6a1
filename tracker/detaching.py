"""Detaching a work tree, also one whose driver is no more."""

from __future__ import annotations

import errno
import os
import select
from contextlib import suppress
from pathlib import Path

from ..store.errors import DriverError, InvalidInput, storage_error
from .attached import ATTACHED
from .fuse import mount
from .fuse.control import SECONDS, ask
from .fuse.surroundings import mounted_on


def mounted_top(place: Path) -> Path:
    """The attached tree that a folder lies in, by the table of mounts alone. InvalidInput."""
    for folder in (place, *place.parents):
        there = mounted_on(folder)
        if there is not None and there.kind == mount.KIND:
            return folder
    raise InvalidInput(f"{place} is not attached")


def is_served(top: Path) -> bool:
    """Whether somebody answers for the mount. What the kernel remembers of it is not asked for."""
    try:
        os.listxattr(top)
    except OSError as error:
        return error.errno not in (errno.ENOTCONN, errno.ECONNABORTED)
    return True


def clear_away(top: Path) -> None:
    """Take off a dead mount, and what is bound into it. StorageError."""
    try:
        with suppress(OSError):
            mount.unmount(top / ".treering", lazy=True)
        mount.unmount(top, lazy=True)
    except OSError as error:
        raise storage_error(f"unmounting {top}", error) from error


def detach(repository: Path, top: Path, *, force: bool, wait: float) -> None:
    """Ask the driver to end, and wait until its process has, so that nothing of it keeps the file
    system below busy. Conflict while others use the tree. Forced, it ends when they do."""
    mark = ATTACHED.read(repository / "tracker")
    if mark is None:
        raise DriverError(f"{top} is not attached from this repository")
    socket = Path(mark.socket)
    process = os.pidfd_open(ask(socket, "status")["pid"])
    try:
        ask(socket, "detach", seconds=wait + SECONDS, force=force, wait=wait)
        if not force:
            select.select([process], [], [], SECONDS)
    finally:
        os.close(process)
