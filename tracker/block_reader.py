"""Reads batches of small files and pieces of large ones: open, read, hash, claim, compress, append.

The work of one reader, in a thread of the command or of a process of its own (`read_worker`); its
results are ids and plain structs, so that they can travel. One `BlockReader` belongs to one thread;
`Hasher` is for all.

A small file that changes while it is read is read again, three times in all; then the last read
counts and is said to be unstable.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Final

import msgspec

from ..store.codec import Codec
from ..store.errors import storage_error
from ..store.ids import BLOCK_PREFIX, NULL, Key, block_id
from ..store.object_writer import ObjectWriter
from ..store.packfile import Record
from .metadata import Stat, XattrFilter, Xattrs, read_xattrs

TRIES: Final = 3
OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
TOO_LARGE: Final = -1
AT_ONCE: Final = 16
"""Blocks compressed before they are appended."""

Files = Sequence[tuple[int, bytes]]
"""(folder descriptor, name)"""


class SmallFile(msgspec.Struct, array_like=True, gc=False):
    """What was read of one file. `error` is an errno, TOO_LARGE for one that has outgrown the
    buffer, or 0. `info` was taken before the read, at the wall time `read_at_ns`; `data` are the
    bytes read, `ids` the block ids one behind the other."""

    error: int
    info: Stat | None = None
    read_at_ns: int = 0
    xattrs: Xattrs = ()
    data: int = 0
    stable: bool = True
    ids: bytes = b""


class Hasher:
    """Cuts buffers into blocks and stores those that are new."""

    def __init__(self, writer: ObjectWriter, codec: Codec, block_size: int) -> None:
        self._writer = writer
        self._codec = codec
        self._block_size = block_size
        self._zeros = bytes(block_size)
        self._zero_id = block_id(self._zeros)

    def store(self, buffers: list[memoryview]) -> list[bytes]:
        """For each buffer, which starts at a block boundary, its block ids one behind the other.
        One look-up serves all of them."""
        size = self._block_size
        found: list[bytes] = []
        keys: list[bytes] = []
        blocks: list[memoryview] = []
        for data in buffers:
            ids: list[bytes] = []
            for start in range(0, len(data), size):
                block = data[start : start + size]
                identity = self._identify(block)
                ids.append(identity)
                if identity != NULL:
                    keys.append(BLOCK_PREFIX + identity)
                    blocks.append(block)
            found.append(b"".join(ids))
        claimed = self._writer.claim(keys)
        pairs = zip(keys, blocks, strict=True)
        self._append([pair for pair, mine in zip(pairs, claimed, strict=True) if mine])
        return found

    def _append(self, wanted: list[tuple[bytes, memoryview]]) -> None:
        """Compress and append, some blocks at a time: their memory serves the next ones."""
        compress = self._codec.compress
        for start in range(0, len(wanted), AT_ONCE):
            records = []
            for key, block in wanted[start : start + AT_ONCE]:
                codec, payload = compress(block)
                records.append(Record(Key(key), codec, len(block), payload))
            self._writer.append(records)

    def _identify(self, block: memoryview) -> bytes:
        length = len(block)
        if length < self._block_size and not block[0] and block == self._zeros[:length]:
            return NULL
        identity = block_id(block)
        return NULL if identity == self._zero_id else identity


class BlockReader:
    """Reads into one buffer of its own: fresh memory would cost its page faults. `piece` is the
    longest piece of a large file. Descriptors are those of process `parent`, None for this one."""

    def __init__(self, hasher: Hasher, keep: XattrFilter, piece: int, parent: int | None) -> None:
        self._hasher = hasher
        self._keep = keep
        self._parent = parent
        self._buffer = memoryview(bytearray(2 * piece + 1))

    def read_files(self, files: Files) -> list[SmallFile]:
        """Read a batch, whose sizes fit a piece and one file more."""
        room = self._buffer
        results: list[SmallFile] = []
        buffers: list[memoryview] = []
        for folder, group in groupby(files, itemgetter(0)):
            for result in self._read_folder(folder, [name for _, name in group], room):
                results.append(result)
                buffers.append(room[: result.data])
                room = room[result.data :]
        for result, ids in zip(results, self._hasher.store(buffers), strict=True):
            result.ids = ids
        return results

    def read_piece(self, descriptor: int, offset: int, length: int) -> bytes:
        """The block ids of a piece of an open file. Where the file was cut short meanwhile it reads
        as zeros: its stat tells, and it is read again."""
        view = self._buffer[:length]
        with self._borrow(descriptor, os.O_RDONLY) as mine:
            got = fill(mine, view, offset)
        if got < length:
            view[got:] = bytes(length - got)
        (ids,) = self._hasher.store([view])
        return ids

    @contextmanager
    def _borrow(self, descriptor: int, flags: int) -> Iterator[int]:
        """A descriptor of ours for one of the parent's."""
        if self._parent is None:
            yield descriptor
            return
        mine = os.open(f"/proc/{self._parent}/fd/{descriptor}", flags | os.O_CLOEXEC)
        try:
            yield mine
        finally:
            os.close(mine)

    def _read_folder(self, folder: int, names: list[bytes], room: memoryview) -> list[SmallFile]:
        """Read some files of one folder, one behind the other, into `room`."""
        results = []
        try:
            with self._borrow(folder, os.O_PATH) as mine:
                for name in names:
                    result = self._read(mine, name, room)
                    room = room[result.data :]
                    results.append(result)
        except OSError as error:
            # This says nothing of the files: they must not pass for gone.
            raise storage_error("a reader reaching a folder", error) from error
        return results

    def _read(self, folder: int, name: bytes, room: memoryview) -> SmallFile:
        try:
            descriptor = os.open(name, OPEN_FLAGS, dir_fd=folder)
        except OSError as error:
            return SmallFile(error.errno or errno.EIO)
        try:
            return self._read_open(descriptor, room)
        except OSError as error:
            return SmallFile(error.errno or errno.EIO)
        finally:
            os.close(descriptor)

    def _read_open(self, descriptor: int, room: memoryview) -> SmallFile:
        attempt = 1
        while True:
            read_at = time.time_ns()
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                return SmallFile(errno.ENOENT)
            if info.st_size >= len(room):
                return SmallFile(TOO_LARGE)
            length = fill(descriptor, room[: info.st_size])
            xattrs = read_xattrs(descriptor, self._keep)
            stable = length == info.st_size and unchanged(info, os.fstat(descriptor))
            if stable or attempt == TRIES:
                # A file that shrinks under three reads is stored as long as the last found it.
                kept = Stat.of(info, length)
                return SmallFile(0, kept, read_at, xattrs, length, stable)
            attempt += 1


def fill(descriptor: int, view: memoryview, offset: int = 0) -> int:
    """Fill `view` from `offset` of a file; the bytes got, fewer at the end of the file."""
    got = 0
    while got < len(view):
        more = os.preadv(descriptor, [view[got:]], offset + got)
        if not more:
            break
        got += more
    return got


def unchanged(before: os.stat_result | Stat, after: os.stat_result | Stat) -> bool:
    """Whether a file kept still between two stats."""
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )
