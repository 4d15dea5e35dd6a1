"""Writes into a large new file that go past the page cache (O_DIRECT).

A file that is larger than what a cache is good for would push everything else out of it, and the
copy into fresh pages costs more than the disk takes: measured in docs/performance.md. What cannot
go that way - an unaligned end, a file system without direct writes - goes the usual way, through
the descriptor that the file was made with; the kernel keeps the two coherent.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Sequence
from typing import Final

from ..store.durable import pwrite_all, pwritev_all

ALIGNMENT: Final = 4096
"""Of offsets, lengths and memory: what disks ask for, or a multiple of it."""
BUFFER: Final = 4 << 20


class DirectWrites:
    """Writes into the new file `name` in an open folder, also open as `descriptor`. The calls may
    come from several threads."""

    def __init__(self, folder: int, name: bytes, descriptor: int) -> None:
        self._cached = descriptor
        self._direct = _open(folder, name, descriptor)
        self._local = threading.local()

    def close(self) -> None:
        if self._direct >= 0:
            os.close(self._direct)

    def write(self, contents: Sequence[bytes], offset: int) -> None:
        """Write these one behind the other from `offset` on. Two calls that run at the same time
        must not share a page."""
        if self._direct < 0 or offset % ALIGNMENT:
            pwritev_all(self._cached, contents, offset)
            return
        buffer, filled = self._buffer(), 0
        for content in contents:
            view = memoryview(content)
            while view:
                taken = min(len(view), BUFFER - filled)
                buffer[filled : filled + taken] = view[:taken]
                view, filled = view[taken:], filled + taken
                if filled == BUFFER:
                    self._put(buffer, offset)
                    offset, filled = offset + BUFFER, 0
        self._put(buffer[:filled], offset)

    def _buffer(self) -> memoryview:
        """This thread's own, aligned as every mapping is."""
        try:
            buffer: memoryview = self._local.buffer
        except AttributeError:
            buffer = self._local.buffer = memoryview(mmap.mmap(-1, BUFFER))
        return buffer

    def _put(self, content: memoryview, offset: int) -> None:
        whole = len(content) // ALIGNMENT * ALIGNMENT
        done = 0
        while done < whole:
            try:
                done += os.pwrite(self._direct, content[done:whole], offset + done)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                break  # it wants another alignment than ours
        pwrite_all(self._cached, content[done:], offset + done)


def _open(folder: int, name: bytes, descriptor: int) -> int:
    """The same file for direct writes; -1 where there are none."""
    try:
        direct = os.open(
            name, os.O_WRONLY | os.O_DIRECT | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder
        )
    except OSError:
        return -1
    if os.path.sameopenfile(direct, descriptor):
        return direct
    os.close(direct)
    return -1
