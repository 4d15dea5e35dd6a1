"""A stored tree as a tar stream (PAX), with everything that an entry holds.

What PAX itself has no form for goes where GNU tar and bsdtar look for it: extended attributes as
SCHILY.xattr.NAME, ACLs as SCHILY.acl.access and .default (their text, by number), holes as GNU
sparse 1.0. Names of any bytes pass as they are, marked hdrcharset=BINARY where they are no UTF-8.

Nothing is held but one batch of blocks, and of hard links those whose first name is outside of what
is dumped. A file with holes is walked three times, over nodes only: its header needs the length of
its map. Every block is verified; whoever reads an archive that ends early sees that it does.
"""

from __future__ import annotations

import os
import struct
import tarfile
from collections.abc import Iterable, Iterator
from typing import Final

from ..store import trees
from ..store.content import block_count, blocks_of
from ..store.errors import NotFound
from ..store.nodes import Entry, EntryKind
from ..store.root_record import RootRecord
from ..store.trees import Located, ObjectSource
from .links import group_path

KINDS: Final = {
    EntryKind.FILE: tarfile.REGTYPE,
    EntryKind.FOLDER: tarfile.DIRTYPE,
    EntryKind.SYMLINK: tarfile.SYMTYPE,
    EntryKind.FIFO: tarfile.FIFOTYPE,
    EntryKind.CHARACTER_DEVICE: tarfile.CHRTYPE,
    EntryKind.BLOCK_DEVICE: tarfile.BLKTYPE,
}
SECOND: Final = 10**9
DEVICE_LIMIT: Final = 8**7
"""Major and minor numbers from here on do not fit the header."""
ACLS: Final = {
    b"system.posix_acl_access": "SCHILY.acl.access",
    b"system.posix_acl_default": "SCHILY.acl.default",
}
ACL_HEAD: Final = struct.Struct("<I")
ACL_ENTRY: Final = struct.Struct("<HHI")
ACL_TAGS: Final = {1: "user:", 2: "user:", 4: "group:", 8: "group:", 16: "mask:", 32: "other:"}
ACL_NAMED: Final = frozenset({2, 8})

Extent = tuple[int, int]
"""Offset and length of a run of stored bytes."""


