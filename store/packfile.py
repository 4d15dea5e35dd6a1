"""The pack: an immutable file of many compressed objects, readable with nothing else at hand.

Layout (`docs/format.md` has the byte tables): a file header; records, each a header and its
payload; a footer table sorted by key; a trailer that finds and checks the footer. A pack is named
by the BLAKE3 of all its bytes. While it is written it lies in `tmp/` under its writer's flock;
records lie one behind the other, so that what a killed writer left can be read up to the last
whole record (`store.salvage`).

`PackWriter` belongs to one thread at a time; the functions that read are safe from any thread.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from blake3 import blake3

from .durable import fsync_folder, start_writing_back, write_all
from .errors import Corrupt, UnsupportedFormat
from .ids import ID_LENGTH, KEY_LENGTH, Key, Kind
from .locking import try_lock

MAGIC: Final = b"TRPK"
VERSION: Final = 1
FILE_HEADER: Final = struct.Struct("<4sHH")
"""magic, version, reserved"""

RECORD_MAGIC: Final = b"TRec"
RECORD_HEADER: Final = struct.Struct("<4sBBHII32s")
"""magic, kind, codec, reserved, stored length, plain length, id"""

FOOTER_ENTRY: Final = struct.Struct("<33sBQII")
"""key, codec, offset of the payload, stored length, plain length"""

TRAILER: Final = struct.Struct("<4sIQ32s")
"""magic, number of footer entries, offset of the footer, BLAKE3 of the footer and both numbers"""
TRAILER_MAGIC: Final = b"TRft"
TRAILER_SUM: Final = struct.Struct("<IQ")

PACK_SIZE: Final = 64 << 20
PACK_OBJECTS: Final = 1 << 17
"""A pack is sealed when it has either: what is known of its objects is in memory until then, and
there may be several open packs in each of several processes."""
MAX_STORED: Final = 16 << 20
MAX_ENTRIES: Final = 1 << 24
WRITE_BUFFER: Final = 1 << 20
WRITE_BACK: Final = 8 << 20
"""After so many bytes the disk is set to work: the last packs of a commit are short, and nothing
else is done while they are fsync-ed."""


class Record(NamedTuple):
    """An object as it is stored and as it travels: `payload` is what `codec` made of
    `plain_length` bytes."""

    key: Key
    codec: int
    plain_length: int
    payload: bytes


class FooterEntry(NamedTuple):
    """Where an object's payload lies in its pack."""

    key: Key
    codec: int
    offset: int
    stored: int
    plain: int


class Footer:
    """The table of what a pack holds, sorted by key: one row an object, as they are stored. As
    tuples they take five times the memory."""

    def __init__(self, table: bytes) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table) // FOOTER_ENTRY.size

    def __iter__(self) -> Iterator[FooterEntry]:
        return map(FooterEntry._make, FOOTER_ENTRY.iter_unpack(self._table))

    def rows(self) -> Iterator[bytes]:
        """Each row as it is stored: the key first."""
        step = FOOTER_ENTRY.size
        return (self._table[at : at + step] for at in range(0, len(self._table), step))

    def blocks(self) -> int:
        """How many of the objects are blocks."""
        return self._table[:: FOOTER_ENTRY.size].count(Kind.BLOCK)


class PackInfo(NamedTuple):
    """A sealed pack: its name, its length in bytes, how many blocks and nodes it holds."""

    name: bytes
    size: int
    blocks: int
    nodes: int


