"""Metadata of live files: from the file system into entries, and back.

Kept: type, permission bits, owner ids, mtime in nanoseconds, link target, device number, and the
xattrs that pass the filter: `user.*`, `security.capability`, POSIX ACLs, `trusted.*` for root, and
with `labels` everything else under `security.`. Not kept: atime, ctime, birth time, inode flags.
All functions work on (folder descriptor, name), so that no path is resolved twice and no symlink
followed. Thread-safe.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final, NamedTuple

import msgspec

from ..store.ids import NULL
from ..store.nodes import Entry, EntryKind, Extras

Xattrs = tuple[tuple[bytes, bytes], ...]

ACLS: Final = frozenset({b"system.posix_acl_access", b"system.posix_acl_default"})
NO_XATTRS: Final = frozenset(
    {errno.ENOTSUP, errno.ENODATA, errno.EPERM, errno.EACCES, errno.ENOENT}
)

KINDS: Final = {
    stat.S_IFREG: EntryKind.FILE,
    stat.S_IFDIR: EntryKind.FOLDER,
    stat.S_IFLNK: EntryKind.SYMLINK,
    stat.S_IFIFO: EntryKind.FIFO,
    stat.S_IFCHR: EntryKind.CHARACTER_DEVICE,
    stat.S_IFBLK: EntryKind.BLOCK_DEVICE,
}
"""By file type; sockets are missing: they mean nothing without their process."""


class Stat(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The fields of os.stat_result that we use, in a form that can travel."""

    st_mode: int
    st_ino: int
    st_nlink: int
    st_uid: int
    st_gid: int
    st_rdev: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int

    @staticmethod
    def of(info: StatLike, size: int) -> Stat:
        """A stat result, with the number of bytes that were read as its size."""
        return Stat(
            info.st_mode,
            info.st_ino,
            info.st_nlink,
            info.st_uid,
            info.st_gid,
            info.st_rdev,
            size,
            _kept_time(info.st_mtime_ns),
            _kept_time(info.st_ctime_ns),
        )


StatLike = os.stat_result | Stat


class Attributes(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is recorded of an object besides content and names. `target` is a symlink's."""

    info: Stat
    xattrs: Xattrs = ()
    target: bytes | None = None

    def kept(self, keep: XattrFilter) -> Xattrs:
        """Those of the xattrs that pass the filter."""
        return tuple((name, value) for name, value in self.xattrs if keep.keeps(name))


def _kept_time(ns: int) -> int:
    """The nearest time that an entry can have (years 1677 to 2554): some file systems go beyond."""
    return min(max(ns, -(1 << 63)), (1 << 64) - 1)


class XattrFilter(NamedTuple):
    """Which xattrs are kept: `root` adds trusted.*, `labels` the rest of security.*."""

    root: bool
    labels: bool = False

    def keeps(self, name: bytes) -> bool:
        if name.startswith(b"user.") or name in ACLS or name == b"security.capability":
            return True
        if name.startswith(b"trusted."):
            return self.root and not name.startswith(b"trusted.overlay.")
        return self.labels and name.startswith(b"security.")


def read_xattrs(target: int | str, keep: XattrFilter, *, follow: bool = False) -> Xattrs:
    """The kept xattrs of an open file, or of a path, sorted by name. `follow`: of what a link at
    the end of the path leads to."""
    follow = follow or isinstance(target, int)
    try:
        names = os.listxattr(target, follow_symlinks=follow)
    except OSError as error:
        if error.errno in NO_XATTRS:
            return ()
        raise
    if not names:
        return ()
    found = []
    for text in sorted(names, key=os.fsencode):
        name = os.fsencode(text)
        if keep.keeps(name):
            try:
                found.append((name, os.getxattr(target, text, follow_symlinks=follow)))
            except OSError as error:
                if error.errno not in NO_XATTRS:
                    raise
    return tuple(found)


def at(folder: int, name: bytes) -> str:
    """A path to `name` in an open folder, for calls that take no folder descriptor."""
    return f"/proc/self/fd/{folder}/{os.fsdecode(name)}"


def make_entry(name: bytes, info: StatLike, *, content: bytes = NULL, xattrs: Xattrs = ()) -> Entry:
    """The entry of a file, fifo or device; folders and symlinks have functions of their own."""
    kind = KINDS[stat.S_IFMT(info.st_mode)]
    device = info.st_rdev if kind in (EntryKind.CHARACTER_DEVICE, EntryKind.BLOCK_DEVICE) else None
    extras = Extras(xattrs, None, device) if xattrs or device is not None else None
    size = info.st_size if kind == EntryKind.FILE else 0
    return _entry(name, info, kind, size, 0, content, extras)


def symlink_entry(name: bytes, info: StatLike, target: bytes, xattrs: Xattrs) -> Entry:
    extras = Extras(xattrs, target)
    return _entry(name, info, EntryKind.SYMLINK, len(target), 0, NULL, extras)


def special_entry(folder: int, name: bytes, info: StatLike, keep: XattrFilter) -> Entry:
    """The entry of a symlink, fifo or device in an open folder. OSError."""
    target = os.readlink(name, dir_fd=folder) if stat.S_ISLNK(info.st_mode) else None
    xattrs = read_xattrs(at(folder, name), keep)
    if target is not None:
        return symlink_entry(name, info, target, xattrs)
    return make_entry(name, info, xattrs=xattrs)


def folder_entry(
    name: bytes, info: StatLike, xattrs: Xattrs, content: bytes, files: int, size: int
) -> Entry:
    extras = Extras(xattrs) if xattrs else None
    return _entry(name, info, EntryKind.FOLDER, size, files, content, extras)


def _entry(
    name: bytes,
    info: StatLike,
    kind: int,
    size: int,
    files: int,
    content: bytes,
    extras: Extras | None,
) -> Entry:
    return Entry(
        name,
        int(kind),
        stat.S_IMODE(info.st_mode),
        info.st_uid,
        info.st_gid,
        _kept_time(info.st_mtime_ns),
        size,
        files,
        content,
        extras,
    )
