"""The top folder of a work tree, opened for reading.

Where a driver is mounted over the tree it is the folder below the mount, which the driver hands
over: what is read there costs no request, is never older than what is on the disk, and is known to
the state of the scan as it was before the tree was attached. What is written goes to the mount.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..store.errors import storage_error
from ..store.repository import Repository
from .attached import attachment
from .placing import sync_file_system
from .scan import FOLDER_FLAGS
from .scan_state import ScanState


@contextmanager
def live_top(repository: Repository, top: Path, *, barrier: bool = False) -> Iterator[int]:
    """The open folder of the repository's tree at `top`. With a `barrier` what programs stored
    through mappings until now is in it; they read their mappings anew then. StorageError;
    DriverError where a driver answers, but not this."""
    attached = attachment(repository)
    if attached is not None:
        descriptor = attached.backing(barrier=barrier)
    else:
        try:
            descriptor = os.open(top, FOLDER_FLAGS)
        except OSError as error:
            raise storage_error(f"opening {top}", error) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def scan_state(repository: Repository, top: Path) -> ScanState:
    """The state of the scan of the repository's tree, attached or not."""
    with live_top(repository, top) as descriptor:
        return ScanState(repository.catalog, descriptor)


def sync_tree(repository: Repository, top: Path) -> None:
    """Make all that was written to the tree durable: a mount of a driver's would do nothing of
    that. OSError where the disk refuses."""
    with live_top(repository, top) as descriptor:
        sync_file_system(descriptor)