class PackWriter:
    """Appends records to a new pack in `folder` (the repository's tmp/).

    `seal` makes it durable under its final name. A writer that is dropped without `seal` or
    `discard` leaves its file behind, unlocked, for salvage.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self._descriptor = _create_locked(folder)
        self._hasher = blake3()
        self._buffer = memoryview(bytearray(WRITE_BUFFER))
        self._filled = 0
        self._written = self._handed_over = 0
        self._error: BaseException | None = None
        self._rows: list[bytes] = []
        self.footer = Footer(b"")
        """What it holds; known once it is sealed."""
        self._put(FILE_HEADER.pack(MAGIC, VERSION, 0))

    @property
    def size(self) -> int:
        """Bytes appended so far."""
        return self._written + self._filled

    @property
    def full(self) -> bool:
        """Whether it is time to seal it."""
        return self.size >= PACK_SIZE or len(self._rows) >= PACK_OBJECTS

    def append(self, record: Record) -> None:
        """Add a record. An append that ended in the middle, be it by the disk or by Ctrl-C, leaves
        nobody knowing what the file holds behind its last whole record: it takes no more, and is
        never sealed."""
        if self._error is not None:
            raise self._error
        key, codec, plain, payload = record
        stored = len(payload)
        header = RECORD_HEADER.pack(RECORD_MAGIC, key[0], codec, 0, stored, plain, key[1:])
        try:
            offset = self.size + RECORD_HEADER.size
            self._rows.append(FOOTER_ENTRY.pack(key, codec, offset, stored, plain))
            self._put(header)
            self._put(payload)
        except BaseException as error:
            self._error = error
            raise

    def flush(self) -> None:
        """Hand what is buffered to the kernel: it survives a kill from here on."""
        if self._filled:
            content = self._buffer[: self._filled]
            self._filled = 0
            self._write(content)

    def seal(self, packs: Path) -> PackInfo:
        """Write footer and trailer, fsync, rename into `packs`, fsync that folder; the file is
        closed. InterruptedError when an append was interrupted."""
        if isinstance(self._error, OSError):
            raise self._error
        if self._error is not None:
            raise InterruptedError(errno.EINTR, "interrupted") from self._error
        self._rows.sort()
        table = b"".join(self._rows)
        self._rows, self.footer = [], Footer(table)
        offset = self.size
        self._put(table)
        self._put(encode_trailer(table, len(self.footer), offset))
        self.flush()
        name: bytes = self._hasher.digest()
        os.fsync(self._descriptor)
        self.path.rename(packs / pack_file_name(name))
        fsync_folder(packs)
        self._close()
        return _pack_info(name, self._written, self.footer)

    def abandon(self) -> None:
        """Close the file and leave it for salvage."""
        try:
            if self._error is None:
                self.flush()
        finally:
            self._close()

    def discard(self) -> None:
        """Close the file and delete it."""
        self._close()
        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _put(self, content: bytes) -> None:
        end = self._filled + len(content)
        if end > WRITE_BUFFER:
            self.flush()
            end = len(content)
        if end > WRITE_BUFFER:
            self._write(content)
        else:
            self._buffer[self._filled : end] = content
            self._filled = end

    def _write(self, content: bytes | memoryview) -> None:
        self._hasher.update(content)
        write_all(self._descriptor, content)
        self._written += len(content)
        waiting = self._written - self._handed_over
        if waiting >= WRITE_BACK:
            start_writing_back(self._descriptor, self._handed_over, waiting)
            self._handed_over = self._written


def _create_locked(folder: Path) -> tuple[Path, int]:
    """A new file under our flock. Salvage may lock and delete one between its creation and our
    lock: then another is made."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    while True:
        path = folder / f"pack-{os.getpid()}-{os.urandom(6).hex()}.tmp"
        descriptor = os.open(path, flags, 0o600)
        if try_lock(descriptor) and os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)


def _pack_info(name: bytes, size: int, footer: Footer) -> PackInfo:
    blocks = footer.blocks()
    return PackInfo(name, size, blocks, len(footer) - blocks)


def read_pack_info(path: Path, name: bytes) -> PackInfo:
    """What a sealed pack says of itself. Corrupt where its footer is."""
    return _pack_info(name, path.stat().st_size, read_footer(path))


def pack_file_name(name: bytes) -> str:
    return name.hex() + ".pack"


def pack_name(file: str) -> bytes | None:
    """The pack's name from its file name, or None for a file that is no pack."""
    try:
        name = bytes.fromhex(file.removesuffix(".pack"))
    except ValueError:
        return None
    return name if len(name) == ID_LENGTH and file == pack_file_name(name) else None


def pack_names_in(folder: Path) -> list[bytes]:
    """The names of all packs in `folder`, in order. Every command that writes asks, and there may
    be many thousands: as paths they would take ten times as long."""
    return sorted(name for file in os.listdir(folder) if (name := pack_name(file)) is not None)


def packs_in(folder: Path) -> Iterator[tuple[bytes, Path]]:
    """Name and path of every pack in `folder`, in the order of names."""
    for name in pack_names_in(folder):
        yield name, folder / pack_file_name(name)


