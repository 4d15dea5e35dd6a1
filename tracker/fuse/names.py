"""Requests about names: looking up, making, linking, renaming and removing.

What is made belongs to whoever asked: it is made by us, with their umask, and given to them. Each
change is told to the inode's recorder after it was made, in the same step, under the lock that all
changes of names take: so the table never says what is not.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from ..block_map import Home, Serial
from ..map_pair import MapPair
from . import protocol, syscalls
from .guard import Guard, attribute_keys, descriptor_path, name_keys
from .inodes import FLAGS, RESERVED, Inode, InodeTable
from .protocol import Request
from .session import Content, Deferred

RENAME_EXCHANGE: Final = 2
RENAME_WHITEOUT: Final = 4


class NameRequests:
    """`new_file` opens what CREATE or TMPFILE made, and gives the open reply."""

    def __init__(self, inodes: InodeTable, pair: MapPair, guard: Guard) -> None:
        self._inodes = inodes
        self._pair = pair
        self._guard = guard
        self._lock = threading.Lock()
        self._ids = (os.geteuid(), os.getegid())

    def still(self) -> threading.Lock:
        """While this is held, no name changes."""
        return self._lock

    def lookup(self, request: Request) -> bytes:
        parent = self._inodes.get(request.node)
        name = request.body[:-1]
        try:
            inode, info = self._inodes.look_up(parent, name)
        except FileNotFoundError:
            # Remembered by the kernel until we make the name.
            return protocol.ENTRY.pack(0, 0, protocol.FOREVER, 0, 0, 0) + bytes(protocol.ATTR.size)
        return entry(inode, info)

    def forget(self, request: Request) -> bytes:
        (count,) = protocol.FORGET_IN.unpack_from(request.body)
        self._inodes.forget(request.node, count)
        return b""

    def batch_forget(self, request: Request) -> bytes:
        count, _ = protocol.BATCH_FORGET_IN.unpack_from(request.body)
        for number in range(count):
            offset = protocol.BATCH_FORGET_IN.size + number * protocol.FORGET_ONE.size
            node, lookups = protocol.FORGET_ONE.unpack_from(request.body, offset)
            self._inodes.forget(node, lookups)
        return b""

    # -- making ----------------------------------------------------------------------------------

    def mkdir(self, request: Request) -> Content | Deferred:
        mode, umask = protocol.MKDIR_IN.unpack_from(request.body)
        (name,) = protocol.names_of(request.body, protocol.MKDIR_IN.size, 1)
        return self._make(
            request, name, mode, umask, lambda parent: os.mkdir(name, mode, dir_fd=parent)
        )

    def mknod(self, request: Request) -> Content | Deferred:
        mode, device, umask, _ = protocol.MKNOD_IN.unpack_from(request.body)
        (name,) = protocol.names_of(request.body, protocol.MKNOD_IN.size, 1)
        number = protocol.decode_device(device)
        return self._make(
            request, name, mode, umask, lambda parent: os.mknod(name, mode, number, dir_fd=parent)
        )

    def symlink(self, request: Request) -> Content | Deferred:
        name, target = protocol.names_of(request.body, 0, 2)
        return self._make(
            request, name, 0, 0, lambda parent: os.symlink(target, name, dir_fd=parent)
        )

    def _make(
        self,
        request: Request,
        name: bytes,
        mode: int,
        umask: int,
        make: Callable[[int], None],
    ) -> Content | Deferred:
        parent = self._inodes.get(request.node)
        check_name(parent, name)

        def act(request: Request) -> bytes:
            with self._lock:
                folder = self._inodes.descriptor(parent)
                parent.recorder.moving(parent.serial)
                with umask_of(umask):
                    make(folder)
                return entry(*self._made(request, parent, name, mode))

        return self._guard.change(request, name_keys(parent), act)

    def _made(
        self, request: Request, parent: Inode, name: bytes, mode: int
    ) -> tuple[Inode, os.stat_result]:
        """Give what was just made to whoever asked, and take it into the tables."""
        folder = self._inodes.descriptor(parent)
        descriptor = os.open(name, FLAGS, dir_fd=folder)
        try:
            self._give(descriptor, request, folder, mode)
            info = os.fstat(descriptor)
            serial = parent.recorder.made(Home(parent.serial, name))
            inode = self._inodes.enter_new(serial, descriptor, info, parent, self._pair.active.era)
        except BaseException:
            os.close(descriptor)
            raise
        return inode, info

    def _give(self, descriptor: int, request: Request, folder: int, mode: int) -> None:
        """Set owner and group as if the caller had made it: a set-group-ID folder hands its group
        on, which the backing file system has done. chown takes set-ID bits away, so they are set
        again."""
        if (request.uid, request.gid) == self._ids or self._ids[0] != 0:
            return
        path = descriptor_path(descriptor)
        before = os.fstat(descriptor)
        inherits = os.fstat(folder).st_mode & stat.S_ISGID
        os.chown(path, request.uid, -1 if inherits else request.gid)
        if mode & (stat.S_ISUID | stat.S_ISGID) and not stat.S_ISLNK(before.st_mode):
            os.chmod(path, stat.S_IMODE(before.st_mode))

    def make_file(
        self, request: Request, parent: Inode, name: bytes, flags: int, mode: int, umask: int
    ) -> tuple[int, Inode, os.stat_result]:
        """Open a file, new unless it was made meanwhile: (descriptor, inode, stat)."""
        with self._lock:
            folder = self._inodes.descriptor(parent)
            parent.recorder.moving(parent.serial)
            try:
                with umask_of(umask):
                    descriptor = os.open(
                        name, flags | os.O_CREAT | os.O_EXCL, mode & 0o7777, dir_fd=folder
                    )
            except FileExistsError:
                if flags & os.O_EXCL:
                    raise
                descriptor = os.open(name, flags & ~os.O_CREAT, dir_fd=folder)
                made = False
            else:
                made = True
            try:
                if made:
                    inode, info = self._made(request, parent, name, mode)
                else:
                    inode, info = self._inodes.look_up(parent, name)
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor, inode, info

    def make_nameless(
        self, request: Request, parent: Inode, flags: int, mode: int, umask: int
    ) -> tuple[int, Inode, os.stat_result]:
        """O_TMPFILE: (descriptor, inode, stat)."""
        with self._lock:
            folder = self._inodes.descriptor(parent)
            with umask_of(umask):
                descriptor = os.open(b".", flags | os.O_TMPFILE, mode & 0o7777, dir_fd=folder)
            try:
                self._give(descriptor, request, folder, mode)
                info = os.fstat(descriptor)
                held = os.open(descriptor_path(descriptor), os.O_PATH | os.O_CLOEXEC)
                serial = parent.recorder.made(None)
                inode = self._inodes.enter_new(serial, held, info, parent, self._pair.active.era)
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor, inode, info

    def link(self, request: Request) -> Content | Deferred:
        (old,) = protocol.LINK_IN.unpack_from(request.body)
        (name,) = protocol.names_of(request.body, protocol.LINK_IN.size, 1)
        inode, parent = self._inodes.get(old), self._inodes.get(request.node)
        check_name(parent, name)
        if inode.tracked != parent.tracked:
            raise OSError(errno.EXDEV, "`.treering` is apart from the tree")

        def act(_request: Request) -> bytes:
            with self._lock:
                descriptor = self._inodes.descriptor(inode)
                inode.recorder.moving(inode.serial, parent.serial)
                syscalls.link(descriptor, self._inodes.descriptor(parent), name)
                inode.recorder.linked(inode.serial, Home(parent.serial, name))
                return entry(*self._inodes.look_up(parent, name))

        keys = name_keys(parent) + attribute_keys(inode, self._pair.active.era)
        return self._guard.change(request, keys, act)

    # -- removing and renaming -------------------------------------------------------------------

    def unlink(self, request: Request) -> Content | Deferred:
        return self._remove(request, lambda name, folder: os.unlink(name, dir_fd=folder))

    def rmdir(self, request: Request) -> Content | Deferred:
        return self._remove(request, lambda name, folder: os.rmdir(name, dir_fd=folder))

    def _remove(self, request: Request, remove: Callable[[bytes, int], None]) -> Content | Deferred:
        parent = self._inodes.get(request.node)
        name = request.body[:-1]
        check_name(parent, name)

        def act(_request: Request) -> bytes:
            with self._lock:
                gone = self._pinned(parent, name)
                parent.recorder.moving(parent.serial, *_serials(gone))
                remove(name, self._inodes.descriptor(parent))
                parent.recorder.unlinked(Home(parent.serial, name))
                if gone is not None:
                    self._inodes.release(gone)
            return b""

        return self._guard.change(request, name_keys(parent), act)

    def rename(self, request: Request) -> Content | Deferred:
        (node,) = protocol.RENAME_IN.unpack_from(request.body)
        return self._rename(request, node, protocol.RENAME_IN.size, 0)

    def rename2(self, request: Request) -> Content | Deferred:
        node, flags, _ = protocol.RENAME2_IN.unpack_from(request.body)
        return self._rename(request, node, protocol.RENAME2_IN.size, flags)

    def _rename(self, request: Request, node: int, start: int, flags: int) -> Content | Deferred:
        parent, into = self._inodes.get(request.node), self._inodes.get(node)
        name, new = protocol.names_of(request.body, start, 2)
        check_name(parent, name)
        check_name(into, new)
        if parent.tracked != into.tracked:
            raise OSError(errno.EXDEV, "`.treering` is apart from the tree")
        if flags & RENAME_WHITEOUT:
            raise OSError(errno.EINVAL, "no whiteouts")
        old, target = Home(parent.serial, name), Home(into.serial, new)

        def act(_request: Request) -> bytes:
            with self._lock:
                self._meet(parent, name)
                if flags & RENAME_EXCHANGE:
                    self._meet(into, new)
                moved, gone = self._inodes.child(parent, name), self._pinned(into, new)
                parent.recorder.moving(parent.serial, into.serial, *_serials(moved, gone))
                folders = self._inodes.descriptor(parent), self._inodes.descriptor(into)
                syscalls.rename(folders[0], name, folders[1], new, flags)
                if flags & RENAME_EXCHANGE:
                    parent.recorder.exchanged(old, target)
                else:
                    parent.recorder.renamed(old, target)
                    if gone is not None:
                        self._inodes.release(gone)
            return b""

        return self._guard.change(request, name_keys(parent, into), act)

    def _pinned(self, parent: Inode, name: bytes) -> Inode | None:
        """What is about to lose its name there. A commit may want it, so it is looked up, if it was
        dropped since the kernel did."""
        if self._pair.swap is not None:
            with suppress(FileNotFoundError):
                self._meet(parent, name)
        return self._inodes.pin(parent, name)

    def _meet(self, parent: Inode, name: bytes) -> None:
        """The kernel has looked up what it renames; so have we, unless it was dropped since."""
        if self._inodes.child(parent, name) is None:
            inode, _ = self._inodes.look_up(parent, name)
            inode.lookups -= 1

    def readlink(self, request: Request) -> bytes:
        return os.readlink(b"", dir_fd=self._inodes.descriptor(self._inodes.get(request.node)))


def _serials(*inodes: Inode | None) -> Iterator[Serial]:
    return (inode.serial for inode in inodes if inode is not None)


def entry(inode: Inode, info: os.stat_result) -> bytes:
    """The reply that tells the kernel of an inode."""
    names = protocol.ENTRY.pack(inode.serial, 0, protocol.FOREVER, protocol.FOREVER, 0, 0)
    return names + protocol.encode_attr(info)


@contextmanager
def umask_of(umask: int) -> Iterator[None]:
    """Let the backing file system apply the caller's umask, or a folder's default ACL. It is the
    whole process's, so what makes files elsewhere sets their mode itself."""
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)


def check_name(parent: Inode, name: bytes) -> None:
    """`.treering` in the top folder is made and removed by treering alone, with the mount off."""
    if parent.serial == 1 and name == RESERVED:
        raise OSError(errno.EBUSY, "`.treering` is in use")
