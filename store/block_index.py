"""The block index: object key -> pack, offset, codec and lengths, in LMDB.

It mirrors the packs' footers and can be rebuilt from them at any time. Transactions are LMDB's:
one writer at a time over all processes, readers never blocked. Every open calls `reader_check`, so
that slots of killed readers do not pile up. One instance may be used from any thread.

LMDB was chosen by measurement: 262 k inserts/s and 800 k look-ups/s, SQLite 35 k and 100 k.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import lmdb

from .batches import batched
from .errors import Corrupt, StorageError, UnsupportedFormat, storage_error
from .ids import Key
from .packfile import FooterEntry

MAP_SIZES: Final = (1 << 40, 1 << 36, 1 << 32)
"""Address space to reserve, tried from the largest: a limit on it (ulimit -v) gets the next."""
VALUE: Final = struct.Struct("<IBQII")
"""pack number, codec, offset of the payload, stored length, plain length"""
PLAIN: Final = struct.Struct("<I")
PLAIN_AT: Final = VALUE.size - PLAIN.size
NUMBER: Final = struct.Struct("<I")
UNFINISHED: Final = b"+"
"""Before the number of a pack that is not wholly added yet."""
AT_ONCE: Final = 1 << 13
"""Objects of one transaction. LMDB keeps each page that it changes in memory until the transaction
ends, and of a large index random keys change a page each: 32 MiB for so many."""
SCHEMA: Final = b"1"
DATA_FILE: Final = "data.mdb"
LOCK_FILE: Final = "lock.mdb"
LOCK_SIZE: Final = 1 << 17
"""Bytes, which are slots for 2,046 readers."""


class Location(NamedTuple):
    """Where an object lies: `pack` is the pack's number in this index."""

    pack: int
    codec: int
    offset: int
    stored: int
    plain: int