class Archive:
    """The archive of the tree below `top`. `record` has the names of its owners."""

    def __init__(
        self, source: ObjectSource, top: Entry, block_size: int, record: RootRecord | None = None
    ) -> None:
        self._source = source
        self._top = top
        self._block_size = block_size
        self._users = record.users if record else {}
        self._groups = record.groups if record else {}
        self._first: dict[bytes, bytes] = {}

    def stream(self, path: bytes = b"") -> Iterator[bytes]:
        """The archive of what is at `path` and below, in pieces. NotFound at once when there is
        nothing."""
        return self._pieces(Located(path, trees.lookup(self._source, self._top, path)))

    def _pieces(self, start: Located) -> Iterator[bytes]:
        written = 0
        for path, entry in self._entries(start):
            for piece in self._member(path, entry, start.path):
                written += len(piece)
                yield piece
        yield bytes(2 * tarfile.BLOCKSIZE + -(written + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE)

    def _entries(self, start: Located) -> Iterator[Located]:
        yield start
        if start.entry.is_folder:
            prefix = start.path + b"/" if start.path else b""
            yield from trees.walk(self._source, start.entry, prefix)

    def _member(self, path: bytes, entry: Entry, start: bytes) -> Iterator[bytes]:
        info = self._header(path, entry)
        first = self._linked(path, entry, start)
        if first is not None:
            info.type, info.size, info.linkname = tarfile.LNKTYPE, 0, _text(first)
            yield _block(info)
        elif entry.is_file:
            yield from self._file(info, entry)
        else:
            yield _block(info)

    def _header(self, path: bytes, entry: Entry) -> tarfile.TarInfo:
        info = tarfile.TarInfo(_text(path) or ".")
        info.type = KINDS[EntryKind(entry.kind)]
        info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
        info.uname = self._users.get(entry.uid, "")
        info.gname = self._groups.get(entry.gid, "")
        info.mtime = entry.mtime_ns // SECOND
        info.size = entry.size if entry.is_file else 0
        info.linkname = _text(entry.more.target or b"")
        info.pax_headers = dict(_extended(entry))
        if entry.more.device is not None:
            _number_device(info, entry.more.device)
        return info

    def _linked(self, path: bytes, entry: Entry, start: bytes) -> bytes | None:
        """The name in this archive, before this one, of the same file."""
        if entry.more.group is None:
            return None
        folder = path[: path.rfind(b"/") + 1]
        first = group_path(folder, entry.more.group)
        if first == path:
            return None
        if (not start or first.startswith(start + b"/")) and self._is_there(first):
            return first
        found = self._first.setdefault(first, path)
        return None if found == path else found

    def _is_there(self, path: bytes) -> bool:
        try:
            return not trees.lookup(self._source, self._top, path).is_folder
        except NotFound:
            return False

    def _file(self, info: tarfile.TarInfo, entry: Entry) -> Iterator[bytes]:
        stored = sum(length for _, length in self._extents(entry))
        if stored < entry.size:
            count = b"%d\n" % sum(1 for _ in self._map(entry))
            size = len(count) + sum(map(len, self._map(entry)))
            yield _sparse_block(info, entry.size, size + -size % tarfile.BLOCKSIZE + stored)
            yield count
            yield from self._map(entry)
            yield bytes(-size % tarfile.BLOCKSIZE)
        else:
            yield _block(info)
        for offset, length in self._extents(entry):
            yield from trees.read_file(self._source, entry, self._block_size, offset, length)
        yield bytes(-stored % tarfile.BLOCKSIZE)

    def _extents(self, entry: Entry) -> Iterator[Extent]:
        """The runs of stored blocks of a file."""
        count = block_count(entry.size, self._block_size)
        begin = end = 0
        for number, _ in blocks_of(self._source, entry.content, count):
            if number * self._block_size != end:
                if end > begin:
                    yield begin, end - begin
                begin = number * self._block_size
            end = min((number + 1) * self._block_size, entry.size)
        if end > begin:
            yield begin, end - begin

    def _map(self, entry: Entry) -> Iterator[bytes]:
        """A sparse file's map: a line each for offset and length of a run. A hole at the end is
        one of no length."""
        end = 0
        for offset, length in self._extents(entry):
            yield b"%d\n%d\n" % (offset, length)
            end = offset + length
        if end < entry.size:
            yield b"%d\n0\n" % entry.size


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _block(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _sparse_block(info: tarfile.TarInfo, size: int, packed: int) -> bytes:
    """The header of a file of `size` bytes, of which `packed` follow, with the map."""
    folder, _, name = info.name.rpartition("/")
    info.pax_headers = {
        **info.pax_headers,
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": info.name,
        "GNU.sparse.realsize": str(size),
    }
    info.name = f"{folder}/GNUSparseFile.0/{name}" if folder else f"GNUSparseFile.0/{name}"
    info.size = packed
    return _block(info)


def _extended(entry: Entry) -> Iterator[tuple[str, str]]:
    """What a header of old has no place for."""
    seconds, rest = divmod(abs(entry.mtime_ns), SECOND)
    if rest or entry.mtime_ns < 0:
        sign = "-" if entry.mtime_ns < 0 else ""
        yield "mtime", f"{sign}{seconds}.{rest:09}"
    for name, value in entry.more.xattrs:
        if name in ACLS:
            yield ACLS[name], acl_text(value)
        else:
            yield "SCHILY.xattr." + _text(name), _text(value)


def _number_device(info: tarfile.TarInfo, device: int) -> None:
    numbers = {"devmajor": os.major(device), "devminor": os.minor(device)}
    for name, number in numbers.items():
        setattr(info, name, number % DEVICE_LIMIT)
        if number >= DEVICE_LIMIT:
            info.pax_headers = {**info.pax_headers, f"SCHILY.{name}": str(number)}


def acl_text(value: bytes) -> str:
    """A POSIX ACL as the kernel has it, as text: user::rw-,user:1234:r--,..."""
    return ",".join(_acl_entries(value[ACL_HEAD.size :]))


def _acl_entries(value: bytes) -> Iterable[str]:
    for tag, bits, number in ACL_ENTRY.iter_unpack(value[: len(value) - len(value) % 8]):
        who = number if tag in ACL_NAMED else ""
        rights = "".join(
            letter if bits & bit else "-" for letter, bit in zip("rwx", (4, 2, 1), strict=True)
        )
        yield f"{ACL_TAGS.get(tag, 'other:')}{who}:{rights}"
