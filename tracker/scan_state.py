"""The state of the scan: what each live file looked like when its entry was stored.

One row for each directory leaf: the folder's inode number, the leaf's last name, and beside the
leaf's id one *signature* for each entry, so that an unchanged leaf is reused without reading it and
a change rewrites one row. A file's signature is (inode, mtime, ctime, size); a folder's is a hash
of its entry. Keyed by inode and not by path, so that a renamed folder is not read again. The state
says nothing about HEAD: it maps what is on disk to what is in the store, whichever commit that
belongs to. It may be lost at any time, and is dropped whole when the tree lies on another file
system than before.

Doubtful signatures are flagged. RACY: the file changed so close to the read that a later change
could have the same time stamp; it counts as changed. MAPPED: its ctime was under 90 s old when it
was read, so a writer may have it mapped with pages still writable, into which stores go without
moving a time stamp until the kernel has written them back; it is read once more by the next commit,
while status takes its word. It goes by ctime, which the first store into a page moves as it moves
mtime, and which nobody can set back.

New rows gather in a temporary table and replace old ones in one transaction at the end, so that a
long commit does not lock the catalog. A `ScanState` belongs to one thread.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from blake3 import blake3

from ..store.catalog import Catalog, sqlite_errors
from ..store.nodes import Child, Entry, encode
from .metadata import StatLike

SIGNATURE: Final = struct.Struct("<QqqQ")
"""inode, mtime in ns, ctime in ns, size"""
UNKNOWN: Final = bytes(SIGNATURE.size)
CLEAN, MAPPED, RACY = 0, 1, 2

MAPPED_NS: Final = 90 * 10**9
"""Dirty pages are written back, and write-protected, about 35 s after they were dirtied."""
AT_ONCE: Final = 1000
"""Rows that are gathered in memory."""
COARSE_NS: Final = 2_100_000_000
FINE_NS: Final = 20_000_000
FINE_SYSTEMS: Final = frozenset({"ext4", "xfs", "btrfs", "tmpfs", "overlay", "f2fs", "zfs", "ext3"})
"""File systems whose time stamps move with the kernel's clock tick (10 ms at the coarsest)."""


class Part(msgspec.Struct, array_like=True, gc=False):
    """One leaf as it was: its node, sums, names, signatures one behind the other and flags (empty
    when all are clean). `final`: it was closed by the end of its folder. `linked`: an entry in it
    has other names, so it is never reused unread."""

    leaf: bytes
    files: int
    size: int
    final: bool
    linked: bool
    names: list[bytes]
    signatures: bytes
    flags: bytes

    def signature(self, position: int) -> bytes:
        start = position * SIGNATURE.size
        return self.signatures[start : start + SIGNATURE.size]

    def flag(self, position: int) -> int:
        return self.flags[position] if self.flags else CLEAN

    def child(self) -> Child:
        """The directory child that stands for the leaf."""
        return Child(self.names[-1], self.leaf, len(self.names), self.files, self.size)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Part)


class Row(NamedTuple):
    """A part as it is kept, by its last name: a third of its size in memory, which counts in a
    folder of a million names."""

    last: bytes
    data: bytes


def row_of(part: Part) -> Row:
    return Row(part.names[-1], _encoder.encode(part))


def parts_of(rows: Iterable[Row]) -> Iterator[Part]:
    """The parts that rows hold, one at a time, up to the first row that is damaged."""
    for row in rows:
        try:
            part = _decoder.decode(row.data)
        except msgspec.MsgspecError:
            return
        yield part


def file_signature(info: StatLike) -> bytes:
    """Times in nanoseconds fit 64 bits from 1677 to 2262; others count as never seen."""
    try:
        return SIGNATURE.pack(info.st_ino, info.st_mtime_ns, info.st_ctime_ns, info.st_size)
    except struct.error:
        return UNKNOWN


def folder_signature(entry: Entry) -> bytes:
    digest: bytes = blake3(encode(entry)).digest()
    return digest


def doubt(info: StatLike, read_at_ns: int, granularity_ns: int) -> int:
    """The flag for a file that was stat-ed as `info` before it was read at this time."""
    if info.st_ctime_ns >= read_at_ns - granularity_ns:
        return RACY
    if info.st_ctime_ns >= read_at_ns - MAPPED_NS:
        return MAPPED
    return CLEAN


def granularity(file_system: str) -> int:
    """How far apart two changes must be to have different time stamps, in nanoseconds."""
    return FINE_NS if file_system in FINE_SYSTEMS else COARSE_NS


