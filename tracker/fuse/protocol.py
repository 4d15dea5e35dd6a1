"""The kernel's FUSE protocol: numbers and structs of `linux/fuse.h`, version 7.39 and later.

Only what the driver uses. All numbers are in the machine's byte order, names end in a zero byte.
The structs are as the header has them, in its order and with its padding; `*_IN` comes from the
kernel behind the request header, `*_OUT` goes back behind the reply header.
"""

from __future__ import annotations

import os
import struct
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

MAJOR: Final = 7
MIN_MINOR: Final = 39
"""Linux 6.6: direct I/O along with shared mappings."""
ROOT: Final = 1
MAX_WRITE: Final = 1 << 20
HEADER_ROOM: Final = 8192
"""A read buffer must hold this much beside the data of a write."""


class Opcode(IntEnum):
    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    IOCTL = 39
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47
    TMPFILE = 51
    COPY_FILE_RANGE_64 = 53


class Init(IntFlag):
    """What the two sides can agree on. Bits from 32 on travel in `flags2`."""

    ASYNC_READ = 1 << 0
    ATOMIC_O_TRUNC = 1 << 3
    BIG_WRITES = 1 << 5
    DONT_MASK = 1 << 6
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    ASYNC_DIO = 1 << 15
    PARALLEL_DIROPS = 1 << 18
    POSIX_ACL = 1 << 20
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23
    HANDLE_KILLPRIV_V2 = 1 << 28
    SETXATTR_EXT = 1 << 29
    INIT_EXT = 1 << 30
    DIRECT_IO_ALLOW_MMAP = 1 << 36


class SetAttr(IntFlag):
    """Which fields of a SETATTR count."""

    MODE = 1 << 0
    UID = 1 << 1
    GID = 1 << 2
    SIZE = 1 << 3
    ATIME = 1 << 4
    MTIME = 1 << 5
    FH = 1 << 6
    ATIME_NOW = 1 << 7
    MTIME_NOW = 1 << 8
    KILL_SUIDGID = 1 << 11


class OpenReply(IntFlag):
    DIRECT_IO = 1 << 0
    KEEP_CACHE = 1 << 1
    CACHE_DIR = 1 << 3
    PARALLEL_DIRECT_WRITES = 1 << 6


GETATTR_FH: Final = 1 << 0
WRITE_CACHE: Final = 1 << 0
"""Pages of a shared mapping, sent by the kernel when it likes."""
WRITE_KILL_SUIDGID: Final = 1 << 2
OPEN_KILL_SUIDGID: Final = 1 << 0
FSYNC_DATA: Final = 1 << 0
ACL_KILL_SGID: Final = 1 << 0


class Notify(IntEnum):
    """What the driver may tell the kernel unasked; the code goes in place of an error number."""

    INVAL_INODE = 2
    INVAL_ENTRY = 3


IN_HEADER: Final = struct.Struct("=IIQQIIIHH")
OUT_HEADER: Final = struct.Struct("=IiQ")
ATTR: Final = struct.Struct("=QQQQQQIIIIIIIIII")
ENTRY: Final = struct.Struct("=QQQQII")
"""nodeid, generation, seconds for the name and the attributes, nanoseconds of both; ATTR follows"""
ATTR_OUT: Final = struct.Struct("=QII")
"""seconds for the attributes, nanoseconds, padding; ATTR follows"""
GETATTR_IN: Final = struct.Struct("=IIQ")
SETATTR_IN: Final = struct.Struct("=IIQQQQQQIIIIIIII")
MKNOD_IN: Final = struct.Struct("=IIII")
MKDIR_IN: Final = struct.Struct("=II")
RENAME_IN: Final = struct.Struct("=Q")
RENAME2_IN: Final = struct.Struct("=QII")
LINK_IN: Final = struct.Struct("=Q")
OPEN_IN: Final = struct.Struct("=II")
CREATE_IN: Final = struct.Struct("=IIII")
OPEN_OUT: Final = struct.Struct("=QII")
RELEASE_IN: Final = struct.Struct("=QIIQ")
READ_IN: Final = struct.Struct("=QQIIQII")
WRITE_IN: Final = struct.Struct("=QQIIQII")
WRITE_FRAME: Final = struct.Struct("=40xQQII16x")
"""Of a header and the WRITE_IN behind it: handle, offset, size, flags."""
READ_FRAME: Final = struct.Struct("=40xQQI20x")
"""Of a header and the READ_IN behind it: handle, offset, size."""
FRAME_START: Final = struct.Struct("=4xIQ")
"""Of a header: opcode, unique."""
WRITE_OUT: Final = struct.Struct("=II")
STATFS_OUT: Final = struct.Struct("=QQQQQIIII24x")
FSYNC_IN: Final = struct.Struct("=QII")
SETXATTR_IN: Final = struct.Struct("=IIII")
GETXATTR_IN: Final = struct.Struct("=II")
GETXATTR_OUT: Final = struct.Struct("=II")
INIT_IN: Final = struct.Struct("=IIIII")
INIT_OUT: Final = struct.Struct("=IIIIHHIIHHI28x")
FORGET_IN: Final = struct.Struct("=Q")
FORGET_ONE: Final = struct.Struct("=QQ")
BATCH_FORGET_IN: Final = struct.Struct("=II")
IOCTL_IN: Final = struct.Struct("=QIIQII")
IOCTL_OUT: Final = struct.Struct("=iIII")
FALLOCATE_IN: Final = struct.Struct("=QQQII")
LSEEK_IN: Final = struct.Struct("=QQII")
LSEEK_OUT: Final = struct.Struct("=Q")
COPY_IN: Final = struct.Struct("=QQQQQQQ")
COPY_OUT_64: Final = struct.Struct("=Q")
DIRENT: Final = struct.Struct("=QQII")
INVAL_ENTRY: Final = struct.Struct("=QII")
INVAL_INODE: Final = struct.Struct("=Qqq")

SECOND: Final = 10**9
FOREVER: Final = 86_400
"""Seconds for which the kernel may believe what it was told: all changes come by way of us."""


class Request(NamedTuple):
    """One request. `body` is what follows the header, up to the data of a write: it is in `data`,
    which is only there until the request is answered."""

    opcode: int
    unique: int
    node: int
    uid: int
    gid: int
    pid: int
    body: bytes
    data: memoryview


def encode_attr(info: os.stat_result) -> bytes:
    atime, mtime, ctime = info.st_atime_ns, info.st_mtime_ns, info.st_ctime_ns
    return ATTR.pack(
        info.st_ino,
        info.st_size,
        info.st_blocks,
        atime // SECOND & _MASK64,
        mtime // SECOND & _MASK64,
        ctime // SECOND & _MASK64,
        atime % SECOND,
        mtime % SECOND,
        ctime % SECOND,
        info.st_mode,
        info.st_nlink,
        info.st_uid,
        info.st_gid,
        encode_device(info.st_rdev),
        info.st_blksize,
        0,
    )


_MASK64: Final = (1 << 64) - 1


def encode_device(device: int) -> int:
    """A device number in 32 bits, as `new_encode_dev` of the kernel has it."""
    major, minor = os.major(device), os.minor(device)
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12 & 0xFFFFFFFF


def decode_device(number: int) -> int:
    return os.makedev(number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00)


def signed(seconds: int) -> int:
    """Seconds before 1970 travel as unsigned numbers."""
    return seconds - (1 << 64) if seconds >> 63 else seconds


def names_of(body: bytes, start: int, count: int) -> list[bytes]:
    """So many names, each ended by a zero byte, from `start` on."""
    return body[start:].split(b"\0", count)[:count]


def encode_dirent(inode: int, following: int, kind: int, name: bytes) -> bytes:
    """A folder entry, padded to 8 bytes. `following` is the offset of the one after it."""
    content = DIRENT.pack(inode, following, len(name), kind) + name
    return content + bytes(-len(content) % 8)
