"""Sending objects: which of them the remote lacks, grouped in disk order, over several calls.

Keys are offered; every 16 k of them the remote is asked which it lacks; those gather until they
fill a pack, and go out in one `store` call from a pool thread, read from disk while they travel. A
key that is on its way is not sent again. A `Sender` belongs to one thread; `close` it always.

When the remote refuses an object, the local copies are verified before the remote is blamed: a
damaged one is `Corrupt` by its name, and has left the index so that the next commit heals it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

from ..closure import ClosureWalk
from ..errors import Corrupt, NotFound, RemoteError
from ..ids import Key, node_key
from ..packfile import PACK_SIZE, Record
from ..progress import Progress
from ..repository import Repository
from .base import Remote
from .checking import short_name

ASK_AT_ONCE: Final = 1 << 14
GROUP_OBJECTS: Final = 1 << 16
NODES_AT_ONCE: Final = 256


class _Group(NamedTuple):
    keys: list[Key]
    done: Future[None]


class Sender:
    """Brings objects of `repository` to `remote`."""

    only_weighs = False

    def __init__(
        self, repository: Repository, remote: Remote, *, jobs: int, progress: Progress
    ) -> None:
        self._store = repository.store
        self._remote = remote
        self._progress = progress
        self._jobs = max(1, min(jobs, remote.parallel))
        self._pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="send")
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._offered: list[Key] = []
        self._group: list[Key] = []
        self._group_size = 0
        self._running: deque[_Group] = deque()
        self._on_the_way: set[Key] = set()
        self.objects = 0
        self.bytes = 0

    def offer_root(self, root: bytes, base: bytes | None) -> None:
        """Offer the closure of `root` less that of `base`. Both must be here."""
        walk = ClosureWalk(self._store)
        walk.add_root(root, base)
        while ids := walk.take(NODES_AT_ONCE):
            for identity in ids:
                walk.visit(identity, self._store.node(identity))
            self.offer([node_key(identity) for identity in ids])
            self.offer(walk.drain_blocks().keys)

    def offer(self, keys: list[Key]) -> None:
        """Send those of the keys that the remote lacks, some time before `finish` returns."""
        self._offered += keys
        while len(self._offered) >= ASK_AT_ONCE:
            batch, self._offered = self._offered[:ASK_AT_ONCE], self._offered[ASK_AT_ONCE:]
            self._ask(batch)

    def finish(self) -> None:
        """Send the rest and wait: the remote has said "stored" to everything on return."""
        self._ask(self._offered)
        self._offered = []
        self._dispatch()
        while self._running:
            self._settle()

    def close(self) -> None:
        """Stop what is still under way."""
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)

    def _ask(self, offered: list[Key]) -> None:
        fresh = [key for key in dict.fromkeys(offered) if key not in self._on_the_way]
        if not fresh:
            return
        missing = self._remote.missing(fresh)
        if not set(missing) <= set(fresh):
            raise RemoteError("the remote asks for objects that were not offered")
        self._gather(list(dict.fromkeys(missing)))

    def _gather(self, keys: list[Key]) -> None:
        """Add keys to the group, in disk order."""
        located = []
        for key, location in zip(keys, self._store.index.locate(keys), strict=True):
            if location is None:
                raise NotFound(f"{short_name(key)} is not in this repository")
            located.append((location.pack, location.offset, location.stored, key))
        for _, _, stored, key in sorted(located):
            if self._group_size + stored > PACK_SIZE or len(self._group) == GROUP_OBJECTS:
                self._dispatch()
            self._group.append(key)
            self._group_size += stored
            self._on_the_way.add(key)

    def _dispatch(self) -> None:
        if not self._group:
            return
        while len(self._running) > self._jobs:
            self._settle()
        keys, self._group, self._group_size = self._group, [], 0
        self._running.append(_Group(keys, self._pool.submit(self._send, keys)))

    def _settle(self) -> None:
        group = self._running.popleft()
        group.done.result()
        self._on_the_way.difference_update(group.keys)

    def _send(self, keys: list[Key]) -> None:
        try:
            self._remote.store(self._records(keys))
        except (Corrupt, RemoteError):
            if not self._stopped.is_set():
                self._verify(keys)
            raise

    def _records(self, keys: list[Key]) -> Iterator[Record]:
        for record in self._store.stream(keys):
            if self._stopped.is_set():
                raise RemoteError("the transfer was stopped")
            yield record
            with self._lock:
                self.objects += 1
                self.bytes += len(record.payload)
            self._progress.advance(size=len(record.payload))

    def _verify(self, keys: list[Key]) -> None:
        """Corrupt for the first of these objects that is damaged here."""
        for record in self._store.stream(keys):
            self._store.expand(record)


class Weigher(Sender):
    """A sender that sends nothing: it counts what it would send."""

    only_weighs = True

    def _gather(self, keys: list[Key]) -> None:
        for key, location in zip(keys, self._store.index.locate(keys), strict=True):
            if location is None:
                raise NotFound(f"{short_name(key)} is not in this repository")
            self.objects += 1
            self.bytes += location.stored
            self._on_the_way.add(key)
