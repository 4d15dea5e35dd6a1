"""Folders of a tree, reached name by name: no symlink is followed, and no path is too long."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FolderChain:
    """Below the folder open as `top`, which is not closed here. Those on the way to the last one
    stay open, so that paths in order cost little. Used by one thread, in a `with`."""

    def __init__(self, top: int) -> None:
        self._opened: list[tuple[bytes, int]] = [(b"", top)]

    def __enter__(self) -> FolderChain:
        return self

    def __exit__(self, *_error: object) -> None:
        self._shorten(1)

    def reach(self, folder: bytes) -> int:
        """An O_PATH descriptor of a folder by its path, empty for the top; good until the next
        call. OSError: NotADirectoryError for a symlink, too."""
        names = folder.split(b"/") if folder else []
        kept = 1
        while kept <= len(names) and kept < len(self._opened):
            if self._opened[kept][0] != names[kept - 1]:
                break
            kept += 1
        self._shorten(kept)
        for name in names[kept - 1 :]:
            above = self._opened[-1][1]
            self._opened.append((name, os.open(name, FLAGS, dir_fd=above)))
        return self._opened[-1][1]

    def _shorten(self, length: int) -> None:
        while len(self._opened) > length:
            os.close(self._opened.pop()[1])


@contextmanager
def folders_below(top: Path) -> Iterator[FolderChain]:
    """A chain below a folder by its path. OSError."""
    descriptor = os.open(top, FLAGS)
    try:
        with FolderChain(descriptor) as chain:
            yield chain
    finally:
        os.close(descriptor)
