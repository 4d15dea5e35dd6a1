"""What was changed in a live tree, to be made durable.

One syncfs does that for any number of files, but waits for all that anybody has written to the file
system: beside a busy neighbour that is seconds, for a change of one file. So few files and folders
are synced one by one. Used by one thread, when all is written.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from ..store.repository import Repository
from .live_top import sync_tree
from .scan import FOLDER_FLAGS

FEW: Final = 16
FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Touched:
    """Paths below `top`, the repository's tree, of files that were written, and of folders whose
    names or metadata were."""

    def __init__(self, repository: Repository, top: Path) -> None:
        self._repository = repository
        self._top = top
        self._paths: set[bytes] = set()
        self._many = False

    def add(self, path: bytes) -> None:
        """A file or folder; the top is empty."""
        if not self._many:
            self._paths.add(path)
            self._many = len(self._paths) > FEW

    def add_other(self) -> None:
        """Something that cannot be opened to be synced, such as a symlink."""
        self._many = True

    def sync(self) -> None:
        """Make all of it durable. OSError where the disk refuses."""
        if self._many or not self._sync_each():
            sync_tree(self._repository, self._top)

    def _sync_each(self) -> bool:
        """False where one is not to be opened, or is not what it was."""
        top = os.open(self._top, FOLDER_FLAGS)
        try:
            return all(_sync(top, path) for path in sorted(self._paths))
        finally:
            os.close(top)


def _sync(top: int, path: bytes) -> bool:
    try:
        descriptor = os.open(path or b".", FLAGS, dir_fd=top)
    except OSError:
        return False
    try:
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR):
            return False
        os.fsync(descriptor)
        return True
    finally:
        os.close(descriptor)
