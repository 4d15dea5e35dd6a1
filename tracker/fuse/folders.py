"""Requests about listing folders. A handle's names are read once, when it is at the start.

The kernel keeps what it was told, and asks again when a name of the folder changed: all changes of
names come by way of it.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import Final

from . import protocol
from .guard import descriptor_path
from .inodes import Inode, InodeTable
from .names import entry
from .protocol import OpenReply, Request
from .session import Deferred, Session

DT_UNKNOWN, DT_DIR, DT_REG, DT_LNK = 0, 4, 8, 10
DOTS: Final = 2
OPENED: Final = OpenReply.CACHE_DIR | OpenReply.KEEP_CACHE


@dataclass(eq=False, slots=True)
class OpenFolder:
    """`names`: (name, inode number, kind as in d_type), without the dots."""

    inode: Inode
    descriptor: int
    names: list[tuple[bytes, int, int]] = field(default_factory=list)


class FolderRequests:
    """An open folder's handle is its descriptor here."""

    def __init__(self, inodes: InodeTable, session: Session) -> None:
        self._inodes = inodes
        self._session = session
        self._folders: dict[int, OpenFolder] = {}

    def opendir(self, request: Request) -> bytes:
        inode = self._inodes.get(request.node)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        known = self._inodes.descriptor(inode)
        try:
            descriptor = os.open(b".", flags, dir_fd=known)
        except PermissionError:  # one may list a folder that one may not enter
            descriptor = os.open(descriptor_path(known), flags)
        self._folders[descriptor] = OpenFolder(inode, descriptor)
        inode.files += 1
        return protocol.OPEN_OUT.pack(descriptor, OPENED, 0)

    def releasedir(self, request: Request) -> bytes:
        handle, *_ = protocol.RELEASE_IN.unpack_from(request.body)
        folder = self._folders.pop(handle)
        os.close(folder.descriptor)
        folder.inode.files -= 1
        if not folder.inode.files:
            self._inodes.release(folder.inode)
        return b""

    def fsyncdir(self, request: Request) -> Deferred:
        handle, *_ = protocol.FSYNC_IN.unpack_from(request.body)
        return self._session.sync(request, self._folder(handle).descriptor)

    def readdir(self, request: Request) -> bytes:
        return self._list(request, plus=False)

    def readdirplus(self, request: Request) -> bytes:
        return self._list(request, plus=True)

    def _folder(self, handle: int) -> OpenFolder:
        folder = self._folders.get(handle)
        if folder is None:
            raise OSError(errno.EBADF, "no such handle")
        return folder

    def _list(self, request: Request, *, plus: bool) -> bytes:
        handle, offset, size, *_ = protocol.READ_IN.unpack_from(request.body)
        folder = self._folder(handle)
        if offset == 0:
            folder.names = _read(folder)
        out = bytearray()
        room = size - (protocol.ENTRY.size + protocol.ATTR.size if plus else 0)
        while offset < len(folder.names):
            name, number, kind = folder.names[offset]
            found = protocol.encode_dirent(number, offset + 1, kind, name)
            if len(out) + len(found) > room:
                break
            if plus:
                out += self._entry(folder.inode, name, offset < DOTS)
            out += found
            offset += 1
        return bytes(out)

    def _entry(self, folder: Inode, name: bytes, dots: bool) -> bytes:
        """The look-up that comes along; none for dots, and for what is gone."""
        nothing = bytes(protocol.ENTRY.size + protocol.ATTR.size)
        if dots:
            return nothing
        try:
            return entry(*self._inodes.look_up(folder, name))
        except OSError:
            return nothing


def _read(folder: OpenFolder) -> list[tuple[bytes, int, int]]:
    number = folder.inode.number
    names = [(b".", number, DT_DIR), (b"..", number, DT_DIR)]
    with os.scandir(folder.descriptor) as found:
        for each in found:
            names.append((os.fsencode(each.name), each.inode(), _kind(each)))
    return names


def _kind(each: os.DirEntry[str]) -> int:
    """As d_type has it; 0 for what a stat must tell."""
    if each.is_symlink():
        return DT_LNK
    if each.is_dir(follow_symlinks=False):
        return DT_DIR
    return DT_REG if each.is_file(follow_symlinks=False) else DT_UNKNOWN