def encode_trailer(footer: bytes, count: int, offset: int) -> bytes:
    """The end of a pack, behind its footer."""
    digest = blake3(footer + TRAILER_SUM.pack(count, offset)).digest()
    return TRAILER.pack(TRAILER_MAGIC, count, offset, digest)


def read_footer(path: Path) -> Footer:
    """The footer of a sealed pack. Corrupt when any of it is not as it was written,
    UnsupportedFormat for a pack of a newer version."""
    with path.open("rb") as file:
        trailer, count, offset = _read_trailer(file, path)
        file.seek(offset)
        table = file.read(count * FOOTER_ENTRY.size)
    if encode_trailer(table, count, offset) != trailer:
        raise Corrupt(f"the footer of pack {path.name[:12]} is damaged")
    footer = Footer(table)
    for entry in footer:
        if not (FILE_HEADER.size < entry.offset <= offset - entry.stored) or not valid_key(
            entry.key
        ):
            raise Corrupt(f"the footer of pack {path.name[:12]} points outside the pack")
    return footer


def _read_trailer(file: BinaryIO, path: Path) -> tuple[bytes, int, int]:
    """The trailer of a sealed pack; of the footer the number of entries and the offset."""
    size = os.fstat(file.fileno()).st_size
    _check_file_header(file.read(FILE_HEADER.size), path)
    if size < FILE_HEADER.size + TRAILER.size:
        raise Corrupt(f"pack {path.name[:12]} is cut short")
    file.seek(size - TRAILER.size)
    magic, count, offset, _ = TRAILER.unpack(trailer := file.read(TRAILER.size))
    length = count * FOOTER_ENTRY.size
    if magic != TRAILER_MAGIC or offset + length + TRAILER.size != size or count > MAX_ENTRIES:
        raise Corrupt(f"pack {path.name[:12]} is cut short or its trailer is damaged")
    return trailer, count, offset


class Contents(NamedTuple):
    """The number of records in a pack, and the bytes of their payloads."""

    records: int
    stored: int


def read_contents(path: Path) -> Contents:
    """How much a sealed pack holds, from its trailer. Corrupt where that is damaged."""
    with path.open("rb") as file:
        _, count, offset = _read_trailer(file, path)
    return Contents(count, offset - FILE_HEADER.size - count * RECORD_HEADER.size)


def valid_key(key: bytes) -> bool:
    return len(key) == KEY_LENGTH and 1 <= key[0] <= Kind.HISTORY


def _check_file_header(header: bytes, path: Path) -> None:
    if len(header) < FILE_HEADER.size or header[:4] != MAGIC:
        raise Corrupt(f"{path.name[:12]} is not a pack")
    _, version, reserved = FILE_HEADER.unpack(header)
    if version != VERSION:
        raise UnsupportedFormat(f"pack {path.name[:12]} has version {version}; this is treering 1")
    if reserved:
        raise Corrupt(f"the header of pack {path.name[:12]} is damaged")


def scan_records(path: Path) -> Iterator[tuple[FooterEntry, bytes]]:
    """The records of a pack in the order they were written, sealed or not, up to the first thing
    that is no whole record. Payloads are not verified."""
    with path.open("rb") as file:
        header = file.read(FILE_HEADER.size)
        if len(header) < FILE_HEADER.size or header[:4] != MAGIC:
            return
        position = FILE_HEADER.size
        while True:
            head = file.read(RECORD_HEADER.size)
            if len(head) < RECORD_HEADER.size:
                return
            magic, kind, codec, _, stored, plain, identity = RECORD_HEADER.unpack(head)
            if magic != RECORD_MAGIC or stored > MAX_STORED:
                return
            payload = file.read(stored)
            if len(payload) < stored:
                return
            position += RECORD_HEADER.size
            key = Key(bytes([kind]) + identity)
            yield FooterEntry(key, codec, position, stored, plain), payload
            position += stored


def check_record_header(header: bytes, entry: FooterEntry) -> None:
    """Corrupt unless the record header before a payload says what the index says of it."""
    magic, kind, codec, reserved, stored, plain, identity = RECORD_HEADER.unpack(header)
    stated = FooterEntry(Key(bytes([kind]) + identity), codec, entry.offset, stored, plain)
    if magic != RECORD_MAGIC or reserved or stated != entry:
        raise Corrupt("a record in a pack is not the one the index says")
