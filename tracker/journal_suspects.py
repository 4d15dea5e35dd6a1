"""What the change journals of a killed driver tell the next scan: of a changed file, which of its
blocks may differ from the base root.

Only of files that lie where the base has them: where a name of a folder on the way may have
changed, a file is read whole.
"""

from __future__ import annotations

import os
from pathlib import Path

from pyroaring import BitMap64

from ..store.errors import Corrupt, StorageError
from .attached import ATTACHED
from .fuse.guard import file_handle
from .fuse.inodes import FLAGS
from .heartbeat import last_beat
from .recovery import Identity, Recovery, recover


class JournalSuspects:
    """Of the tree that is open as `backing`, whose driver left its journals in `folder`, relative
    to the root `base` (hex, None where they cannot be believed). Made before the next driver is
    started."""

    def __init__(self, folder: Path, backing: int, block_size: int) -> None:
        self._backing = backing
        self._block_size = block_size
        self._folders: dict[bytes, bool] = {}
        self._until = 0
        self._recovery = Recovery(everywhere=True)
        self.base: str | None = None
        try:
            mark = ATTACHED.read(folder)
            if mark is not None and not mark.clean:
                self._until = last_beat(folder) or 0
                self._recovery = recover(folder / "journal")
                self.base = mark.base
        except (Corrupt, StorageError, OSError):
            return

    def suspects(self, path: bytes, info: os.stat_result, _base_size: int) -> BitMap64 | None:
        """The blocks of a file that may differ from the base's; None if any may."""
        if self._recovery.everywhere or info.st_ctime_ns >= self._until:
            return None
        above = path.split(b"/")[:-1]
        if any(self._may_hold_others(b"/".join(above[:depth])) for depth in range(len(above) + 1)):
            return None
        identity = self._identity(path, info.st_ino)
        if identity is None:
            return None
        found = self._recovery.objects.get(identity)
        return found.blocks(info.st_size, self._block_size) if found else BitMap64()

    def _may_hold_others(self, folder: bytes) -> bool:
        """Whether a name of a folder may have changed."""
        if folder not in self._folders:
            identity = self._identity(folder or b".")
            found = self._recovery.objects.get(identity) if identity else None
            self._folders[folder] = identity is None or (found is not None and found.names)
        return self._folders[folder]

    def _identity(self, path: bytes, number: int | None = None) -> Identity | None:
        """As the journals name it; None if that is not what is meant, or has no handle."""
        try:
            descriptor = os.open(path, FLAGS, dir_fd=self._backing)
        except OSError:
            return None
        try:
            if number not in (None, os.fstat(descriptor).st_ino):
                return None
            kind, handle = file_handle(descriptor)
        finally:
            os.close(descriptor)
        return (kind, handle) if handle else None
