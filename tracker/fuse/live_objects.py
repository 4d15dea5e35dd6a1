"""The objects of an attached tree as they are now, by serial, for a commit and for who saves what
it wants: read below the mount, by way of what the inode table holds.
"""

from __future__ import annotations

import fcntl
import os
import stat
from typing import Final

from ..block_map import Serial
from ..metadata import Attributes, Stat, XattrFilter, read_xattrs
from .guard import descriptor_path
from .inodes import Inode, InodeTable

ALL_XATTRS: Final = XattrFilter(root=True, labels=True)
"""The commit knows which of them it keeps."""
FICLONE: Final = 0x40049409
READING: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class FileCopy:
    """The `Copy` of a `Swap`, open as `descriptor`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, offset)

    def close(self) -> None:
        os.close(self._descriptor)


class LiveObjects:
    """The `Objects` of a `Swap`. Any thread. OSError ESTALE for what is not known."""

    def __init__(self, inodes: InodeTable) -> None:
        self._inodes = inodes

    def read(self, serial: Serial, offset: int, length: int) -> bytes:
        descriptor = os.open(descriptor_path(self._descriptor(serial)), READING)
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    def attributes(self, serial: Serial) -> Attributes:
        descriptor = self._descriptor(serial)
        info = os.fstat(descriptor)
        is_link = stat.S_ISLNK(info.st_mode)
        target = os.readlink(b"", dir_fd=descriptor) if is_link else None
        path = os.fsdecode(descriptor_path(descriptor))
        xattrs = read_xattrs(path, ALL_XATTRS, follow=True)
        return Attributes(Stat.of(info, info.st_size), xattrs, target)

    def copied(self, serial: Serial) -> FileCopy | None:
        """By FICLONE, into a file without a name in the top folder: a name would be seen."""
        source = copy = -1
        try:
            source = os.open(descriptor_path(self._descriptor(serial)), READING)
            top = self._inodes.descriptor(self._inodes.top)
            copy = os.open(b".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=top)
            fcntl.ioctl(copy, FICLONE, source)
        except OSError:
            if copy >= 0:
                os.close(copy)
            return None
        finally:
            if source >= 0:
                os.close(source)
        return FileCopy(copy)

    def open(self, serial: Serial) -> int:
        """An O_PATH descriptor of the caller's own."""
        return os.dup(self._descriptor(serial))

    def find(self, serial: Serial) -> Inode | None:
        return self._inodes.find(serial)

    def by_number(self, number: int) -> Inode | None:
        """What has this inode number in the backing, if it is known."""
        return self._inodes.known(number)

    def _descriptor(self, serial: Serial) -> int:
        return self._inodes.descriptor(self._inodes.get(serial))
