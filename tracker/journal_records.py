"""The records of a change journal, as they lie in a file.

A journal file starts with a magic line and its era. Records follow, each at a multiple of 64 bytes:

    sum      8 bytes  of the record's place, its length and its content
    length   4 bytes, little-endian, of the content
    content  a `Suspect` in MessagePack, then zeros up to the next multiple of 64

The sum is the first 8 bytes of BLAKE3, keyed with a number drawn for the file, so that what a disk
had there before is no record. A power cut may tear the last records, which nobody relied on yet:
they were not synced. A bad record with a good one behind it is damage, or a tear in the middle of
what one sync would have covered; both are told, and whoever reads it then looks at everything.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Final, NamedTuple

import msgspec
from blake3 import blake3

from ..store.errors import Corrupt

MAGIC: Final = b"treering journal 1\n"
HEADER: Final = struct.Struct("<20sIQ32s")
"""magic and a zero, block size in bytes, era, key of the sums"""
PREFIX: Final = struct.Struct("<8sI")
UNIT: Final = 64
EXTENT: Final = 16 << 20
"""Bytes of a file that one record is for."""
MAX_CONTENT: Final = 8192
"""A path of 4,096 bytes and a file handle of 128 are less."""


class Look(IntEnum):
    """Where to look again. The values are in files: never renumber."""

    EXTENT = 1
    NAMES = 2
    ATTRIBUTES = 3
    SIZE = 4
    EVERYWHERE = 5


LOOKS: Final = frozenset(int(look) for look in Look)


class Suspect(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Look again here. `handle` is the object's file handle (type and bytes, as name_to_handle_at
    gives them, empty where there are none), `path` one of its paths at that time. `extent` is the
    number of 16 MiB of a file; of a size everything from there on."""

    look: int
    handle_type: int
    handle: bytes
    path: bytes
    extent: int = 0


class JournalFile(NamedTuple):
    """What a journal file says. `whole`: nothing of it is damaged."""

    block_size: int
    era: int
    suspects: list[Suspect]
    whole: bool


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Suspect)


def encode_header(block_size: int, era: int, key: bytes) -> bytes:
    """The first units of a file. `key`: 32 random bytes."""
    return _padded(HEADER.pack(MAGIC, block_size, era, key))


def encode_record(suspect: Suspect, place: int, key: bytes) -> bytes:
    """A record at the unit with this number."""
    return seal(_encoder.encode(suspect), place, key)


def seal(content: bytes, place: int, key: bytes) -> bytes:
    """A record of this content."""
    return _padded(PREFIX.pack(_sum(key, place, content), len(content)) + content)


def encode_records(suspects: Iterable[Suspect], place: int, key: bytes) -> bytes:
    """Records one behind the other, from the unit with this number on."""
    out = bytearray()
    for suspect in suspects:
        out += encode_record(suspect, place + len(out) // UNIT, key)
    return bytes(out)


def decode_journal(content: bytes) -> JournalFile:
    """Corrupt where it does not even begin as one."""
    if len(content) < HEADER.size or not content.startswith(MAGIC):
        raise Corrupt("it does not begin as a change journal")
    _, block_size, era, key = HEADER.unpack_from(content)
    suspects: list[Suspect] = []
    whole = True
    gap = False
    place = len(_padded(bytes(HEADER.size))) // UNIT
    while place * UNIT + PREFIX.size <= len(content):
        found = _record_at(content, place, key)
        if found is None:
            gap = True
            place += 1
            continue
        suspect, length = found
        suspects.append(suspect)
        whole = whole and not gap
        place += -(-(PREFIX.size + length) // UNIT)
    return JournalFile(block_size, era, suspects, whole)


def _record_at(content: bytes, place: int, key: bytes) -> tuple[Suspect, int] | None:
    start = place * UNIT
    digest, length = PREFIX.unpack_from(content, start)
    if not 0 < length <= MAX_CONTENT:  # zeros, mostly: a file is longer than what it says
        return None
    record = content[start + PREFIX.size : start + PREFIX.size + length]
    if len(record) != length or _sum(key, place, record) != digest:
        return None
    try:
        suspect = _decoder.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return (suspect, length) if suspect.look in LOOKS else None


def _sum(key: bytes, place: int, content: bytes) -> bytes:
    head = struct.pack("<QI", place, len(content))
    return blake3(head + content, key=key).digest(length=8)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % UNIT)
