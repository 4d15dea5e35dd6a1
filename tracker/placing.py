"""Putting things on disk: special files, holes and metadata.

Everything works on an open folder and a name, never on a path, and never follows a symlink. What
the user may not set (owners, some xattrs) comes back as a `Note` for `tracker.unrestored`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from pathlib import Path
from typing import Final

from ..store.durable import pwrite_all
from ..store.nodes import Entry, EntryKind
from .metadata import NO_XATTRS, XattrFilter, at, read_xattrs
from .scan import FOLDER_FLAGS, RESERVED
from .scan_state import file_signature
from .unrestored import Note

REFUSED: Final = frozenset({errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL})
PUNCH_HOLE: Final = 0x02 | 0x01
"""FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE"""
TYPES: Final = {
    EntryKind.FIFO: stat.S_IFIFO,
    EntryKind.CHARACTER_DEVICE: stat.S_IFCHR,
    EntryKind.BLOCK_DEVICE: stat.S_IFBLK,
}


def punch(descriptor: int, offset: int, length: int) -> None:
    """Make a range of a file a hole, or zeros where the file system knows no holes."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.fallocate(descriptor, PUNCH_HOLE, ctypes.c_int64(offset), ctypes.c_int64(length))
    if result == 0:
        return
    number = ctypes.get_errno()
    if number not in (errno.EOPNOTSUPP, errno.ENOSYS):
        raise OSError(number, os.strerror(number))
    pwrite_all(descriptor, bytes(length), offset)


def make_special(folder: int, entry: Entry) -> None:
    """Create a symlink, fifo or device; OSError when the user may not."""
    if entry.kind == EntryKind.SYMLINK:
        os.symlink(entry.more.target or b"", entry.name, dir_fd=folder)
    else:
        kind = TYPES[EntryKind(entry.kind)]
        os.mknod(entry.name, kind | 0o600, entry.more.device or 0, dir_fd=folder)


def remove(folder: int, name: bytes) -> None:
    """Delete a name, and all below it if it is a folder; nothing happens when it is gone."""
    try:
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            shutil.rmtree(name, dir_fd=folder)
        else:
            os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass


def is_foreign(folder: int, name: bytes, info: os.stat_result, device: int) -> bool:
    """Whether a folder is a mount point or a repository of its own: never deleted."""
    if info.st_dev != device:
        return True
    try:
        os.stat(name + b"/" + RESERVED, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def make_link(top: Path, first: bytes, folder: int, name: bytes) -> tuple[bytes, bool]:
    """Make `name` a hard link to the path `first` below `top`, if it is none yet: its signature,
    and whether it was made."""
    above = os.open(top, FOLDER_FLAGS)
    try:
        *components, last = first.split(b"/")
        for component in components:
            below = os.open(component, FOLDER_FLAGS, dir_fd=above)
            os.close(above)
            above = below
        goal = os.stat(last, dir_fd=above, follow_symlinks=False)
        made = not _is_inode(folder, name, goal.st_ino)
        if made:
            remove(folder, name)
            os.link(last, name, src_dir_fd=above, dst_dir_fd=folder, follow_symlinks=False)
        return file_signature(os.stat(name, dir_fd=folder, follow_symlinks=False)), made
    finally:
        os.close(above)


def _is_inode(folder: int, name: bytes, inode: int) -> bool:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino == inode
    except FileNotFoundError:
        return False


def apply_metadata(
    folder: int, entry: Entry, keep: XattrFilter, descriptor: int | None = None
) -> Note | None:
    """Give an existing file its owner, mode, xattrs and times, changing only what differs; through
    `descriptor` where it is open. A note of what was refused, or None."""
    info = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
    owned = _own(folder, entry, info, descriptor)
    target: int | str = descriptor if descriptor is not None else at(folder, entry.name)
    # Also after a change of owner, which clears the set-id bits.
    other = _owner_differs(info, entry) or stat.S_IMODE(info.st_mode) != entry.mode
    if other and entry.kind != EntryKind.SYMLINK:
        os.chmod(target, entry.mode)
    missing = _set_xattrs(target, entry, keep)
    if info.st_mtime_ns != entry.mtime_ns or descriptor is not None:
        times = (info.st_atime_ns, entry.mtime_ns)
        os.utime(entry.name, ns=times, dir_fd=folder, follow_symlinks=False)
    if owned and not missing:
        return None
    now = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
    return Note(now.st_uid, now.st_gid, entry.uid, entry.gid, missing)


def _owner_differs(info: os.stat_result, entry: Entry) -> bool:
    return (info.st_uid, info.st_gid) != (entry.uid, entry.gid)


def _own(folder: int, entry: Entry, info: os.stat_result, descriptor: int | None) -> bool:
    """Whether the file has its owner and group now."""
    if not _owner_differs(info, entry):
        return True
    try:
        if descriptor is not None:
            os.fchown(descriptor, entry.uid, entry.gid)
        else:
            os.chown(entry.name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        return False
    return True


def _set_xattrs(
    target: int | str, entry: Entry, keep: XattrFilter
) -> tuple[tuple[bytes, bytes], ...]:
    """Set what differs and remove what is too much; the xattrs that were refused."""
    follow = isinstance(target, int)
    present = dict(read_xattrs(target, keep))
    wanted = dict(entry.more.xattrs)
    missing = []
    for name in present.keys() - wanted.keys():
        try:
            os.removexattr(target, name, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in NO_XATTRS | REFUSED:
                raise
    for name, value in wanted.items():
        if present.get(name) != value:
            try:
                os.setxattr(target, name, value, follow_symlinks=follow)
            except OSError as error:
                if error.errno not in REFUSED:
                    raise
                missing.append((name, value))
    return tuple(missing)
