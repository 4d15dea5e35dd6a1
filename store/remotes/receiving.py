"""Receiving objects: the closure of roots, walked while it comes in.

Nodes that are absent are asked for in batches, as the walk meets them, so that only what differs
from what is here travels; blocks gather and are fetched by pool threads. Every object is verified
before it is stored, and nothing that was not asked for is taken. Nodes that the writer has not yet
made readable are kept in `_fresh` (bounded: the writer is flushed), so that a root received a
moment ago can be the base of the next.

A `Receiver` belongs to one thread; the writer and the counters are shared under `_lock`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from ..block_store import BlockStore
from ..closure import ClosureWalk
from ..closure_items import Blocks
from ..errors import Corrupt, NotFound, RemoteError
from ..ids import Key, node_key
from ..packfile import PACK_SIZE, Record
from ..progress import Progress
from ..repository import Repository
from ..trees import load_root
from .base import Remote
from .checking import check_lengths, check_record, short_name

NODES_AT_ONCE: Final = 256
FRESH_BYTES: Final = 32 << 20
MAX_GROUP: Final = 1 << 14
MAX_UNSURE: Final = 1 << 16
"""Blocks met again while they are on their way, whose lengths are looked at later."""


class _Nodes:
    """Nodes of the local store and those that came in since the last flush."""

    def __init__(self, store: BlockStore) -> None:
        self._store = store
        self.fresh: dict[bytes, bytes] = {}
        self.fresh_size = 0
        self.damage: Corrupt | None = None
        """What was found bad here, which is not the remote's fault."""

    def node(self, identity: bytes) -> bytes:
        plain = self.fresh.get(identity)
        if plain is not None:
            return plain
        try:
            return self._store.node(identity)
        except Corrupt as error:
            self.damage = error
            raise

    def keep(self, identity: bytes, plain: bytes) -> None:
        self.fresh[identity] = plain
        self.fresh_size += len(plain)

    def forget_fresh(self) -> None:
        self.fresh = {}
        self.fresh_size = 0


