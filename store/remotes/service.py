"""The receiving end: a `Remote` over a repository in this process.

A server runs one for each connection, and the carrier to a local directory is nothing else. History
and catalog belong to one thread, so every question goes to a thread of the service's own (the
*desk*); objects are read, verified and written in the threads of the callers and a small pool. The
service takes its repository over: nobody else may use that instance.

Memory: each `store` call holds a few MiB of records that wait for their verification.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from ..block_store import BlockStore
from ..errors import Corrupt, InvalidInput, NotFound, RemoteError
from ..history import BRANCHES, TAGS, HistoryObject, Person, RefUpdate
from ..ids import ID_LENGTH, Key
from ..object_writer import ObjectWriter
from ..packfile import MAX_STORED, Record
from ..repository import Repository
from .base import (
    MAX_HISTORY_BYTES,
    MAX_KEYS,
    MAX_STORE_BYTES,
    MAX_STORE_RECORDS,
    Description,
)
from .checking import check_commit_ids, check_keys, check_record, valid_ref
from .finalizing import finalize
from .receive_rules import ReceiveRules, receive_rules

PARALLEL: Final = 4
BATCH_BYTES: Final = 1 << 20
BATCH_RECORDS: Final = 256
COMMITS_AT_ONCE: Final = 256

Answer = TypeVar("Answer")


class RepositoryService:
    """A remote that is a local repository. `has_work_tree` says that its HEAD is checked out
    somewhere."""

    def __init__(self, repository: Repository, *, has_work_tree: bool) -> None:
        self._repository = repository
        self._has_work_tree = has_work_tree
        self._desk = ThreadPoolExecutor(1, thread_name_prefix="desk")
        self._checkers = ThreadPoolExecutor(repository.threads, thread_name_prefix="check")
        self._salvaged = False
        self._closing = threading.Event()

    @property
    def parallel(self) -> int:
        return PARALLEL

    def close(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        self._checkers.shutdown()
        self._desk.submit(self._repository.close)
        self._desk.shutdown()

    def _ask(self, work: Callable[[], Answer]) -> Answer:
        """Do `work` at the desk."""
        try:
            future = self._desk.submit(work)
        except RuntimeError as error:
            raise RemoteError("the connection is closed") from error
        return future.result()

    def _carry_on(self) -> None:
        if self._closing.is_set():
            raise RemoteError("the connection is closed")

    # -- questions -------------------------------------------------------------------------------

    def describe(self) -> Description:
        return self._ask(self._describe)

    def _describe(self) -> Description:
        block_size, version, ids, cipher = self._repository.format
        rules = self._rules()
        return Description(version, block_size, ids, cipher, rules.head, rules.checked_out)

    def _rules(self) -> ReceiveRules:
        return receive_rules(self._repository, has_work_tree=self._has_work_tree)

    def refs(self) -> dict[str, str]:
        return self._ask(self._refs)

    def _refs(self) -> dict[str, str]:
        history = self._repository.history
        if self._repository.writable:
            history.settle()
        return history.refs(BRANCHES) | history.refs(TAGS)

    def held(self, roots: Sequence[bytes]) -> list[str]:
        if len(roots) > MAX_KEYS or not all(len(root) == ID_LENGTH for root in roots):
            raise InvalidInput("too many roots in one question, or one that is no id")
        return self._ask(lambda: [self._repository.held(root) for root in roots])

    def missing(self, keys: Sequence[Key]) -> list[Key]:
        check_keys(keys)
        present = self._store().index.present(keys)
        return [key for key, there in zip(keys, present, strict=True) if not there]

    def _store(self) -> BlockStore:
        return self._ask(lambda: self._repository.store)

    def known_commits(self, ids: Sequence[str]) -> list[bool]:
        check_commit_ids(ids)
        return self._ask(lambda: [self._knows(commit_id) for commit_id in ids])

    def _knows(self, commit_id: str) -> bool:
        try:
            self._repository.history.commit(commit_id)
        except (NotFound, Corrupt):
            return False
        return True

    # -- giving ----------------------------------------------------------------------------------

    def fetch(self, keys: Sequence[Key]) -> Iterator[Record]:
        check_keys(keys)
        yield from self._store().stream(keys)

    def history(self, wants: Sequence[str], haves: Sequence[str]) -> Iterator[HistoryObject]:
        check_commit_ids(wants)
        check_commit_ids(haves)
        commits = iter(self._ask(lambda: self._between(wants, haves)))
        while batch := list(islice(commits, COMMITS_AT_ONCE)):
            yield from self._ask(partial(self._export, batch))
        yield from self._ask(lambda: list(self._repository.history.export_tags(wants)))

    def _export(self, commits: list[str]) -> list[HistoryObject]:
        return list(self._repository.history.export(commits))

    def _between(self, wants: Sequence[str], haves: Sequence[str]) -> list[str]:
        history = self._repository.history
        held = set(self._refs().values())
        tips = {tip for ref, tip in history.tips().items() if valid_ref(ref)}
        found = []
        for want in wants:
            commit = history.peeled(want) if want in held else want
            if commit not in tips and not (
                commit is not None
                and history.has(commit)
                and any(history.is_ancestor(commit, tip) for tip in tips)
            ):
                raise NotFound(f"no ref leads to {want[:10]}")
            found.append(commit)
        return history.oldest_first(found, haves)

    # -- taking ----------------------------------------------------------------------------------

    def store(self, records: Iterable[Record]) -> int:
        writer = self._ask(self._writer)
        try:
            for batch in self._verified(_bounded(records)):
                claimed = writer.claim([record.key for record in batch])
                writer.append(record for record, mine in zip(batch, claimed, strict=True) if mine)
            writer.finish()
        except BaseException:
            writer.abort()
            raise
        finally:
            self._ask(lambda: self._repository.record_packs(writer.packs))
        return writer.stored_objects

    def _writer(self) -> ObjectWriter:
        """Salvage runs once: the calls that follow have packs of their own in tmp/."""
        if self._salvaged:
            return ObjectWriter(self._repository.store)
        writer = self._repository.writer()
        self._salvaged = True
        return writer

    def _verified(self, records: Iterator[Record]) -> Iterator[list[Record]]:
        """The records in batches, each verified by the pool while the next ones come in."""
        codec = self._repository.store.codec
        block_size = self._repository.block_size

        def check(batch: list[Record]) -> None:
            for record in batch:
                check_record(codec, record, block_size)

        waiting: deque[tuple[list[Record], Future[None]]] = deque()
        for batch in _batches(records):
            self._carry_on()
            waiting.append((batch, self._checkers.submit(check, batch)))
            if len(waiting) > 2 * self._repository.threads:
                ready, verdict = waiting.popleft()
                verdict.result()
                yield ready
        for ready, verdict in waiting:
            verdict.result()
            yield ready

    def store_history(self, objects: Iterable[HistoryObject]) -> None:
        found: list[HistoryObject] = []
        room = MAX_HISTORY_BYTES
        for one in objects:
            room -= len(one.content)
            if room < 0:
                raise InvalidInput("too much history in one call")
            found.append(one)
        repository = self._repository
        self._ask(lambda: repository.history.add_objects(found, repository.tmp))

    def finalize(self, updates: Sequence[RefUpdate], who: Person) -> list[Key]:
        return self._ask(lambda: self._finalize(updates, who))

    def _finalize(self, updates: Sequence[RefUpdate], who: Person) -> list[Key]:
        return finalize(self._repository, updates, who, self._rules(), self._carry_on)


def _bounded(records: Iterable[Record]) -> Iterator[Record]:
    room, count = MAX_STORE_BYTES, MAX_STORE_RECORDS
    for record in records:
        room -= len(record.payload)
        count -= 1
        if room < 0 or count < 0 or len(record.payload) > MAX_STORED:
            raise InvalidInput("more objects in one call than are allowed")
        yield record


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.payload)
        if size >= BATCH_BYTES or len(batch) == BATCH_RECORDS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
