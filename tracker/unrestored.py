"""What a restore could not put on disk (owners, some xattrs) and the next commit keeps.

An ordinary user who clones root's files owns the copies. Were their live owners committed, a later
change of one file would "change" its owner, too. So restore notes for each such path the owner it
left on disk and what it should have been; a commit that finds the former writes the latter.
Mirrored in the catalog from `marks/unrestored`. One instance belongs to one thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from ..store.catalog import sqlite_errors
from ..store.marks import MarkLog
from ..store.nodes import Entry, Extras
from ..store.repository import Repository

NAME: Final = "unrestored"


class Note(msgspec.Struct, array_like=True, frozen=True):
    """The owner on disk and the one wanted; xattrs that could not be set."""

    live_uid: int
    live_gid: int
    uid: int
    gid: int
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Note)


class Unrestored:
    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._catalog = catalog = repository.catalog
        self._log = log = MarkLog(repository.path / "marks" / NAME)
        if repository.writable:
            catalog.mirror(NAME, log, _apply)
        with sqlite_errors():
            row = catalog.conn.execute("select 1 from unrestored limit 1").fetchone()
        self._any = row is not None

    def apply(self, path: bytes, entry: Entry) -> Entry:
        """The live entry with what could not be restored put back."""
        if not self._any:
            return entry
        query = "select data from unrestored where path=?"
        with sqlite_errors():
            row = self._catalog.conn.execute(query, (path,)).fetchone()
        if row is None:
            return entry
        note = _decoder.decode(row[0])
        if entry.uid == note.live_uid:
            entry = replace(entry, uid=note.uid)
        if entry.gid == note.live_gid:
            entry = replace(entry, gid=note.gid)
        return _with_xattrs(entry, note.xattrs)

    def record(self, notes: Iterable[tuple[bytes, Note | None]]) -> None:
        """Note paths durably; None takes a note back."""
        rows = [
            [path.decode("utf-8", "surrogateescape"), _encoder.encode(note).hex() if note else "-"]
            for path, note in notes
            if note is not None or self._any
        ]
        if rows:
            with self._repository.lock("marks", "a note of what could not be restored"):
                self._log.append(rows)
            self._catalog.mirror(NAME, self._log, _apply)
            self._any = True


def _with_xattrs(entry: Entry, missing: tuple[tuple[bytes, bytes], ...]) -> Entry:
    present = dict(entry.more.xattrs)
    wanted = tuple(sorted({**dict(missing), **present}.items()))
    if wanted == entry.more.xattrs:
        return entry
    return replace(entry, extras=replace(entry.extras or Extras(), xattrs=wanted))


def _apply(conn: sqlite3.Connection, fields: list[str]) -> None:
    if len(fields) != 2:
        return
    path = fields[0].encode("utf-8", "surrogateescape")
    if fields[1] == "-":
        conn.execute("delete from unrestored where path=?", (path,))
    else:
        row = (path, bytes.fromhex(fields[1]))
        conn.execute("insert or replace into unrestored values (?, ?)", row)
