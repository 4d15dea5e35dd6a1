"""Small files of a restore, a batch at a time: fetch, expand, verify, write, metadata.

The blocks of a batch are fetched together in disk order. Only blocks that differ are written;
all-zero ones become holes. A file that cannot be opened for writing (read-only, a running program)
is replaced by a new one. Runs in a worker thread or process; knows nothing of others.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

import msgspec

from ..store import trees
from ..store.block_store import BlockStore
from ..store.content import block_count, blocks_of
from ..store.durable import pwritev_all
from ..store.errors import Corrupt, TreeringError
from ..store.ids import NULL, block_id
from ..store.nodes import Entry
from .metadata import XattrFilter
from .placing import apply_metadata, punch
from .scan_state import file_signature
from .unrestored import Note
from .worker_wire import Failure

IN_THE_WAY: Final = frozenset({errno.ETXTBSY, errno.EACCES, errno.EPERM, errno.ELOOP})
FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

Change = tuple[int, bytes]
"""(block number, wanted id); the null id for zeros"""
Put = Callable[[Sequence[bytes], int], None]
"""Writes some contents one behind the other from an offset on."""


class FileTask(msgspec.Struct, array_like=True, eq=False):
    """A file to be brought to `entry` in an open folder.

    `exists`: a regular file is there. `changes`: the blocks to write if they are known; None when
    the live file has to be compared (or all must be written, where nothing exists). `before`: the
    signature of what was there, empty for nothing.
    """

    folder: int
    path: bytes
    entry: Entry
    exists: bool
    changes: list[Change] | None = None
    before: bytes = b""


class Written(msgspec.Struct, array_like=True, eq=False):
    """What became of a task: the file's signature on disk, bytes written, and what could not be
    restored; or how it failed, and whether that refused only metadata of a file that is written."""

    signature: bytes = b""
    size: int = 0
    note: Note | None = None
    failure: Failure | None = None
    refused: bool = False


def failed(error: OSError, *, refused: bool = False) -> Written:
    return Written(failure=Failure.of(error), refused=refused)


def set_size(descriptor: int, size: int) -> None:
    if os.fstat(descriptor).st_size != size:
        os.ftruncate(descriptor, size)


class SmallFileWriter:
    """`small` may run in several threads; the other methods are its parts, for larger files."""

    def __init__(
        self, store: BlockStore, block_size: int, keep: XattrFilter, *, sparse: bool
    ) -> None:
        self._store = store
        self._block_size = block_size
        self._keep = keep
        self._sparse = sparse

    def small(self, tasks: list[FileTask]) -> list[Written]:
        """Bring files of at most one piece each to their entries."""
        plans = [self._plan_or_error(task) for task in tasks]
        changes = (change for plan in plans if isinstance(plan, list) for change in plan)
        wanted = {identity for _, identity in changes if identity != NULL}
        blocks = trees.read_blocks(self._store, wanted)
        return [self._finish_small(*pair, blocks) for pair in zip(tasks, plans, strict=True)]

    def _plan_or_error(self, task: FileTask) -> list[Change] | OSError:
        try:
            return self._plan_small(task)
        except OSError as error:
            return error

    def _plan_small(self, task: FileTask) -> list[Change]:
        if task.changes is not None:
            return task.changes
        wanted = list(self.wanted(task.entry))
        if not task.exists:
            return wanted
        size = self._block_size
        live: dict[int, bytes] = {}
        try:
            descriptor = os.open(
                task.entry.name, os.O_RDONLY | FLAGS & ~os.O_RDWR, dir_fd=task.folder
            )
        except PermissionError:
            task.exists = False
            return wanted
        try:
            for number in range(block_count(task.entry.size, size)):
                data = os.pread(descriptor, size, number * size)
                if data:
                    live[number] = block_id(data) if data.count(0) != len(data) else NULL
        finally:
            os.close(descriptor)
        goal = dict(wanted)
        blocks = range(block_count(task.entry.size, size))
        return [
            (number, goal.get(number, NULL))
            for number in blocks
            if live.get(number, NULL) != goal.get(number, NULL)
        ]

    def _finish_small(
        self, task: FileTask, plan: list[Change] | OSError, blocks: dict[bytes, bytes]
    ) -> Written:
        if isinstance(plan, OSError):
            return failed(plan)
        try:
            with self.opened(task) as (descriptor, fresh):
                if fresh and task.exists:
                    plan = list(self.wanted(task.entry))
                    blocks = trees.read_blocks(
                        self._store, {identity for _, identity in plan if identity != NULL}
                    )
                written = self.write(descriptor, task.entry, plan, blocks)
                if not (fresh and self._reaches_end(task.entry, plan)):
                    set_size(descriptor, task.entry.size)
                return self.complete(task, descriptor, written)
        except OSError as error:
            return failed(error)

    @contextmanager
    def opened(self, task: FileTask) -> Iterator[tuple[int, bool]]:
        """(descriptor, whether the file is new). A new file that fails does not stay."""
        descriptor, fresh = self._open(task)
        try:
            yield descriptor, fresh
        except (OSError, TreeringError):
            if fresh:
                with suppress(OSError):
                    os.unlink(task.entry.name, dir_fd=task.folder)
            raise
        finally:
            os.close(descriptor)

    def _open(self, task: FileTask) -> tuple[int, bool]:
        name, folder = task.entry.name, task.folder
        if task.exists:
            try:
                return os.open(name, FLAGS, dir_fd=folder), False
            except OSError as error:
                if error.errno not in IN_THE_WAY:
                    raise
        try:
            return os.open(name, FLAGS | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder), True
        except FileExistsError:
            os.unlink(name, dir_fd=folder)
            return os.open(name, FLAGS | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder), True

    def write(
        self,
        descriptor: int,
        entry: Entry,
        changes: Iterable[Change],
        blocks: dict[bytes, bytes],
        put: Put | None = None,
    ) -> int:
        """Write blocks, those side by side with one call of `put`; the bytes written."""
        put = put or partial(pwritev_all, descriptor)
        written = following = 0
        run: list[bytes] = []
        for number, identity in changes:
            offset = number * self._block_size
            if run and offset != following:
                put(run, following - sum(map(len, run)))
                run = []
            length = min(self._block_size, entry.size - offset)
            if identity == NULL and self._sparse:
                punch(descriptor, offset, length)
                continue
            block = blocks[identity] if identity != NULL else bytes(length)
            if len(block) != length:
                raise Corrupt(f"a block of {os.fsdecode(entry.name)} has the wrong length")
            run.append(block)
            following = offset + length
            written += length
        if run:
            put(run, following - sum(map(len, run)))
        return written

    def _reaches_end(self, entry: Entry, plan: list[Change]) -> bool:
        """Whether a new file that these blocks were written to has its size by that."""
        blocks = block_count(entry.size, self._block_size)
        return blocks == 0 or (bool(plan) and plan[-1][0] == blocks - 1 and plan[-1][1] != NULL)

    def complete(self, task: FileTask, descriptor: int, written: int) -> Written:
        try:
            note = apply_metadata(task.folder, task.entry, self._keep, descriptor)
        except PermissionError as error:
            return failed(error, refused=True)
        return Written(file_signature(os.fstat(descriptor)), written, note)

    def wanted(self, entry: Entry) -> Iterator[Change]:
        """All blocks of a file that must be written into an empty one."""
        blocks = block_count(entry.size, self._block_size)
        found = blocks_of(self._store, entry.content, blocks)
        if self._sparse:
            yield from found
            return
        following = 0
        for number, identity in found:
            yield from ((zero, NULL) for zero in range(following, number))
            yield number, identity
            following = number + 1
        yield from ((zero, NULL) for zero in range(following, blocks))
