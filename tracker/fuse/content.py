"""Requests about content: opening, reading, writing, allocating, copying.

Everything but a plain read is told to the inode's recorder before it is done, with its exact bytes:
files are opened for direct I/O, so that a write(2) comes as it was called, up to 1 MiB at a time,
and only the pages of shared mappings come when the kernel likes. The page cache that counts is the
backing file's.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..map_pair import MapPair
from . import protocol, syscalls
from .attributes import drop_privileges
from .guard import Guard, content_keys, descriptor_path, name_keys, size_keys
from .inodes import Inode, InodeTable
from .names import NameRequests, check_name, entry
from .protocol import OpenReply, Request
from .session import Content, Deferred, Session

OPENED: Final = OpenReply.DIRECT_IO | OpenReply.PARALLEL_DIRECT_WRITES
DROPPED: Final = os.O_DIRECT | os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_TRUNC
"""Of the caller's flags: the kernel has acted on them, or we do. The kernel says where an append
goes, so that we know what it changes."""
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16


@dataclass(eq=False, slots=True)
class OpenFile:
    inode: Inode
    descriptor: int
    writable: bool


class ContentRequests:
    """An open file's handle is its descriptor here."""

    def __init__(
        self,
        inodes: InodeTable,
        pair: MapPair,
        guard: Guard,
        session: Session,
        names: NameRequests,
    ) -> None:
        self._inodes = inodes
        self._pair = pair
        self._guard = guard
        self._session = session
        self._names = names
        self.files: dict[int, OpenFile] = {}

    # -- opening ---------------------------------------------------------------------------------

    def open(self, request: Request) -> Content | Deferred:
        flags, more = protocol.OPEN_IN.unpack_from(request.body)
        inode = self._inodes.get(request.node)
        if not flags & os.O_TRUNC:
            return self._open(inode, flags, more)
        return self._guard.change(
            request,
            size_keys(inode, 0, self._pair.active.era),
            lambda _request: self._open(inode, flags, more),
            inode,
        )

    def _open(self, inode: Inode, flags: int, more: int) -> bytes:
        path = descriptor_path(self._inodes.descriptor(inode))
        descriptor = os.open(path, flags & ~DROPPED | os.O_CLOEXEC)
        try:
            info = os.fstat(descriptor)
            if not inode.files:
                inode.size = info.st_size
            if flags & os.O_TRUNC and stat.S_ISREG(info.st_mode):
                inode.recorder.resized(inode.serial, inode.size, 0)
                inode.recorder.touched(inode.serial)
                os.ftruncate(descriptor, 0)
                inode.size = 0
            if more & protocol.OPEN_KILL_SUIDGID:
                drop_privileges(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return self._opened(inode, descriptor, flags)

    def _opened(self, inode: Inode, descriptor: int, flags: int) -> bytes:
        inode.files += 1
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        self.files[descriptor] = OpenFile(inode, descriptor, writable)
        return protocol.OPEN_OUT.pack(descriptor, OPENED, 0)

    def create(self, request: Request) -> Content | Deferred:
        flags, mode, umask, _ = protocol.CREATE_IN.unpack_from(request.body)
        (name,) = protocol.names_of(request.body, protocol.CREATE_IN.size, 1)
        parent = self._inodes.get(request.node)
        check_name(parent, name)

        def act(request: Request) -> bytes:
            opening = flags & ~DROPPED | flags & os.O_EXCL | os.O_CLOEXEC
            descriptor, inode, info = self._names.make_file(
                request, parent, name, opening, mode, umask
            )
            if flags & os.O_TRUNC and info.st_size:  # another had made it meanwhile
                self._guard.cover(size_keys(inode, 0, self._pair.active.era))
                inode.recorder.resized(inode.serial, info.st_size, 0)
                os.ftruncate(descriptor, 0)
                info = os.fstat(descriptor)
            inode.size = info.st_size
            return entry(inode, info) + self._opened(inode, descriptor, flags)

        return self._guard.change(request, name_keys(parent), act)

    def tmpfile(self, request: Request) -> Content | Deferred:
        flags, mode, umask, _ = protocol.CREATE_IN.unpack_from(request.body)
        parent = self._inodes.get(request.node)
        opening = flags & ~(DROPPED | os.O_DIRECTORY) | os.O_CLOEXEC
        descriptor, inode, info = self._names.make_nameless(request, parent, opening, mode, umask)
        return entry(inode, info) + self._opened(inode, descriptor, flags)

    def release(self, request: Request) -> bytes:
        handle, _, _, _ = protocol.RELEASE_IN.unpack_from(request.body)
        file = self.files.pop(handle)
        os.close(file.descriptor)
        file.inode.files -= 1
        if not file.inode.files:
            self._inodes.release(file.inode)
        return b""

    def writable(self) -> set[Inode]:
        """The files of the tree that somebody may be storing to through a mapping. A mapping keeps
        the file open. Any thread."""
        files = self.files.copy().values()  # at once, while the reader adds others
        regular = (file.inode for file in files if file.writable and file.inode.tracked)
        return {inode for inode in regular if inode.kind == stat.S_IFREG}

    def _file(self, handle: int) -> OpenFile:
        file = self.files.get(handle)
        if file is None:
            raise OSError(errno.EBADF, "no such handle")
        return file

    # -- reading and writing ---------------------------------------------------------------------

    def read(self, request: Request) -> Deferred:
        """What is not in the page cache: a helper waits for the disk."""
        handle, offset, size, *_ = protocol.READ_IN.unpack_from(request.body)
        file = self._file(handle)
        return self._session.defer(request, lambda _: os.pread(file.descriptor, size, offset))

    def read_cached(self, header: bytearray, _data: memoryview) -> Content | None:
        """What is in the page cache, all of it up to the end of the file."""
        handle, offset, size = protocol.READ_FRAME.unpack(header)
        file = self.files.get(handle)
        if file is None:
            return None
        buffer = bytearray(size)
        found = os.preadv(file.descriptor, [buffer], offset, os.RWF_NOWAIT)
        if found == size:
            return buffer
        return memoryview(buffer)[:found] if offset + found >= file.inode.size else None

    def write(self, request: Request) -> Content | Deferred:
        handle, offset, size, *_ = protocol.WRITE_IN.unpack(request.body)
        file = self._file(handle)
        inode = file.inode
        keys = content_keys(inode, offset, size, self._pair.active.era)
        if offset + size > inode.size:
            keys += size_keys(inode, inode.size, self._pair.active.era)
        return self._guard.change(request, keys, self._write, inode)

    def _write(self, request: Request) -> bytes:
        handle, offset, size, flags, *_ = protocol.WRITE_IN.unpack(request.body)
        file = self._file(handle)
        inode = file.inode
        if flags & protocol.WRITE_KILL_SUIDGID and not inode.plain:
            inode.plain = True  # first: what is given to the file meanwhile takes it back
            drop_privileges(file.descriptor)
        inode.recorder.wrote(inode.serial, offset, size, inode.size)
        written = os.pwrite(file.descriptor, request.data, offset)
        inode.size = max(inode.size, offset + written)
        return protocol.WRITE_OUT.pack(written, 0)

    def write_inside(self, header: bytearray, data: memoryview) -> bytes | None:
        """A write within a file, of which the journal has all; the usual case, a third of the time
        of `write` for small ones."""
        handle, offset, size, flags = protocol.WRITE_FRAME.unpack(header)
        file = self.files.get(handle)
        if file is None:
            return None
        inode = file.inode
        if flags & protocol.WRITE_KILL_SUIDGID and not inode.plain:
            return None
        if offset + size > inode.size or not self._guard.is_covered(inode, offset, size):
            return None
        if inode.recorder.is_saved(inode.serial):
            return None
        inode.recorder.wrote(inode.serial, offset, size, inode.size)
        return protocol.WRITE_OUT.pack(os.pwrite(file.descriptor, data, offset), 0)

    def fsync(self, request: Request) -> Deferred:
        handle, *_ = protocol.FSYNC_IN.unpack_from(request.body)
        return self._session.sync(request, self._file(handle).descriptor)

    def lseek(self, request: Request) -> bytes:
        handle, offset, whence, _ = protocol.LSEEK_IN.unpack_from(request.body)
        found = os.lseek(self._file(handle).descriptor, offset, whence)
        return protocol.LSEEK_OUT.pack(found)

    # -- allocating and copying ------------------------------------------------------------------

    def fallocate(self, request: Request) -> Content | Deferred:
        handle, offset, length, mode, _ = protocol.FALLOCATE_IN.unpack_from(request.body)
        file = self._file(handle)
        inode = file.inode
        if mode & ~(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE):
            raise OSError(errno.EOPNOTSUPP, "no such allocation")
        era = self._pair.active.era
        # Without these, holes become zeros on disk, which are the same.
        count = length if mode & (PUNCH_HOLE | ZERO_RANGE) else 0
        keys = content_keys(inode, offset, count, era)
        if not mode & KEEP_SIZE and offset + length > inode.size:
            keys += size_keys(inode, inode.size, era)

        def act(_request: Request) -> bytes:
            before = inode.size
            if not mode & KEEP_SIZE and offset + length > before:
                inode.recorder.resized(inode.serial, before, offset + length)
            inside = min(count, max(before - offset, 0))
            inode.recorder.wrote(inode.serial, offset, inside, before)
            syscalls.fallocate(file.descriptor, mode, offset, length)
            inode.size = os.fstat(file.descriptor).st_size
            return b""

        return self._guard.change(request, keys, act, inode)

    def copy_file_range(self, request: Request) -> Content | Deferred:
        return self._copy(request, lambda count: protocol.WRITE_OUT.pack(count, 0))

    def copy_file_range_64(self, request: Request) -> Content | Deferred:
        return self._copy(request, protocol.COPY_OUT_64.pack)

    def _copy(self, request: Request, reply: Callable[[int], bytes]) -> Content | Deferred:
        fields = protocol.COPY_IN.unpack_from(request.body)
        handle, offset, _, handle_into, into, length, _ = fields
        source, target = self._file(handle), self._file(handle_into)
        inode = target.inode
        length = min(length, max(source.inode.size - offset, 0), 1 << 30)
        era = self._pair.active.era
        keys = content_keys(inode, into, length, era)
        if into + length > inode.size:
            keys += size_keys(inode, inode.size, era)

        def act(_request: Request) -> bytes:
            inode.recorder.wrote(inode.serial, into, length, inode.size)
            copied = os.copy_file_range(source.descriptor, target.descriptor, length, offset, into)
            inode.size = max(inode.size, into + copied)
            return reply(copied)

        def covered(request: Request) -> bytes:
            self._guard.cover(self._guard.ready(keys))
            return act(request)

        slow = inode.recorder.is_saved(inode.serial)
        return self._session.defer(request, covered, slow=slow)
