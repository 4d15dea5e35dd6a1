"""System calls that the standard library does not have, through the C library."""

from __future__ import annotations

import ctypes
import os
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)
AT_FDCWD: Final = -100
AT_SYMLINK_FOLLOW: Final = 0x400
MNT_DETACH: Final = 2
MS_NOATIME, MS_BIND = 1024, 4096


def _checked(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def mount(source: str, target: bytes, kind: str, flags: int, options: str = "") -> None:
    """mount(2). OSError."""
    _checked(_libc.mount(source.encode(), target, kind.encode(), flags, options.encode()))


def unmount(target: bytes, *, lazy: bool = False) -> None:
    """umount2(2). OSError, EBUSY while somebody uses it and it is not lazy."""
    _checked(_libc.umount2(target, MNT_DETACH if lazy else 0))


def rename(folder: int, name: bytes, into: int, new: bytes, flags: int) -> None:
    """renameat2(2), with RENAME_NOREPLACE and the like. OSError."""
    _checked(_libc.renameat2(folder, name, into, new, ctypes.c_uint(flags)))


def link(descriptor: int, folder: int, name: bytes) -> None:
    """A new name for what is open as `descriptor`, be it that it has none (O_TMPFILE). OSError."""
    path = b"/proc/self/fd/%d" % descriptor
    _checked(_libc.linkat(AT_FDCWD, path, folder, name, AT_SYMLINK_FOLLOW))


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2), with holes and the like. OSError."""
    result = _libc.fallocate(descriptor, mode, ctypes.c_int64(offset), ctypes.c_int64(length))
    _checked(result)