class Receiver:
    """Brings objects of `remote` to `repository`. End it with `finish` or `abort`."""

    def __init__(
        self, repository: Repository, remote: Remote, *, jobs: int, progress: Progress
    ) -> None:
        self._repository = repository
        self._store = repository.store
        self._remote = remote
        self._progress = progress
        self._jobs = max(1, min(jobs, remote.parallel))
        self._group = min(MAX_GROUP, PACK_SIZE // repository.block_size)
        self._writer = repository.writer()
        self._pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="receive")
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._nodes = _Nodes(self._store)
        self._wanted: list[tuple[Key, int]] = []
        self._unsure: set[tuple[Key, int]] = set()
        self._running: deque[Future[None]] = deque()
        self.objects = 0
        self.bytes = 0

    def receive(self, root: bytes, base: bytes | None) -> None:
        """Bring what the closure of `root` has and this repository lacks; `base` is a root that is
        held whole or was received before. Blocks may still be on their way on return."""
        walk = ClosureWalk(self._nodes)
        walk.add_root(root, base)
        try:
            while ids := walk.take(NODES_AT_ONCE):
                self._visit(walk, ids)
                self._want(walk.drain_blocks())
            block_size = load_root(self._nodes, root).block_size
            if block_size != self._repository.block_size:
                raise Corrupt(f"it has blocks of {block_size} bytes")
        except Corrupt as error:
            if self._nodes.damage is not None:
                raise self._nodes.damage from error
            raise RemoteError(f"the remote's root {root.hex()[:12]}: {error.message}") from error

    def finish(self) -> None:
        """Wait for all blocks; everything received is durable and indexed on return."""
        self._settle()
        self._pool.shutdown()
        self._writer.finish()
        self._repository.record_packs(self._writer.packs)

    def abort(self) -> None:
        """End early. What came in whole stays, so that the next fetch need not bring it again."""
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)
        self._writer.abort()
        self._repository.record_packs(self._writer.packs)

    # -- nodes -----------------------------------------------------------------------------------

    def _visit(self, walk: ClosureWalk, ids: list[bytes]) -> None:
        """Visit nodes: those that are here at once, the others in the order they come in."""
        absent = []
        for identity in ids:
            plain = self._here(identity)
            if plain is None:
                absent.append(node_key(identity))
            else:
                walk.visit(identity, plain)
        if not absent:
            return
        self._writer.claim(absent)
        for record, plain in self._fetched(absent):
            walk.visit(record.key[1:], plain)
            self._nodes.keep(record.key[1:], plain)
            self._append(record)
        if self._nodes.fresh_size >= FRESH_BYTES:
            self._flush()

    def _here(self, identity: bytes) -> bytes | None:
        """The node, if it is here and good."""
        try:
            return self._nodes.fresh.get(identity) or self._store.node(identity)
        except (NotFound, Corrupt):
            return None

    def _flush(self) -> None:
        with self._lock:
            self._writer.flush()
        self._nodes.forget_fresh()

    # -- blocks ----------------------------------------------------------------------------------

    def _want(self, blocks: Blocks) -> None:
        """Ask for blocks that are not here; look at the lengths of the others."""
        claimed = self._writer.claim(blocks.keys)
        known = Blocks([], [])
        for key, length, mine in zip(*blocks, claimed, strict=True):
            if mine:
                self._wanted.append((key, length))
            else:
                known.keys.append(key)
                known.lengths.append(length)
        self._check_here(known)
        while len(self._wanted) >= self._group:
            self._dispatch()
        if len(self._unsure) >= MAX_UNSURE:
            self._settle()

    def _check_here(self, blocks: Blocks) -> None:
        """Look at blocks that are here; those still on their way wait."""
        lengths = self._store.index.lengths(blocks.keys)
        _refuse_lengths(blocks, lengths)
        found = zip(*blocks, lengths, strict=True)
        self._unsure.update((key, wanted) for key, wanted, length in found if length is None)

    def _dispatch(self) -> None:
        group, self._wanted = self._wanted[: self._group], self._wanted[self._group :]
        if not group:
            return
        while len(self._running) > self._jobs:
            self._running.popleft().result()
        self._running.append(self._pool.submit(self._bring, dict(group)))

    def _settle(self) -> None:
        """Wait for all blocks, and look at the lengths of those that were met on their way."""
        self._dispatch()
        while self._running:
            self._running.popleft().result()
        if self._unsure:
            self._flush()
            unsure, self._unsure = sorted(self._unsure), set()
            self._check_here(Blocks([key for key, _ in unsure], [length for _, length in unsure]))

    def _bring(self, lengths: dict[Key, int]) -> None:
        for record, _ in self._fetched(list(lengths)):
            if self._stopped.is_set():
                raise RemoteError("the transfer was stopped")
            wanted = Blocks([record.key], [lengths[record.key]])
            _refuse_lengths(wanted, [record.plain_length])
            self._append(record)

    # -- both ------------------------------------------------------------------------------------

    def _append(self, record: Record) -> None:
        with self._lock:
            self._writer.append([record])
            self.objects += 1
            self.bytes += len(record.payload)
        self._progress.advance(size=len(record.payload))

    def _fetched(self, keys: list[Key]) -> Iterator[tuple[Record, bytes]]:
        """Exactly these objects, verified. RemoteError names one that is bad, absent or was not
        asked for."""
        waiting = set(keys)
        for record in self._remote.fetch(keys):
            if record.key not in waiting:
                raise RemoteError(f"the remote sent {short_name(record.key)} without being asked")
            waiting.remove(record.key)
            yield record, self._checked(record)
        if waiting:
            raise RemoteError(f"the remote did not send {short_name(min(waiting))}")

    def _checked(self, record: Record) -> bytes:
        try:
            return check_record(self._store.codec, record, self._repository.block_size)
        except Corrupt as error:
            raise RemoteError(f"the remote sent damaged data: {error.message}") from error


def _refuse_lengths(blocks: Blocks, lengths: Sequence[int | None]) -> None:
    try:
        check_lengths(blocks, lengths)
    except Corrupt as error:
        raise RemoteError(f"the remote's tree does not fit: {error.message}") from error
