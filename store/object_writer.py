"""Storing objects: claim, append, seal.

An `ObjectWriter` serves one command, or one of its processes. Workers *claim* keys, so that no
object is compressed twice, and append records; a background thread seals full packs. Durability
order: a pack is durable under its name before the index knows it.

Blocks and nodes lie in packs apart, so that browsing never touches data packs; as long as a writer
has stored less than 4 MiB in all, its nodes wait in memory, and join the blocks in one pack if it
stays so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

from .block_store import BlockStore
from .claims import Claims, OwnClaims
from .errors import Corrupt, StorageError, storage_error
from .ids import NODE_PREFIX, NodeId, node_id, node_key
from .packfile import PackInfo, PackWriter, Record

SMALL_COMMIT: Final = 4 << 20
PENDING_SEALS: Final = 2


class Stored(NamedTuple):
    """What a writer has stored: compressed bytes, objects, the sealed packs."""

    size: int
    objects: int
    packs: list[PackInfo]


class ObjectWriter:
    """Stores objects.

    `claim`, `append` and `put_node` may be called from any thread; `flush`, `finish` and `abort`
    from one, when no other is at it. Nothing is acknowledged before `finish` returns: then all is
    durable and indexed. `claims` are its own unless other processes write for the same command.
    `on_pack` is told of each pack that is durable, by a thread of the writer's.
    """

    def __init__(
        self,
        store: BlockStore,
        claims: Claims | None = None,
        on_pack: Callable[[PackInfo], None] = lambda _pack: None,
    ) -> None:
        self._store = store
        self._on_pack = on_pack
        self._claims = claims or OwnClaims(store.index)
        self._lock = threading.Lock()
        self._blocks: PackWriter | None = None
        self._nodes: PackWriter | None = None
        self._waiting: list[Record] = []
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix="seal")
        self._seals: list[Future[None]] = []
        self.stored_bytes = 0
        self.stored_objects = 0
        self.packs: list[PackInfo] = []

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        """For each key whether the caller has to store it: True at most once for each object that
        is not there yet. Who gets True must append it, or the command must fail."""
        return self._claims.claim(keys)

    def put_node(self, plain: bytes) -> NodeId:
        """Store a node if it is new; its id."""
        identity = node_id(plain)
        key = node_key(identity)
        if self.claim([key])[0]:
            codec, payload = self._store.codec.compress(plain)
            self.append([Record(key, codec, len(plain), payload)])
        return identity

    def append(self, records: Iterable[Record]) -> None:
        """Append claimed records, in this order, with nothing in between."""
        with self._lock:
            for record in records:
                self.stored_bytes += len(record[3])
                self.stored_objects += 1
                if record[0][:1] == NODE_PREFIX:
                    self._append_node(record)
                else:
                    self._blocks = self._append_to(self._blocks, record)

    def take_over(self, others: Stored) -> None:
        """Count what another process has stored for the same command, and made durable."""
        self.stored_bytes += others.size
        self.stored_objects += others.objects
        self.packs += others.packs

    def _append_node(self, record: Record) -> None:
        if self._nodes is None and self.stored_bytes < SMALL_COMMIT:
            self._waiting.append(record)
            return
        for waiting in (*self._waiting, record):
            self._nodes = self._append_to(self._nodes, waiting)
        self._waiting = []

    def _append_to(self, writer: PackWriter | None, record: Record) -> PackWriter | None:
        try:
            if writer is None:
                writer = PackWriter(self._store.tmp)
            writer.append(record)
        except OSError as error:
            raise storage_error("writing a pack", error) from error
        if writer.full:
            self._seal_in_background(writer)
            return None
        return writer

    def _seal_in_background(self, writer: PackWriter) -> None:
        while len(self._seals) >= PENDING_SEALS:
            self._seals.pop(0).result()
        self._seals.append(self._sealer.submit(self._seal, writer))

    def _seal(self, writer: PackWriter) -> None:
        try:
            pack = writer.seal(self._store.packs)
        except InterruptedError as error:
            writer.abandon()
            raise storage_error("writing a pack", error) from error
        except OSError as error:
            writer.discard()
            raise storage_error("writing a pack", error) from error
        self._store.files.forget(pack.name)
        self._store.index.add_pack(pack.name, writer.footer)
        self.packs.append(pack)
        self._claims.stored(entry.key for entry in writer.footer)
        self._on_pack(pack)

    def flush(self) -> None:
        """Seal what is open: all that was appended is durable, indexed and readable on return."""
        if self._blocks is None and self._nodes is None and not self._waiting:
            self._drain()
            return
        small = self.stored_bytes < SMALL_COMMIT
        for record in self._waiting:
            if small:
                self._blocks = self._append_to(self._blocks, record)
            else:
                self._nodes = self._append_to(self._nodes, record)
        self._waiting = []
        # Each is ours until it is handed over: that may fail with the error of an earlier pack.
        if self._blocks is not None:
            self._seal_in_background(self._blocks)
            self._blocks = None
        if self._nodes is not None:
            self._seal_in_background(self._nodes)
            self._nodes = None
        self._drain()

    def finish(self) -> None:
        """Make everything durable and indexed. The writer is done."""
        self.flush()
        self._sealer.shutdown()

    def abort(self) -> None:
        """End without acknowledging anything: what was appended is sealed if the disk allows, so
        that the next run finds it, and left to salvage or deleted if not. Never raises."""
        try:
            self.flush()
        except (StorageError, Corrupt):
            for writer in (self._blocks, self._nodes):
                if writer is not None:
                    writer.discard()
        finally:
            self._blocks = self._nodes = None
            self._sealer.shutdown()

    def _drain(self) -> None:
        while self._seals:
            self._seals.pop(0).result()


class UnstoredObjects(ObjectWriter):
    """Takes objects as a writer does, for who wants to know their ids, and stores none."""

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        return [False] * len(keys)
