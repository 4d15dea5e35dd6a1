"""Putting things on disk: special files, holes and metadata.

Everything works on an open folder and a name, never on a path, and never follows a symlink. What
the user may not set (owners, some xattrs) comes back as a `Note` for `tracker.unrestored`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..store.durable import pwrite_all
from ..store.nodes import Entry, EntryKind
from .folder_chain import folders_below
from .ignore import NO_RULES, IgnoreRules, read_rules
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


def sync_file_system(descriptor: int) -> None:
    """Make everything written to the file system of an open folder durable: one call for any number
    of files. OSError where the disk refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def make_special(folder: int, entry: Entry) -> None:
    """Create a symlink, fifo or device; OSError when the user may not."""
    if entry.kind == EntryKind.SYMLINK:
        os.symlink(entry.more.target or b"", entry.name, dir_fd=folder)
    else:
        kind = TYPES[EntryKind(entry.kind)]
        os.mknod(entry.name, kind | 0o600, entry.more.device or 0, dir_fd=folder)


@dataclass(eq=False, slots=True)
class _Doomed:
    """A folder whose content is being deleted: what is left of its names, and whether all that was
    in it so far is gone."""

    descriptor: int
    name: bytes
    path: bytes
    rules: IgnoreRules
    names: list[bytes]
    empty: bool = True


def remove(folder: int, name: bytes, path: bytes = b"", rules: IgnoreRules = NO_RULES) -> bool:
    """Delete a name, and what is below it if it is a folder, except for what is ignored, mounted
    or a repository of its own; whether nothing of it is left. `path` is the name's path from the
    top and `rules` those in force there. Not recursive: a tree may be deeper than the stack."""
    info = _lstat(folder, name)
    if info is None:
        return True
    if not stat.S_ISDIR(info.st_mode):
        os.unlink(name, dir_fd=folder)
        return True
    device = os.fstat(folder).st_dev
    if is_foreign(folder, name, info, device):
        return False
    stack = [_doom(folder, name, path + b"/", rules)]
    try:
        while stack:
            last = stack[-1]
            if last.names:
                below = _remove_below(last, last.names.pop(), device)
                if below is not None:
                    stack.append(below)
                continue
            stack.pop()
            os.close(last.descriptor)
            if last.empty:
                os.rmdir(last.name, dir_fd=stack[-1].descriptor if stack else folder)
            elif stack:
                stack[-1].empty = False
        return last.empty
    finally:
        for doomed in stack:
            os.close(doomed.descriptor)


def _doom(parent: int, name: bytes, path: bytes, rules: IgnoreRules) -> _Doomed:
    descriptor = open_own_folder(parent, name)
    names = [os.fsencode(text) for text in os.listdir(descriptor)]
    return _Doomed(descriptor, name, path, rules_in(rules, descriptor, path), names)


def _remove_below(folder: _Doomed, name: bytes, device: int) -> _Doomed | None:
    """Delete one name of a folder, or return it if it is a folder to go through first."""
    info = _lstat(folder.descriptor, name)
    if info is None:
        return None
    path, is_folder = folder.path + name, stat.S_ISDIR(info.st_mode)
    if folder.rules and folder.rules.excludes(path, is_folder):
        folder.empty = False
    elif not is_folder:
        os.unlink(name, dir_fd=folder.descriptor)
    elif is_foreign(folder.descriptor, name, info, device):
        folder.empty = False
    else:
        return _doom(folder.descriptor, name, path + b"/", folder.rules)
    return None


def _lstat(folder: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def open_own_folder(parent: int, name: bytes) -> int:
    """Open a folder in which names are to be changed; its owner gets the right to do so."""
    if os.geteuid() != 0:
        handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            mode = stat.S_IMODE(os.fstat(handle).st_mode)
            if mode & 0o700 != 0o700:
                os.chmod(f"/proc/self/fd/{handle}", mode | 0o700)
        except PermissionError:
            pass  # somebody else's
        finally:
            os.close(handle)
    return os.open(name, FOLDER_FLAGS, dir_fd=parent)


def rules_in(rules: IgnoreRules, descriptor: int, path: bytes) -> IgnoreRules:
    """The rules in an open folder (empty path, or ending in a slash): those above and its own."""
    try:
        text = read_rules(descriptor)
    except OSError:
        return rules
    return rules.below(path, text) if text else rules


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
    parent, _, last = first.rpartition(b"/")
    with folders_below(top) as chain:
        above = chain.reach(parent)
        goal = os.stat(last, dir_fd=above, follow_symlinks=False)
        made = not _is_inode(folder, name, goal.st_ino)
        if made:
            remove(folder, name)
            os.link(last, name, src_dir_fd=above, dst_dir_fd=folder, follow_symlinks=False)
    return file_signature(os.stat(name, dir_fd=folder, follow_symlinks=False)), made


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
    info = _stat(folder, entry, descriptor)
    owned = _own(folder, entry, info, descriptor)
    target: int | str = descriptor if descriptor is not None else at(folder, entry.name)
    # Also after a change of owner, which clears the set-id bits.
    other = _owner_differs(info, entry) or stat.S_IMODE(info.st_mode) != entry.mode
    if other and entry.kind != EntryKind.SYMLINK:
        os.chmod(target, entry.mode)
    missing = _set_xattrs(target, entry, keep)
    if info.st_mtime_ns != entry.mtime_ns or descriptor is not None:
        times = (info.st_atime_ns, entry.mtime_ns)
        if descriptor is not None:
            os.utime(descriptor, ns=times)
        else:
            os.utime(entry.name, ns=times, dir_fd=folder, follow_symlinks=False)
    if owned and not missing:
        return None
    now = _stat(folder, entry, descriptor)
    return Note(now.st_uid, now.st_gid, entry.uid, entry.gid, missing)


def _stat(folder: int, entry: Entry, descriptor: int | None) -> os.stat_result:
    """Through the descriptor where there is one: it needs no look-up of the name."""
    if descriptor is not None:
        return os.fstat(descriptor)
    return os.stat(entry.name, dir_fd=folder, follow_symlinks=False)


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
