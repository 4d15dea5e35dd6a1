"""The journal in front of a change: what must be durable before the change is made.

A change whose suspects are all in the journal goes on at once; otherwise a helper writes and syncs
them first, and then makes the change.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Final

from ..journal import Journal, Key
from ..journal_records import EXTENT, Look, Suspect
from ..map_pair import MapPair
from .inodes import Inode, InodeTable
from .protocol import Request
from .session import Content, Deferred, Handler, Session

EXTENT_LOOK: Final = int(Look.EXTENT)
_MAX_HANDLE: Final = 128
_AT_EMPTY_PATH: Final = 0x1000
_libc: Final = ctypes.CDLL(None, use_errno=True)


class _FileHandle(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint),
        ("kind", ctypes.c_int),
        ("content", ctypes.c_ubyte * _MAX_HANDLE),
    )


class Guard:
    """Of one attached tree."""

    def __init__(
        self, journal: Journal, pair: MapPair, inodes: InodeTable, session: Session
    ) -> None:
        self._journal = journal
        self._pair = pair
        self._inodes = inodes
        self._session = session

    def ready(self, keys: Iterable[Key]) -> list[Key]:
        """Those that are not in the journal yet."""
        return [key for key in keys if self._journal.need(key)]

    def is_covered(self, inode: Inode, offset: int, size: int) -> bool:
        """Whether a change of content needs nothing more in the journal. It may say no of one over
        the border of two extents."""
        if not inode.tracked or inode.era == self._pair.active.era:
            return True
        extent = offset // EXTENT
        if (offset + size - 1) // EXTENT != extent:
            return False
        return not self._journal.need((EXTENT_LOOK, inode.serial, extent))

    def change(
        self, request: Request, keys: Iterable[Key], handler: Handler, inode: Inode | None = None
    ) -> Content | Deferred:
        """Handle a request once its suspects are durable. Where a commit wants the old content of
        `inode`, a helper waits for the disk."""
        missing = self.ready(keys)
        slow = inode is not None and inode.recorder.is_saved(inode.serial)
        if not missing and not slow:
            return handler(request)

        def covered(request: Request) -> Content | Deferred:
            if missing:
                self.cover(missing)
            return handler(request)

        return self._session.defer(request, covered, slow=slow)

    def cover(self, keys: Iterable[Key]) -> None:
        """Make suspects durable. StorageError. Blocks."""
        self._journal.sync(self._journal.add({key: self._suspect(key) for key in keys}))

    def _suspect(self, key: Key) -> Suspect:
        look, serial, extent = key
        inode = self._inodes.get(serial)
        with self._pair.lock:
            path = self._pair.names.path(serial) or b""
        kind, handle = file_handle(self._inodes.descriptor(inode))
        return Suspect(look, kind, handle, path, extent)


def content_keys(inode: Inode, offset: int, length: int, era: int) -> list[Key]:
    """The suspects of a change of content. A new file needs none: its folder's names cover it."""
    if not inode.tracked or inode.era == era or length <= 0:
        return []
    first, last = offset // EXTENT, (offset + length - 1) // EXTENT
    return [(Look.EXTENT, inode.serial, extent) for extent in range(first, last + 1)]


def size_keys(inode: Inode, smaller: int, era: int) -> list[Key]:
    """The suspect of a change of size: all from the extent on in which the smaller of the two sizes
    ends."""
    if not inode.tracked or inode.era == era:
        return []
    return [(Look.SIZE, inode.serial, smaller // EXTENT)]


def attribute_keys(inode: Inode, era: int) -> list[Key]:
    return [(Look.ATTRIBUTES, inode.serial, 0)] if inode.tracked and inode.era != era else []


def name_keys(*folders: Inode) -> list[Key]:
    return [(Look.NAMES, folder.serial, 0) for folder in folders if folder.tracked]


def file_handle(descriptor: int) -> tuple[int, bytes]:
    """name_to_handle_at(2) of what is open: its type and bytes; 0 and none where the file system
    has no handles."""
    handle = _FileHandle(_MAX_HANDLE)
    mount_id = ctypes.c_int()
    result = _libc.name_to_handle_at(
        descriptor, b"", ctypes.byref(handle), ctypes.byref(mount_id), _AT_EMPTY_PATH
    )
    if result < 0:
        return 0, b""
    return handle.kind, bytes(handle.content[: handle.size])


def descriptor_path(descriptor: int) -> bytes:
    """A path to what is open, also as O_PATH, for calls that take no descriptor."""
    return b"/proc/self/fd/%d" % descriptor
