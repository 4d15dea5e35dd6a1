"""A repository: wires its parts together and owns the locks.

    format  config  history/  packs/  marks/  index/  catalog.db  tracker/  tmp/

Parts open on first use, so that `log` opens no index. A repository that the user may only read is
opened without writing. Before the first write, packs on disk, block index and catalog are
reconciled, and what killed writers left is salvaged. One instance belongs to one thread; its block
store may be read from any.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Final

from .block_index import BlockIndex
from .block_store import BlockStore
from .catalog import HELD_LEVELS, Catalog, sqlite_errors
from .codec import Codec
from .config import Config
from .durable import fsync_folder, fsync_tree
from .errors import Conflict, Corrupt, InvalidInput, StorageError, storage_error
from .filesystem import filesystem_type, is_network
from .format import DEFAULT_BLOCK_SIZE, Format, read_format, write_format
from .history import History, RefUpdate, create_history
from .locking import DEFAULT_WAIT_SECONDS, FileLock
from .marks import MarkLog
from .nodes import valid_block_size
from .object_writer import ObjectWriter
from .packfile import PackInfo, pack_file_name, pack_names_in, read_footer, read_pack_info
from .salvage import salvage

FOLDERS: Final = ("packs", "marks", "index", "tracker", "tmp")
ALL_ROOTS: Final = "*"


def _ignore(_message: str) -> None:
    pass


class Repository:
    """The open repository at `path` (a `.treering` folder or a bare repository).

    `notice` receives lines for the user ("waiting: ..."), `clock` gives seconds since the epoch,
    `threads` is how many workers bulk work may use, `lock_wait` how long to wait for a lock.
    """

    def __init__(
        self,
        path: Path,
        *,
        notice: Callable[[str], None] = _ignore,
        clock: Callable[[], float] = time.time,
        threads: int | None = None,
        lock_wait: float = DEFAULT_WAIT_SECONDS,
    ) -> None:
        self.path = path
        self.format: Format = read_format(path)
        self.notice = notice
        self.clock = clock
        self.threads = threads or len(os.sched_getaffinity(0))
        self.lock_wait = lock_wait
        self._left_out: set[bytes] = set()
        self.writable = os.access(path, os.W_OK) and os.access(path / "tmp", os.W_OK)
        kind = filesystem_type(path)
        if is_network(kind):
            raise StorageError(
                f"{path} is on a network file system ({kind}), where LMDB and SQLite cannot lie",
                hint="keep the repository on a local disk: treering init --repo PATH",
            )

    @staticmethod
    def create(path: Path, block_size: int = DEFAULT_BLOCK_SIZE) -> None:
        """Make an empty repository at `path`, which must not exist or be an empty folder, and make
        it durable. The format file is written last: a crash leaves no half repository."""
        if not valid_block_size(block_size):
            raise InvalidInput("the block size must be a power of two from 4 KiB to 8 MiB")
        try:
            above = [path.parent, *(each.parent for each in path.parents if not each.exists())]
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if (path / "format").exists():
                raise Conflict(f"there is a repository at {path} already")
            kind = filesystem_type(path)
            if is_network(kind):
                raise StorageError(
                    f"{path} is on a network file system ({kind}), where no repository can lie yet",
                    hint="keep the repository on a local disk: treering init --repo PATH",
                )
            path.chmod(0o700)
            for name in FOLDERS:
                (path / name).mkdir(exist_ok=True)
            (path / "config").touch()
            create_history(path / "history")
            fsync_tree(path)
            write_format(path, Format(block_size))
            for folder in above:
                with suppress(PermissionError):  # one may write where one may not read
                    fsync_folder(folder)
        except OSError as error:
            raise storage_error(f"making a repository at {path}", error) from error

    # -- parts -----------------------------------------------------------------------------------

    @property
    def block_size(self) -> int:
        return self.format.block_size

    @cached_property
    def config(self) -> Config:
        return Config(self.path / "config")

    @cached_property
    def history(self) -> History:
        found = History(self.path / "history", self._history_lock)
        if self.writable:
            found.settle_at_once()
        return found

    @cached_property
    def store(self) -> BlockStore:
        index = self._open_index()
        store = BlockStore(self.path / "packs", self.path / "tmp", index, Codec(), self.doubt)
        if not index.settled:
            self._reconcile(store)
        return store

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog(self.path / "catalog.db", writable=self.writable)

    @property
    def tmp(self) -> Path:
        return self.path / "tmp"

    def close(self) -> None:
        """Close what was opened."""
        for name in ("store", "catalog"):
            part = self.__dict__.pop(name, None)
            if part is not None:
                part.close()

    def lock(self, name: str, purpose: str) -> FileLock:
        """A lock of this repository: `name` is the file in tmp/, `purpose` what its holder does."""
        path = self.tmp / f"{name}.lock"
        return FileLock(path, purpose, wait=self.lock_wait, notice=self.notice)

    def _history_lock(self) -> FileLock:
        return self.lock("history", "a change of history")

    # -- objects ---------------------------------------------------------------------------------

    def _open_index(self) -> BlockIndex:
        folder = self.path / "index"
        if self.writable:
            folder.mkdir(exist_ok=True)
        index = BlockIndex(folder, writable=self.writable)
        if not (index.settled or self.writable):
            index.close()
            raise Corrupt(
                "the block index is not complete, and may only be read",
                hint="run any treering command as the owner of the repository",
            )
        return index

    def writer(self, on_pack: Callable[[PackInfo], None] = lambda _pack: None) -> ObjectWriter:
        """A writer for one command, after reconciling and salvage; `on_pack` as it has it."""
        if not self.writable:
            raise StorageError(f"{self.path} may only be read")
        with self.lock("salvage", "salvage of unfinished packs"):
            self._reconcile(self.store)
            kept = salvage(self.store, self.threads)
        if kept:
            self.notice(f"salvaged {kept} objects from a run that was interrupted")
        return ObjectWriter(self.store, on_pack=on_pack)

    def _reconcile(self, store: BlockStore) -> None:
        """Make the index agree with the packs on disk: a crash may fall between the two. A pack
        whose footer is damaged is said once, and left out."""
        on_disk = dict.fromkeys(pack_names_in(store.packs))
        indexed = store.index.packs()
        gone = {number for number, name in indexed.items() if name not in on_disk}
        if gone:
            self.notice(f"{len(gone)} packs are missing: run treering fsck")
            store.index.drop_packs(gone)
            self.catalog.drop_packs(indexed[number] for number in gone)
            self.doubt()
        unfinished = store.index.unfinished()
        known = {name for number, name in indexed.items() if number not in unfinished}
        listed = self.catalog.pack_names()
        for name in on_disk:
            if name in known and name in listed:
                continue
            path = store.packs / pack_file_name(name)
            try:
                if name not in known:
                    store.index.add_pack(name, read_footer(path))
                if name not in listed:
                    self.record_packs([read_pack_info(path, name)])
            except Corrupt as error:
                self._leave_out(name, error)
        store.index.settle()

    def _leave_out(self, name: bytes, error: Corrupt) -> None:
        if name not in self._left_out:
            self.notice(f"{error.message}; it is left out: run treering fsck")
            self._left_out.add(name)

    def record_packs(self, packs: Iterable[PackInfo]) -> None:
        """Put packs into the catalog."""
        if rows := list(packs):
            self.catalog.add_packs(rows)

    # -- what is held ----------------------------------------------------------------------------

    @cached_property
    def _held_log(self) -> MarkLog:
        return MarkLog(self.path / "marks" / "held")

    @cached_property
    def _finalized_log(self) -> MarkLog:
        return MarkLog(self.path / "marks" / "finalized")

    def held(self, root: bytes) -> str:
        """What this repository has of a root: "whole", "nodes" or "none"."""
        if not self.writable:
            return self._held_from_log(root)
        self.catalog.mirror("held", self._held_log, _apply_held)
        with sqlite_errors():
            query = "select level from held where root=?"
            row = self.catalog.conn.execute(query, (root,)).fetchone()
        return row[0] if row else "none"

    def _held_from_log(self, root: bytes) -> str:
        level = "none"
        for (name, stated), _ in self._held_log.read():
            if name in (root.hex(), ALL_ROOTS):
                level = stated
        return level

    def mark_held(self, roots: Iterable[bytes], level: str) -> None:
        """Record durably what is held of roots. Called before a ref names them."""
        assert level in HELD_LEVELS
        with self.lock("marks", "a note of what is held"):
            self._held_log.append([root.hex(), level] for root in roots)

    def doubt(self) -> None:
        """Objects were lost or found bad: no root counts as held whole until it is walked again,
        and the next commit reads the work tree as if for the first time, so that both heal."""
        if not self.writable:
            return
        with self.lock("marks", "a note of what is held"):
            self._held_log.append([[ALL_ROOTS, "none"]])
        # A catalog belongs to one thread, and a bad object may be met in any.
        catalog = Catalog(self.path / "catalog.db")
        try:
            with catalog.transaction() as conn:
                conn.execute("delete from scan_state")
        finally:
            catalog.close()

    def mark_finalized(self, updates: Iterable[RefUpdate]) -> None:
        """Record durably that refs have moved, in the order of this repository's own sequence."""
        now = str(int(self.clock()))
        with self.lock("marks", "a note of what is finalized"):
            self._finalized_log.append(
                [now, update.name, update.old or "-", update.new or "-"] for update in updates
            )
        self.catalog.mirror("finalized", self._finalized_log, _apply_finalized)

    def finalized(self) -> dict[str, str | None]:
        """Where each ref was moved last, as recorded; None for one that was deleted."""
        moves = (fields for fields, _ in self._finalized_log.read())
        return {
            fields[1]: None if fields[3] == "-" else fields[3]
            for fields in moves
            if len(fields) == 4
        }

    def marks(self) -> list[MarkLog]:
        """All mark logs, for fsck."""
        return [MarkLog(path) for path in sorted((self.path / "marks").iterdir())]


def _apply_held(conn: sqlite3.Connection, fields: list[str]) -> None:
    if len(fields) != 2 or fields[1] not in HELD_LEVELS:
        return
    if fields[0] == ALL_ROOTS:
        conn.execute("delete from held")
        return
    root = bytes.fromhex(fields[0])
    conn.execute("insert or replace into held values (?, ?)", (root, fields[1]))


def _apply_finalized(conn: sqlite3.Connection, fields: list[str]) -> None:
    if len(fields) == 4:
        conn.execute(
            "insert into finalized (time, ref, old, new) values (?, ?, ?, ?)",
            (int(fields[0]), *fields[1:]),
        )
