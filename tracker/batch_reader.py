"""Reads batches of small files: open, read, hash, look up, compress.

The work of one reader, in a thread of the command or in a process of its own (`read_worker`); its
results are plain structs, so that they can travel. One `BatchReader` belongs to one thread at a
time; `Hasher` is as thread-safe as its claim function.

A file that changes while it is read is read again, three times in all; then the last read counts
and is said to be unstable.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ..store.codec import Codec
from ..store.ids import BLOCK_PREFIX, NULL, Key, block_id
from ..store.packfile import Record
from .metadata import Stat, XattrFilter, Xattrs, read_xattrs

TRIES: Final = 3
OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
TOO_LARGE: Final = -1

Claim = Callable[[Sequence[bytes]], list[bool]]
Open = Callable[[int, bytes], int]
"""(folder descriptor, name) -> descriptor of the open file"""


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


class Batch(msgspec.Struct, array_like=True, gc=False):
    """The files of a batch in order, and the records of new blocks in the order they lie in."""

    files: list[SmallFile]
    records: list[Record]


class Hasher:
    """Cuts buffers into blocks and makes records of those that `claim` wants."""

    def __init__(self, claim: Claim, codec: Codec, block_size: int) -> None:
        self._claim = claim
        self._codec = codec
        self._block_size = block_size
        self._zeros = bytes(block_size)
        self._zero_id = block_id(self._zeros)

    def hash_all(self, buffers: list[memoryview]) -> tuple[list[bytes], list[Record]]:
        """For each buffer, which starts at a block boundary, its ids; the new records of all. One
        look-up serves all of them."""
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
        records = []
        compress = self._codec.compress
        for key, block, wanted in zip(keys, blocks, self._claim(keys), strict=True):
            if wanted:
                codec, payload = compress(block)
                records.append(Record(Key(key), int(codec), len(block), payload))
        return found, records

    def _identify(self, block: memoryview) -> bytes:
        length = len(block)
        if length < self._block_size and not block[0] and block == self._zeros[:length]:
            return NULL
        identity = block_id(block)
        return NULL if identity == self._zero_id else identity


class BatchReader:
    """Reads batches into one buffer of its own: fresh memory would cost its page faults."""

    def __init__(self, hasher: Hasher, keep: XattrFilter, piece: int, opener: Open) -> None:
        self._hasher = hasher
        self._keep = keep
        self._open = opener
        self.buffer = memoryview(bytearray(2 * piece + 1))

    def read(self, files: Sequence[tuple[int, bytes]]) -> Batch:
        """`files` are (folder descriptor, name); their sizes fit a piece and one file more."""
        room = self.buffer
        results: list[SmallFile] = []
        buffers: list[memoryview] = []
        for folder, name in files:
            result = self._read(folder, name, room)
            results.append(result)
            buffers.append(room[: result.data])
            room = room[result.data :]
        found, records = self._hasher.hash_all(buffers)
        for result, ids in zip(results, found, strict=True):
            result.ids = ids
        return Batch(results, records)

    def _read(self, folder: int, name: bytes, room: memoryview) -> SmallFile:
        try:
            descriptor = self._open(folder, name)
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