class _LmdbErrors:
    """Makes errors of LMDB ours. A class, since it is entered for each look-up."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, lmdb.Error):
            return
        reason = str(error)
        full = isinstance(error, lmdb.MapFullError | lmdb.DiskError)
        if full or "No space left" in reason or "Input/output error" in reason:
            raise StorageError(f"block index: {reason}") from error
        raise Corrupt(
            f"block index: {reason}", hint="rebuild it with: treering fsck --rebuild-index"
        ) from error


_lmdb_errors: Final = _LmdbErrors()


class BlockIndex:
    """The open index in `folder`. `writable=False` opens without locks, for repositories that the
    user may only read, or with them (`locked`) for a reader beside writers. `durable=False` is for
    one that is made anew: what is put into it is durable after `sync`."""

    def __init__(
        self, folder: Path, *, writable: bool = True, locked: bool = False, durable: bool = True
    ) -> None:
        self.folder = folder
        with _lmdb_errors:
            self._env = _open(folder, writable, writable or locked, durable)
            self._check_length(folder)
            self._objects = self._env.open_db(b"objects", create=writable)
            self._packs = self._env.open_db(b"packs", create=writable)
            self._names: dict[int, bytes] = {}
            if writable:
                self._env.reader_check()
            self._gate()

    def _gate(self) -> None:
        with self._env.begin() as txn:
            found = txn.get(b"schema")
        self.settled = found is not None
        if found is not None and found != SCHEMA:
            self._env.close()
            raise UnsupportedFormat(
                f"the block index has schema {found.decode(errors='replace')}",
                hint="rebuild it with: treering fsck --rebuild-index",
            )

    def _check_length(self, folder: Path) -> None:
        """A file shorter than its own pages would be a bus error at the first look-up."""
        pages = self._env.info()["last_pgno"] + 1
        if (folder / DATA_FILE).stat().st_size < pages * self._env.stat()["psize"]:
            self._env.close()
            raise Corrupt(
                "the block index is cut short",
                hint="rebuild it with: treering fsck --rebuild-index",
            )

    def settle(self) -> None:
        """Say durably that every pack was offered to this index. Until then `settled` is false: it
        is new, its file was emptied, or whoever was filling it was killed."""
        if not self.settled:
            with _lmdb_errors, self._env.begin(write=True) as txn:
                txn.put(b"schema", SCHEMA)
            self.settled = True

    def close(self) -> None:
        self._env.close()

    def locate(self, keys: Sequence[bytes]) -> list[Location | None]:
        """The location of each key, None where it is absent."""
        unpack = VALUE.unpack
        with _lmdb_errors, self._env.begin(db=self._objects) as txn:
            found = [txn.get(key) for key in keys]
        return [None if value is None else Location(*unpack(value)) for value in found]

    def present(self, keys: Iterable[bytes]) -> list[bool]:
        """For each key whether it is there."""
        with _lmdb_errors, self._env.begin(db=self._objects) as txn:
            return [txn.get(key) is not None for key in keys]

    def lengths(self, keys: Iterable[bytes]) -> list[int | None]:
        """The plain length of each object in bytes, None where it is absent."""
        with _lmdb_errors, self._env.begin(db=self._objects) as txn:
            found = [txn.get(key) for key in keys]
        return [None if value is None else PLAIN.unpack_from(value, PLAIN_AT)[0] for value in found]

    def add_pack(self, name: bytes, entries: Iterable[FooterEntry]) -> int:
        """Record a durable pack and its objects, durably; the number of the pack. A key that is
        already there keeps its location; one that was forgotten comes back: a pack that was written
        again with the same bytes has the same name. Many objects take several transactions, and
        until the last of them the pack is among the `unfinished`: added again, it is finished."""
        batches = batched(entries, AT_ONCE)
        batch = next(batches, [])
        number = 0
        while True:
            following = next(batches, None)
            with _lmdb_errors, self._env.begin(write=True) as txn:
                number = number or self._number(txn, name)
                mark = UNFINISHED + NUMBER.pack(number)
                if following is None:
                    txn.delete(mark, db=self._packs)
                else:
                    txn.put(mark, b"", db=self._packs)
                items = [(entry[0], VALUE.pack(number, *entry[1:])) for entry in batch]
                txn.cursor(db=self._objects).putmulti(items, overwrite=False)
            if following is None:
                return number
            batch = following

    def number_pack(self, name: bytes) -> int:
        """Give a pack its number before its objects are appended."""
        with _lmdb_errors, self._env.begin(write=True) as txn:
            return self._number(txn, name)

    def append(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Put objects behind all that are there: keys in order, with their locations as VALUE packs
        them."""
        with _lmdb_errors, self._env.begin(write=True) as txn:
            txn.cursor(db=self._objects).putmulti(items, append=True)

    def sync(self) -> None:
        """Make durable what was put in so far."""
        with _lmdb_errors:
            self._env.sync(True)

    def _number(self, txn: lmdb.Transaction, name: bytes) -> int:
        """The number of a pack, which is given one if it has none."""
        known = txn.get(b"n" + name, db=self._packs)
        if known:
            return int(NUMBER.unpack(known)[0])
        last = txn.get(b"last", db=self._packs)
        number: int = NUMBER.unpack(last)[0] + 1 if last else 1
        packed = NUMBER.pack(number)
        txn.put(b"last", packed, db=self._packs)
        txn.put(b"n" + name, packed, db=self._packs)
        txn.put(b"#" + packed, name, db=self._packs)
        return number

    def packs(self) -> dict[int, bytes]:
        """Pack number -> pack name."""
        with _lmdb_errors, self._env.begin(db=self._packs) as txn:
            found = {}
            for key, value in txn.cursor().iternext():
                if key[:1] == b"#":
                    found[NUMBER.unpack(key[1:])[0]] = bytes(value)
            return found

    def unfinished(self) -> set[int]:
        """Numbers of packs of which not all objects were added."""
        found = set()
        with _lmdb_errors, self._env.begin(db=self._packs) as txn:
            cursor = txn.cursor()
            if cursor.set_range(UNFINISHED):
                for key in cursor.iternext(values=False):
                    if not key.startswith(UNFINISHED):
                        break
                    found.add(NUMBER.unpack(key[len(UNFINISHED) :])[0])
        return found

    def pack_name(self, number: int) -> bytes:
        """The name of pack `number`. Corrupt when the index has no such pack."""
        name = self._names.get(number)
        if name is None:
            self._names = self.packs()
            name = self._names.get(number)
            if name is None:
                raise Corrupt(f"the block index names pack {number}, which it does not know")
        return name

    def drop_packs(self, numbers: set[int]) -> int:
        """Forget packs and all objects that lie in them; the number of objects forgotten."""
        dropped = 0
        with _lmdb_errors, self._env.begin(write=True) as txn:
            for number in numbers:
                packed = NUMBER.pack(number)
                name = txn.get(b"#" + packed, db=self._packs)
                txn.delete(b"#" + packed, db=self._packs)
                txn.delete(UNFINISHED + packed, db=self._packs)
                if name is not None:
                    txn.delete(b"n" + name, db=self._packs)
            cursor = txn.cursor(db=self._objects)
            more = cursor.first()
            while more:
                if NUMBER.unpack_from(cursor.value())[0] in numbers:
                    dropped += 1
                    more = cursor.delete() and bool(cursor.key())
                else:
                    more = cursor.next()
        self._names = {}
        return dropped

    def forget(self, keys: Iterable[bytes]) -> int:
        """Take objects found bad out of the index, so that the next writer stores them again."""
        with _lmdb_errors, self._env.begin(write=True, db=self._objects) as txn:
            return sum(txn.delete(key) for key in keys)

    def items(self) -> Iterator[tuple[Key, Location]]:
        """Every object in key order, in one read transaction."""
        with _lmdb_errors, self._env.begin(db=self._objects) as txn:
            for key, value in txn.cursor().iternext():
                yield Key(bytes(key)), Location(*VALUE.unpack(value))

    def matching(self, prefix: bytes, limit: int) -> list[Key]:
        """Up to `limit` keys that start with `prefix`."""
        found: list[Key] = []
        with _lmdb_errors, self._env.begin(db=self._objects) as txn:
            cursor = txn.cursor()
            if cursor.set_range(prefix):
                for key in cursor.iternext(values=False):
                    if not key.startswith(prefix) or len(found) == limit:
                        break
                    found.append(Key(bytes(key)))
        return found

    def __len__(self) -> int:
        with _lmdb_errors, self._env.begin() as txn:
            return int(txn.stat(self._objects)["entries"])


def _open(folder: Path, writable: bool, locked: bool, durable: bool) -> lmdb.Environment:
    for size in MAP_SIZES:
        try:
            if writable and locked:
                _allocate_locks(folder)
            return lmdb.open(
                os.fsencode(folder),
                map_size=size,
                max_dbs=4,
                max_readers=1024,
                mode=0o600,
                readonly=not writable,
                lock=locked,
                create=writable,
                readahead=False,
                sync=durable,
            )
        except lmdb.MemoryError:
            continue
        except OSError as error:
            raise storage_error("opening the block index", error) from error
    raise StorageError("block index: no address space left", hint="raise the limit: ulimit -v")


def _allocate_locks(folder: Path) -> None:
    """LMDB maps its table of readers, a file that it makes with holes: a store to one of them kills
    the process (SIGBUS) when the disk is full. Of one that is there the size stays, by which all
    processes must go."""
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        info = os.fstat(descriptor)
        size = info.st_size or LOCK_SIZE
        if info.st_blocks * 512 < size:
            os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


def replace_index(folder: Path, rebuilt: Path) -> None:
    """Put a rebuilt index in the place of the one in `folder`. Nobody may have either open."""
    aside = folder.with_name(folder.name + ".old")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
    rebuilt.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)
