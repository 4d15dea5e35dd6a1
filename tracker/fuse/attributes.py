"""Requests about attributes: stat, mode, owner, times, size, xattrs and ACLs."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress

from ..map_pair import MapPair
from . import protocol
from .guard import Guard, attribute_keys, descriptor_path, size_keys
from .inodes import Inode, InodeTable
from .protocol import SECOND, Request, SetAttr
from .session import Content, Deferred

CAPABILITY = b"security.capability"
ACL_ACCESS = b"system.posix_acl_access"


class AttributeRequests:
    def __init__(self, inodes: InodeTable, pair: MapPair, guard: Guard) -> None:
        self._inodes = inodes
        self._pair = pair
        self._guard = guard

    def getattr(self, request: Request) -> bytes:
        flags, _, handle = protocol.GETATTR_IN.unpack_from(request.body)
        if flags & protocol.GETATTR_FH:
            return attr_reply(os.fstat(handle))
        inode = self._inodes.get(request.node)
        return attr_reply(os.fstat(self._inodes.descriptor(inode)))

    def setattr(self, request: Request) -> Content | Deferred:
        fields = protocol.SETATTR_IN.unpack_from(request.body)
        valid, _, handle, size = fields[:4]
        inode = self._inodes.get(request.node)
        era = self._pair.active.era
        keys = attribute_keys(inode, era)
        if valid & SetAttr.SIZE:
            keys += size_keys(inode, min(size, self._size(inode)), era)

        def act(_request: Request) -> bytes:
            inode.recorder.touched(inode.serial)
            path = descriptor_path(self._inodes.descriptor(inode))
            if valid & SetAttr.SIZE:
                self._resize(inode, path, size, handle if valid & SetAttr.FH else -1)
            _set_mode_and_owner(path, SetAttr(valid), fields)
            if valid & SetAttr.MODE:
                inode.plain = False
            _set_times(path, SetAttr(valid), fields)
            return attr_reply(os.fstat(self._inodes.descriptor(inode)))

        return self._guard.change(request, keys, act, inode)

    def _resize(self, inode: Inode, path: bytes, size: int, handle: int) -> None:
        inode.recorder.resized(inode.serial, self._size(inode), size)
        if handle >= 0:
            os.ftruncate(handle, size)
        else:
            os.truncate(path, size)
        inode.size = size

    def _size(self, inode: Inode) -> int:
        """Of a regular file, which is only kept while it is open."""
        if not inode.files:
            inode.size = os.fstat(self._inodes.descriptor(inode)).st_size
        return inode.size

    def statfs(self, request: Request) -> bytes:
        found = os.statvfs(self._inodes.descriptor(self._inodes.get(request.node)))
        return protocol.STATFS_OUT.pack(
            found.f_blocks,
            found.f_bfree,
            found.f_bavail,
            found.f_files,
            found.f_ffree,
            found.f_bsize,
            found.f_namemax,
            found.f_frsize,
            0,
        )

    # -- xattrs ----------------------------------------------------------------------------------

    def getxattr(self, request: Request) -> bytes:
        size, _ = protocol.GETXATTR_IN.unpack_from(request.body)
        (name,) = protocol.names_of(request.body, protocol.GETXATTR_IN.size, 1)
        return _sized(os.getxattr(self._path(request), name), size)

    def listxattr(self, request: Request) -> bytes:
        size, _ = protocol.GETXATTR_IN.unpack_from(request.body)
        names = os.listxattr(self._path(request))
        return _sized(b"".join(os.fsencode(name) + b"\0" for name in names), size)

    def setxattr(self, request: Request) -> Content | Deferred:
        size, flags, more, _ = protocol.SETXATTR_IN.unpack_from(request.body)
        name, value = request.body[protocol.SETXATTR_IN.size :].split(b"\0", 1)

        def act(_request: Request) -> None:
            path = self._path(request)
            os.setxattr(path, name, value[:size], flags)
            if more & protocol.ACL_KILL_SGID:
                os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & ~stat.S_ISGID)

        return self._touch(request, act)

    def removexattr(self, request: Request) -> Content | Deferred:
        (name,) = protocol.names_of(request.body, 0, 1)
        return self._touch(request, lambda _: os.removexattr(self._path(request), name))

    def _touch(self, request: Request, act: Callable[[Request], None]) -> Content | Deferred:
        inode = self._inodes.get(request.node)

        def touched(request: Request) -> bytes:
            inode.recorder.touched(inode.serial)
            act(request)
            inode.plain = False
            return b""

        keys = attribute_keys(inode, self._pair.active.era)
        return self._guard.change(request, keys, touched)

    def _path(self, request: Request) -> bytes:
        return descriptor_path(self._inodes.descriptor(self._inodes.get(request.node)))


def attr_reply(info: os.stat_result) -> bytes:
    return protocol.ATTR_OUT.pack(protocol.FOREVER, 0, 0) + protocol.encode_attr(info)


def _sized(content: bytes, size: int) -> bytes:
    """An xattr reply: its length for who asks for that. OSError ERANGE where it does not fit."""
    if size == 0:
        return protocol.GETXATTR_OUT.pack(len(content), 0)
    if len(content) > size:
        raise OSError(errno.ERANGE, "the buffer is too small")
    return content


def _set_mode_and_owner(path: bytes, valid: SetAttr, fields: tuple[int, ...]) -> None:
    """Owner first: it takes set-ID bits away that a mode may give."""
    mode, uid, gid = fields[11], fields[13], fields[14]
    if valid & (SetAttr.UID | SetAttr.GID):
        os.chown(path, uid if valid & SetAttr.UID else -1, gid if valid & SetAttr.GID else -1)
        drop_privileges_of(path)
    elif valid & SetAttr.KILL_SUIDGID:
        drop_privileges_of(path)
    if valid & SetAttr.MODE:
        os.chmod(path, mode & 0o7777)


def _set_times(path: bytes, valid: SetAttr, fields: tuple[int, ...]) -> None:
    if not valid & (SetAttr.ATIME | SetAttr.MTIME):
        return
    atime, mtime, atime_ns, mtime_ns = fields[5], fields[6], fields[8], fields[9]
    before = os.stat(path)
    times = [before.st_atime_ns, before.st_mtime_ns]
    if valid & SetAttr.ATIME:
        times[0] = protocol.signed(atime) * SECOND + atime_ns
    if valid & SetAttr.MTIME:
        times[1] = protocol.signed(mtime) * SECOND + mtime_ns
    if valid & SetAttr.ATIME_NOW and valid & SetAttr.MTIME_NOW:
        os.utime(path)
        return
    os.utime(path, ns=(times[0], times[1]))


def drop_privileges(descriptor: int) -> None:
    drop_privileges_of(descriptor_path(descriptor))


def drop_privileges_of(path: bytes) -> None:
    """What a write or a new owner takes away: set-user-ID, set-group-ID of what the group may run,
    and capabilities. The kernel asks us to, for it does not know what we know of the file."""
    mode = stat.S_IMODE(os.stat(path).st_mode)
    kept = mode & ~stat.S_ISUID
    if mode & stat.S_IXGRP:
        kept &= ~stat.S_ISGID
    if kept != mode:
        os.chmod(path, kept)
    with suppress(OSError):
        os.removexattr(path, CAPABILITY)
