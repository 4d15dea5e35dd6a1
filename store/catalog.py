"""The catalog: the SQLite database of what is not content.

Everything in it mirrors something that is truth elsewhere (packs, history, `marks/`) or saves time
(the scan state); losing it loses nothing but time. It is therefore in WAL mode with
synchronous=NORMAL, where it can be: a power cut may take its last transactions, never its
integrity.

sqlite-utils creates and migrates the schema and serves reports; it takes 0.2 s and more to import,
so it is imported only when there is something to migrate. Hot paths use `conn`, the stdlib's
connection. A catalog belongs to one thread.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .errors import Corrupt, StorageError, UnsupportedFormat
from .marks import MarkLog

if TYPE_CHECKING:
    from sqlite_utils import Database

    from .packfile import PackInfo

SQLITE_PAGE: Final = 4096
"""Bytes of what SQLite maps at once."""
HELD_LEVELS: Final = ("none", "nodes", "whole")


def _first(db: Database) -> None:
    db.table("packs").create({"name": bytes, "size": int, "blocks": int, "nodes": int}, pk="name")
    db.table("held").create({"root": bytes, "level": str}, pk="root")
    finalized = {"seq": int, "time": int, "ref": str, "old": str, "new": str}
    db.table("finalized").create(finalized, pk="seq")
    db.table("mirrored").create({"mark": str, "offset": int}, pk="mark")
    db.table("facts").create({"name": str, "value": bytes}, pk="name")
    db.execute(
        "create table scan_state (folder integer not null, last blob not null, data blob not null,"
        " primary key (folder, last)) without rowid"
    )
    db.execute("create table unrestored (path blob primary key, data blob) without rowid")
    db.execute(
        "create table links (path blob primary key, inode integer not null,"
        " levels integer, target blob) without rowid"
    )


def _second(db: Database) -> None:
    db.execute("create index links_by_inode on links (inode)")


MIGRATIONS: Final[tuple[Callable[[Database], None], ...]] = (_first, _second)
"""One function a schema version; never edited once released, only added to."""


@contextmanager
def sqlite_errors() -> Iterator[None]:
    """Turns SQLite's errors into ours: damage is Corrupt, the disk's refusals StorageError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        # SQLite says "disk I/O error" of a full disk too, when it was the -shm file that met it.
        refused = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
        hint = "is the disk full? free some space and run it again" if refused else None
        raise StorageError(f"catalog: {error}", hint=hint) from error
    except sqlite3.DatabaseError as error:
        raise Corrupt(
            f"catalog: {error}",
            hint="it holds nothing that is not elsewhere: delete catalog.db and run it again",
        ) from error


def _durability(path: Path) -> dict[str, str]:
    """How SQLite writes. A write-ahead log needs shared memory in a file, of which it allocates the
    last byte of each page: where blocks are smaller than pages the rest is holes, and a store to
    one of them kills the process (SIGBUS) when the disk is full."""
    if os.statvfs(path.parent).f_bsize >= SQLITE_PAGE:
        return {"journal_mode": "wal", "synchronous": "normal"}
    return {"journal_mode": "truncate", "synchronous": "full"}


class Catalog:
    """The open catalog at `path`, made or migrated if need be (`writable=False` does neither)."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        with sqlite_errors():
            uri = f"{path.absolute().as_uri()}?mode={'rwc' if writable else 'ro&immutable=1'}"
            self.conn = sqlite3.connect(uri, uri=True, timeout=60, isolation_level=None)
            if writable:
                path.chmod(0o600)
                for name, value in _durability(path).items():
                    self.conn.execute(f"pragma {name}={value}")
            self._migrate(writable)

    def _migrate(self, writable: bool) -> None:
        (version,) = self.conn.execute("pragma user_version").fetchone()
        if version > len(MIGRATIONS):
            raise UnsupportedFormat(
                f"the catalog has schema {version}; this treering knows {len(MIGRATIONS)}",
                hint="use a newer treering, or delete catalog.db: it is rebuilt",
            )
        if version == len(MIGRATIONS) or not writable:
            return
        import sqlite_utils  # slow to import, needed once in a repository's life

        self.conn.execute("begin immediate")
        try:
            (version,) = self.conn.execute("pragma user_version").fetchone()
            for number, migration in enumerate(MIGRATIONS[version:], version + 1):
                migration(sqlite_utils.Database(self.conn))
                self.conn.execute(f"pragma user_version={number}")
        except BaseException:
            self.conn.execute("rollback")
            raise
        self.conn.execute("commit")

    def close(self) -> None:
        self.conn.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, one writer at a time over all processes."""
        with sqlite_errors():
            self.conn.execute("begin immediate")
            try:
                yield self.conn
            except BaseException:
                self.conn.execute("rollback")
                raise
            self.conn.execute("commit")

    def mirror(
        self, name: str, log: MarkLog, apply: Callable[[sqlite3.Connection, list[str]], None]
    ) -> None:
        """Bring a table up to date with a mark log: `apply` is called for each record not seen."""
        with sqlite_errors():
            if next(log.read(self._mirrored(name)), None) is None:
                return
        with self.transaction() as conn:
            # Asked again under the lock: another process may have mirrored them meanwhile.
            found = list(log.read(self._mirrored(name)))
            for fields, _ in found:
                apply(conn, fields)
            if not found:
                return
            conn.execute("insert or replace into mirrored values (?, ?)", (name, found[-1][1]))

    def _mirrored(self, name: str) -> int:
        row = self.conn.execute("select offset from mirrored where mark=?", (name,)).fetchone()
        return row[0] if row else 0

    def fact(self, name: str) -> bytes | None:
        """A remembered value, by name."""
        with sqlite_errors():
            row = self.conn.execute("select value from facts where name=?", (name,)).fetchone()
        return row[0] if row else None

    def add_packs(self, packs: Iterable[PackInfo]) -> None:
        """Record packs."""
        with self.transaction() as conn:
            conn.executemany("insert or ignore into packs values (?, ?, ?, ?)", packs)

    def pack_names(self) -> set[bytes]:
        """The names of all packs recorded."""
        with sqlite_errors():
            return {name for (name,) in self.conn.execute("select name from packs")}

    def drop_packs(self, names: Iterable[bytes]) -> None:
        with self.transaction() as conn:
            conn.executemany("delete from packs where name=?", [(name,) for name in names])
