"""Nodes that were read, kept for a while; and records of nodes that were read along with others.

A commit writes its nodes one behind the other, children before their folder, and who walks from a
root down wants them in the other order. So the first node that is wanted of a place in a pack
brings the records of the nodes around it: one look-up and one read for many. They are kept as they
are stored, and verified when they are asked for.

May be used from any thread.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from .ids import NODE_PREFIX, Key, Kind
from .packfile import RECORD_HEADER, RECORD_MAGIC, Record

PLAIN_BYTES: Final = 16 << 20
AHEAD_BYTES: Final = 4 << 20
PLAIN_EACH: Final = 320
RECORD_EACH: Final = 480
"""What a node takes beside its bytes: its id, the objects around it, its place in the table. Index
nodes of short files are so small that this is most of it."""


class NodeCache:
    """By node id: plain bytes that were verified, and records that were not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plain: OrderedDict[bytes, bytes] = OrderedDict()
        self._plain_size = 0
        self._ahead: OrderedDict[bytes, Record] = OrderedDict()
        self._ahead_size = 0

    def plain(self, identity: bytes) -> bytes | None:
        with self._lock:
            plain = self._plain.get(identity)
            if plain is not None:
                self._plain.move_to_end(identity)
            return plain

    def keep(self, identity: bytes, plain: bytes) -> None:
        with self._lock:
            if identity not in self._plain:
                self._plain[identity] = plain
                self._plain_size += len(plain) + PLAIN_EACH
            while self._plain_size > PLAIN_BYTES:
                _, dropped = self._plain.popitem(last=False)
                self._plain_size -= len(dropped) + PLAIN_EACH

    def take_record(self, identity: bytes) -> Record | None:
        """The record of a node, which is dropped: verified, it comes back through `keep`."""
        with self._lock:
            record = self._ahead.pop(identity, None)
            if record is not None:
                self._ahead_size -= len(record.payload) + RECORD_EACH
            return record

    def keep_records(self, records: Iterable[Record]) -> None:
        with self._lock:
            for record in records:
                identity = record.key[1:]
                if identity not in self._ahead and identity not in self._plain:
                    self._ahead[identity] = record
                    self._ahead_size += len(record.payload) + RECORD_EACH
            while self._ahead_size > AHEAD_BYTES:
                _, dropped = self._ahead.popitem(last=False)
                self._ahead_size -= len(dropped.payload) + RECORD_EACH


Placed = tuple[int, Record]
"""Where in a piece of a pack the payload of a record begins."""


def nodes_around(content: bytes, wanted: int) -> list[Placed]:
    """The whole records of nodes in a piece of a pack, where one starts at `wanted`. The piece may
    begin and end anywhere. Nothing is verified."""
    # Where the first whole record before the wanted one starts is told by a magic number from which
    # record follows on record up to there. A payload may hold such a number by chance.
    found: list[Placed] = []
    start = content.find(RECORD_MAGIC, 0, wanted)
    while start >= 0:
        end, found = _chain(content, start, wanted)
        if end == wanted:
            break
        start, found = content.find(RECORD_MAGIC, start + 1, wanted), []
    return found + _chain(content, wanted, len(content))[1]


def _chain(content: bytes, start: int, end: int) -> tuple[int, list[Placed]]:
    """Where records that follow one another stop being whole, and those of nodes among them."""
    found = []
    size, unpack = RECORD_HEADER.size, RECORD_HEADER.unpack_from
    end = min(end, len(content))  # of a pack that is cut short there is less than was asked for
    while start + size <= end:
        magic, kind, codec, reserved, stored, plain, identity = unpack(content, start)
        payload = start + size
        if magic != RECORD_MAGIC or reserved or payload + stored > end:
            break
        start = payload + stored
        if kind == Kind.NODE:
            key = Key(NODE_PREFIX + identity)
            found.append((payload, Record(key, codec, plain, content[payload:start])))
    return start, found