class ScanState:
    """The state of the work tree at `top`, a path or an open folder, in the repository's
    catalog."""

    def __init__(self, catalog: Catalog, top: Path | int) -> None:
        self._catalog = catalog
        self._system = str(os.statvfs(top).f_fsid).encode()
        self._usable = catalog.fact("scan-system") == self._system
        self._rows: list[tuple[int, bytes, bytes]] = []
        self._gone: list[tuple[int, bytes]] = []
        self._fresh_folders = 0
        self._folders: list[tuple[int]] = []
        self._visited = 0
        self._begun = False

    def rows(self, folder: int) -> list[Row]:
        """The rows of the folder with this inode number, in name order."""
        if not self._usable:
            return []
        query = "select last, data from scan_state where folder=? order by last"
        with sqlite_errors():
            return [Row(*row) for row in self._catalog.conn.execute(query, (folder,))]

    def parts_between(self, folder: int, first: bytes, last: bytes) -> list[Part]:
        """The rows of a folder that may know names from `first` to `last`, in name order."""
        if not self._usable:
            return []
        query = "select last, data from scan_state where folder=? and last>=? order by last"
        found = []
        with sqlite_errors():
            for end, data in self._catalog.conn.execute(query, (folder, first)):
                found.append(data)
                if end >= last:
                    break
        try:
            return [_decoder.decode(data) for data in found]
        except msgspec.MsgspecError:
            return []

    def begin(self) -> None:
        """Start to gather new rows."""
        with sqlite_errors():
            for statement in (
                "drop table if exists temp.scan_new",
                "drop table if exists temp.scan_gone",
                "drop table if exists temp.scan_seen",
                "create temp table scan_new (folder integer, last blob, data blob)",
                "create temp table scan_gone (folder integer, last blob)",
                "create temp table scan_seen (folder integer primary key)",
            ):
                self._catalog.conn.execute(statement)
        self._begun = True

    def put(self, folder: int, old: Sequence[Row], new: Iterable[Row]) -> None:
        """Gather the rows of one folder: those that differ from the old ones."""
        before = dict(old)
        self.put_some(folder, before, new)
        self.end_folder(folder, before, fresh=not old)

    def put_some(self, folder: int, before: dict[bytes, bytes], new: Iterable[Row]) -> None:
        """Gather some of the rows of a folder: those that differ from the ones `before`, by their
        last names. What has been met is taken out of there."""
        for row in new:
            if before.pop(row.last, None) != row.data:
                self._rows.append((folder, *row))
                if len(self._rows) > AT_ONCE:
                    self._spill()

    def drop(self, folder: int, lasts: Iterable[bytes]) -> None:
        """Some rows of a folder go, by their last names."""
        self._gone += [(folder, last) for last in lasts]

    def end_folder(self, folder: int, before: Iterable[bytes], *, fresh: bool) -> None:
        """All rows of a folder were put; those that are left of the ones `before` go. `fresh`:
        there had been none."""
        self._visited += 1
        self._folders.append((folder,))
        self._fresh_folders += fresh
        self._gone += [(folder, last) for last in before]
        if len(self._rows) + len(self._gone) + len(self._folders) > AT_ONCE:
            self._spill()

    def _spill(self) -> None:
        conn = self._catalog.conn
        with sqlite_errors():
            conn.execute("begin")
            conn.executemany("insert into temp.scan_new values (?, ?, ?)", self._rows)
            conn.executemany("insert into temp.scan_gone values (?, ?)", self._gone)
            conn.executemany("insert or ignore into temp.scan_seen values (?)", self._folders)
            conn.execute("commit")
        self._rows, self._gone, self._folders = [], [], []

    def save(self, *, whole: bool) -> None:
        """Replace the old rows by the gathered ones. `whole`: the scan saw the whole tree, so that
        rows of folders it did not see may go."""
        assert self._begun
        self._spill()
        with self._catalog.transaction() as conn:
            if not self._usable:
                conn.execute("delete from scan_state")
            conn.execute(
                "delete from scan_state where (folder, last) in (select * from temp.scan_gone)"
            )
            conn.execute("insert or replace into scan_state select * from temp.scan_new")
            _put_fact(conn, "scan-system", self._system)
            self._sweep(conn, whole)
        self._usable = True

    def _sweep(self, conn: sqlite3.Connection, whole: bool) -> None:
        """Rows of deleted folders go when they are a quarter of all: looking at each row costs what
        the tree has, not what changed."""
        count = int(self._catalog.fact("scan-folders") or 0) if self._usable else 0
        count += self._fresh_folders
        if whole and count > self._visited * 5 // 4 + 1000:
            conn.execute(
                "delete from scan_state where folder not in (select folder from temp.scan_seen)"
            )
            count = self._visited
        _put_fact(conn, "scan-folders", str(count).encode())


def _put_fact(conn: sqlite3.Connection, name: str, value: bytes) -> None:
    conn.execute("insert or replace into facts values (?, ?)", (name, value))
