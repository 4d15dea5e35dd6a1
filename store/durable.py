"""Writing files so that they survive a power cut: write aside, fsync, rename, fsync the folder.

Assumed of the disk and file system: rename within a folder is atomic, and what fsync returned for
is kept. A crash before the rename leaves a file under a name that nothing refers to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path


def fsync_folder(path: Path) -> None:
    """Make the names in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(top: Path) -> None:
    """Make everything at and below a folder durable, but not its own name."""
    for folder, _, names in os.walk(top, topdown=False):
        for name in names:
            descriptor = os.open(Path(folder, name), os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        fsync_folder(Path(folder))


def start_writing_back(descriptor: int, offset: int, length: int) -> None:
    """Let the kernel begin to write out what was written there, so that a later fsync has little to
    wait for. A hint: Linux starts the pages that are dirty, and drops only those that are not."""
    if sys.platform == "linux":
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put `content` at `path` at once: a reader, or a crash, sees the old file or the new one."""
    aside = path.with_name(path.name + ".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    aside.rename(path)
    fsync_folder(path.parent)


def write_all(descriptor: int, content: bytes | bytearray | memoryview) -> None:
    """Write all of `content` at the descriptor's position, through short writes."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def pwritev_all(descriptor: int, contents: Sequence[bytes], offset: int) -> None:
    """Write these one behind the other from `offset` on, with one call where that takes all; at
    most 1,024 of them."""
    written = os.pwritev(descriptor, contents, offset)
    for content in contents:
        if written < len(content):
            pwrite_all(descriptor, memoryview(content)[written:], offset + written)
        offset += len(content)
        written = max(0, written - len(content))


def pwrite_all(descriptor: int, content: bytes | memoryview, offset: int) -> None:
    """Write all of `content` at `offset`, through short writes."""
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written
