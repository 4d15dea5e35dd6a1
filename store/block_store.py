"""The block store: objects by key, over packs and the block index.

Reading verifies every object against its id; one that fails leaves the index at once, so that the
next commit or push stores it again. Writing goes through an `object_writer.ObjectWriter`.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from .block_index import BlockIndex, Location
from .codec import Codec
from .errors import Corrupt, LostObject, StorageError, storage_error
from .ids import Key, block_key, key_name, node_key, object_id
from .node_cache import NodeCache, nodes_around
from .packfile import (
    FILE_HEADER,
    RECORD_HEADER,
    FooterEntry,
    Record,
    check_record_header,
    pack_file_name,
)

MAX_OPEN_PACKS: Final = 64
READ_SPAN: Final = 4 << 20
READ_GAP: Final = 64 << 10
BEFORE: Final = 64 << 10
BEHIND: Final = 32 << 10
"""Bytes of a pack that are read before and behind a node, for the nodes that lie there."""


class PackFiles:
    """Open descriptors of packs, bounded. Thread-safe; a descriptor in use is never closed."""

    def __init__(self, folder: Path) -> None:
        self._prefix = f"{folder}/"  # joining paths is slow, and there may be thousands
        self._lock = threading.Lock()
        self._open: OrderedDict[bytes, _OpenPack] = OrderedDict()

    def read(self, name: bytes, length: int, offset: int) -> bytes:
        """`length` bytes at `offset` of a pack; Corrupt when the pack is missing or shorter."""
        content = self.read_up_to(name, length, offset)
        if len(content) != length:
            raise Corrupt(f"pack {name.hex()[:12]} is cut short")
        return content

    def read_up_to(self, name: bytes, length: int, offset: int) -> bytes:
        """Like read, but fewer bytes where the pack ends."""
        pack = self._borrow(name)
        try:
            return os.pread(pack.descriptor, length, offset)
        except OSError as error:
            raise storage_error(f"reading pack {name.hex()[:12]}", error) from error
        finally:
            self._give_back(pack)

    def close(self) -> None:
        with self._lock:
            for pack in self._open.values():
                os.close(pack.descriptor)
            self._open.clear()

    def forget(self, name: bytes) -> None:
        """Open a pack anew at the next read: another file has taken its place."""
        with self._lock:
            pack = self._open.pop(name, None)
            if pack is not None and not pack.users:
                os.close(pack.descriptor)
            elif pack is not None:
                pack.dropped = True

    def _borrow(self, name: bytes) -> _OpenPack:
        with self._lock:
            pack = self._open.get(name)
            if pack is None:
                path = self._prefix + pack_file_name(name)
                try:
                    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError as error:
                    raise Corrupt(
                        f"pack {name.hex()[:12]} is missing", hint="see: treering fsck"
                    ) from error
                except OSError as error:
                    raise storage_error(f"opening pack {name.hex()[:12]}", error) from error
                pack = self._open[name] = _OpenPack(descriptor)
            self._open.move_to_end(name)
            pack.users += 1
            self._shrink()
            return pack

    def _give_back(self, pack: _OpenPack) -> None:
        with self._lock:
            pack.users -= 1
            if pack.dropped and not pack.users:
                os.close(pack.descriptor)

    def _shrink(self) -> None:
        while len(self._open) > MAX_OPEN_PACKS:
            idle = next((name for name, pack in self._open.items() if not pack.users), None)
            if idle is None:
                return
            os.close(self._open.pop(idle).descriptor)


class _OpenPack:
    __slots__ = ("descriptor", "dropped", "users")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.dropped = False
        self.users = 0


class BlockStore:
    """Objects by key. Reading is safe from any thread; `on_bad` is called, from the thread that
    met it, when an object was found bad and has left the index."""

    def __init__(
        self,
        packs: Path,
        tmp: Path,
        index: BlockIndex,
        codec: Codec,
        on_bad: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_bad = on_bad
        self.packs = packs
        self.tmp = tmp
        self.index = index
        self.codec = codec
        self.files = PackFiles(packs)
        self._nodes = NodeCache()

    def close(self) -> None:
        self.files.close()
        self.index.close()

    def node(self, identity: bytes) -> bytes:
        """The plain bytes of a node. Those that lie around it are read along with it."""
        plain = self._nodes.plain(identity)
        if plain is None:
            plain = self._read_ahead(identity)
            if plain is None:
                key = node_key(identity)
                self._nodes.keep_records(self._around(key))
                plain = self._read_ahead(identity) or self.get(key)
            self._nodes.keep(identity, plain)
        return plain

    def _read_ahead(self, identity: bytes) -> bytes | None:
        """A node that was read along with others; None for one found bad too, which is then judged
        by itself."""
        record = self._nodes.take_record(identity)
        try:
            return None if record is None else expand(self.codec, record)
        except Corrupt:
            return None

    def block(self, identity: bytes) -> bytes:
        return self.get(block_key(identity))

    def get(self, key: bytes) -> bytes:
        """The verified plain bytes of one object. LostObject when absent, Corrupt when bad."""
        return self.expand(self.record(key))

    def record(self, key: bytes) -> Record:
        """One object as stored, its header checked, its content not."""
        (location,) = self.locate([key])
        return self._record_at(key, location)

    def _record_at(self, key: bytes, location: Location) -> Record:
        name = self.index.pack_name(location.pack)
        length = RECORD_HEADER.size + location.stored
        raw = self._read(key, name, length, location.offset - RECORD_HEADER.size)
        return self._cut(key, location, raw, 0)

    def _around(self, key: Key) -> list[Record]:
        """The records of the nodes that lie around an object, as far as they can be read, and are
        where the index looks for them."""
        (location,) = self.locate([key])
        wanted = location.offset - RECORD_HEADER.size
        start = max(FILE_HEADER.size, wanted - BEFORE)
        length = location.offset + location.stored + BEHIND - start
        try:
            content = self.files.read_up_to(self.index.pack_name(location.pack), length, start)
        except Corrupt:
            return []
        found = nodes_around(content, wanted - start)
        places = self.index.locate([record.key for _, record in found])
        return [
            record
            for (offset, record), place in zip(found, places, strict=True)
            if place
            == (location.pack, record.codec, start + offset, len(record.payload), record[2])
        ]

    def _read(self, key: bytes, name: bytes, length: int, offset: int) -> bytes:
        try:
            return self.files.read(name, length, offset)
        except Corrupt as error:
            raise self.bad(key, error) from error

    def _cut(self, key: bytes, location: Location, raw: bytes, start: int) -> Record:
        begin = start + RECORD_HEADER.size
        entry = FooterEntry(Key(key), location.codec, *location[2:])
        try:
            check_record_header(raw[start:begin], entry)
        except Corrupt as error:
            raise self.bad(key, error) from error
        payload = raw[begin : begin + location.stored]
        return Record(Key(key), location.codec, location.plain, payload)

    def expand(self, record: Record) -> bytes:
        """The plain bytes of a record of this store, verified; an object found bad leaves the
        index."""
        try:
            return expand(self.codec, record)
        except Corrupt as error:
            raise self.bad(record.key, error) from error

    def bad(self, key: bytes, error: Corrupt) -> Corrupt:
        """Take a bad object out of the index, where we may; the error to raise."""
        try:
            if self.index.forget([key]):
                self._on_bad()
        except (Corrupt, StorageError):
            pass
        return Corrupt(
            f"{key_name(key)[:18]} is damaged: {error.message}",
            hint="see what it belongs to with: treering fsck --read-data",
        )

    def locate(self, keys: Sequence[bytes]) -> list[Location]:
        """Where objects lie. LostObject for the first that is absent."""
        found: list[Location] = []
        for key, location in zip(keys, self.index.locate(keys), strict=True):
            if location is None:
                raise self._absent(key)
            found.append(location)
        return found

    def _absent(self, key: bytes) -> LostObject:
        return LostObject(
            f"{key_name(key)[:18]} is not in this repository",
            hint="see what lacks it with: treering fsck",
        )

    def stream(self, keys: Sequence[bytes]) -> Iterator[Record]:
        """The records of `keys` in the order in which they lie on disk, near ones read at once.
        LostObject for the first that is absent."""
        located = sorted(
            (location.pack, location.offset, key, location)
            for key, location in zip(keys, self.locate(keys), strict=True)
        )
        for run in _runs(located):
            first, last = run[0][3], run[-1][3]
            start = first.offset - RECORD_HEADER.size
            length = last.offset + last.stored - start
            name = self.index.pack_name(first.pack)
            try:
                raw = self.files.read(name, length, start)
            except Corrupt:  # one by one, so that only what is bad leaves the index
                for _, _, key, location in run:
                    yield self._record_at(key, location)
                continue
            for _, offset, key, location in run:
                yield self._cut(key, location, raw, offset - RECORD_HEADER.size - start)


def expand(codec: Codec, record: Record) -> bytes:
    """The plain bytes of a record, which must have the record's id. Corrupt otherwise."""
    plain = codec.expand(record.codec, record.payload, record.plain_length)
    if object_id(record.key[0], plain) != record.key[1:]:
        raise Corrupt("its content does not have its id")
    return plain


def _runs(
    located: list[tuple[int, int, bytes, Location]],
) -> Iterator[list[tuple[int, int, bytes, Location]]]:
    """Groups of neighbours in one pack that are worth one read."""
    run: list[tuple[int, int, bytes, Location]] = []
    start = end = 0
    for item in located:
        pack, offset, _, location = item
        near = run and run[-1][0] == pack and offset - end <= READ_GAP
        if not near or offset + location.stored - start > READ_SPAN:
            if run:
                yield run
            run, start = [], offset
        run.append(item)
        end = offset + location.stored
    if run:
        yield run
