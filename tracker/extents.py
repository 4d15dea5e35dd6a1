"""Where a file's blocks lie on the device, as the file system tells it (FIEMAP; Linux's
`Documentation/filesystems/fiemap.rst`)."""

from __future__ import annotations

import fcntl
import struct
from collections.abc import Iterator
from typing import Final

HEADER: Final = struct.Struct("=QQIIII")
"""start, length, flags, extents found, room for extents, reserved"""
EXTENT: Final = struct.Struct("=QQQQQIIII")
"""logical, physical, length, reserved twice, flags, reserved thrice"""
ROOM: Final = 256
FIEMAP: Final = 0xC020660B
SYNC: Final = 1
LAST: Final = 1
NOWHERE: Final = 0x2 | 0x4 | 0x8 | 0x200 | 0x400
"""Unknown, not allocated yet, encoded, inline, packed with others: there is no offset to tell."""


def extents(descriptor: int, start: int, length: int) -> Iterator[tuple[int, int, int]]:
    """(offset in the file, offset on the device, length), all in bytes, of what an open file has on
    the device in a range, in order; written out first. OSError EOPNOTSUPP where the file system
    does not tell."""
    end = start + length
    while start < end:
        buffer = bytearray(HEADER.size + ROOM * EXTENT.size)
        HEADER.pack_into(buffer, 0, start, end - start, SYNC, 0, ROOM, 0)
        fcntl.ioctl(descriptor, FIEMAP, buffer)
        count = HEADER.unpack_from(buffer)[3]
        for number in range(count):
            found = EXTENT.unpack_from(buffer, HEADER.size + number * EXTENT.size)
            logical, physical, size, *_, flags, _, _, _ = found
            if not flags & NOWHERE:
                yield logical, physical, size
            start = logical + size
        if count < ROOM or flags & LAST:
            return


def device_runs(
    descriptor: int, first: int, count: int, block_size: int
) -> Iterator[tuple[int, int, int | None]]:
    """(first, count, offset on the device) of runs of neighbouring blocks that together are the
    range given: where the first byte of the run lies, and the others behind it; None for what has
    no place. OSError, as above."""
    at, end = first, first + count
    for logical, physical, length in extents(descriptor, first * block_size, count * block_size):
        begin = max(at, -(-logical // block_size))
        following = min(end, -(-(logical + length) // block_size))
        if begin >= following:
            continue
        if at < begin:
            yield at, begin - at, None
        yield begin, following - begin, physical + begin * block_size - logical
        at = following
    if at < end:
        yield at, end - at, None
