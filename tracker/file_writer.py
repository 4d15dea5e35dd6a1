"""Writes restored files in worker threads: fetch, expand, verify, write, metadata.

Small files go in batches whose blocks are fetched together in disk order; a large file goes alone,
piece by piece. Only blocks that differ are written; all-zero ones become holes. A file that cannot
be opened for writing (read-only, a running program) is replaced by a new one.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ..store import trees
from ..store.block_store import BlockStore
from ..store.content import block_count, blocks_of
from ..store.durable import pwrite_all
from ..store.errors import Corrupt, TreeringError
from ..store.ids import NULL, block_id
from ..store.nodes import Entry
from ..store.progress import Progress
from .compare import live_differences
from .metadata import XattrFilter
from .placing import apply_metadata, punch
from .scan_state import file_signature
from .unrestored import Note

PIECE_BLOCKS: Final = 64
IN_THE_WAY: Final = frozenset({errno.ETXTBSY, errno.EACCES, errno.EPERM, errno.ELOOP})
FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

Change = tuple[int, bytes]
"""(block number, wanted id); the null id for zeros"""


@dataclass(eq=False, slots=True)
class FileTask:
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


@dataclass(eq=False, slots=True)
class Written:
    """What became of a task: the file's signature on disk, bytes written, and what could not be
    restored; or the error, and whether it refused only metadata of a file that is written."""

    signature: bytes = b""
    size: int = 0
    note: Note | None = None
    error: OSError | None = None
    refused: bool = False


class FileWriter:
    """`small` runs in workers, `large` in the one thread that drives the restore."""

    def __init__(
        self,
        store: BlockStore,
        block_size: int,
        keep: XattrFilter,
        *,
        sparse: bool,
        threads: int,
        progress: Progress,
    ) -> None:
        self._store = store
        self._block_size = block_size
        self._keep = keep
        self._sparse = sparse
        self._progress = progress
        self._threads = threads
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="restore")

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)

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

    def content_differs(self, folder: int, entry: Entry) -> bool:
        """Whether a live file has other content than its entry. Reads it."""
        flags = os.O_RDONLY | FLAGS & ~os.O_RDWR
        descriptor = os.open(entry.name, flags, dir_fd=folder)
        try:
            size = os.fstat(descriptor).st_size
            found = live_differences(
                self._store, entry, descriptor, size, self._block_size, self.pool
            )
            return size != entry.size or next(found, None) is not None
        finally:
            os.close(descriptor)

    # -- small files -----------------------------------------------------------------------------

    def small(self, tasks: list[FileTask]) -> list[Written]:
        """Bring files of at most one piece each to their entries."""
        plans: list[list[Change] | OSError] = []
        for task in tasks:
            try:
                plans.append(self._plan_small(task))
            except OSError as error:
                plans.append(error)
        changes = (change for plan in plans if isinstance(plan, list) for change in plan)
        wanted = {identity for _, identity in changes if identity != NULL}
        blocks = trees.read_blocks(self._store, wanted)
        return [self._finish_small(*pair, blocks) for pair in zip(tasks, plans, strict=True)]

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
            return Written(error=plan)
        try:
            with self._opened(task) as (descriptor, fresh):
                if fresh and task.exists:
                    plan = list(self.wanted(task.entry))
                    blocks = trees.read_blocks(
                        self._store, {identity for _, identity in plan if identity != NULL}
                    )
                written = self._write(descriptor, task.entry, plan, blocks)
                return self._complete(task, descriptor, written)
        except OSError as error:
            return Written(error=error)

    @contextmanager
    def _opened(self, task: FileTask) -> Iterator[tuple[int, bool]]:
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

    def _write(
        self, descriptor: int, entry: Entry, changes: Iterable[Change], blocks: dict[bytes, bytes]
    ) -> int:
        """Write blocks and set the size; the bytes written."""
        written = 0
        if os.fstat(descriptor).st_size != entry.size:
            os.ftruncate(descriptor, entry.size)
        for number, identity in changes:
            offset = number * self._block_size
            length = min(self._block_size, entry.size - offset)
            if identity == NULL and self._sparse:
                punch(descriptor, offset, length)
                continue
            block = blocks[identity] if identity != NULL else bytes(length)
            if len(block) != length:
                raise Corrupt(f"a block of {os.fsdecode(entry.name)} has the wrong length")
            pwrite_all(descriptor, block, offset)
            written += length
        return written

    def _complete(self, task: FileTask, descriptor: int, written: int) -> Written:
        try:
            note = apply_metadata(task.folder, task.entry, self._keep, descriptor)
        except PermissionError as error:
            return Written(error=error, refused=True)
        self._progress.advance(files=1, size=written)
        return Written(file_signature(os.fstat(descriptor)), written, note)

    # -- large files -----------------------------------------------------------------------------

    def large(self, task: FileTask) -> Written:
        """Bring a file of any size to its entry; its pieces are written by the workers."""
        try:
            with self._opened(task) as (descriptor, fresh):
                changes = self._plan_large(task, descriptor, fresh)
                written = self._write_pieces(descriptor, task.entry, changes)
                return self._complete(task, descriptor, written)
        except OSError as error:
            return Written(error=error)

    def _plan_large(self, task: FileTask, descriptor: int, fresh: bool) -> Iterator[Change]:
        if fresh:
            return self.wanted(task.entry)
        if task.changes is not None:
            return iter(task.changes)
        size = os.fstat(descriptor).st_size
        blocks = block_count(task.entry.size, self._block_size)
        found = live_differences(
            self._store, task.entry, descriptor, size, self._block_size, self.pool
        )
        # Compared whole before the first block is written: the comparison reads the same file.
        return iter([(number, goal) for number, _, goal in found if number < blocks])

    def _write_pieces(self, descriptor: int, entry: Entry, changes: Iterator[Change]) -> int:
        def write(piece: list[Change]) -> int:
            wanted = {identity for _, identity in piece if identity != NULL}
            written = self._write(descriptor, entry, piece, trees.read_blocks(self._store, wanted))
            self._progress.advance(size=written)
            return written

        if os.fstat(descriptor).st_size != entry.size:
            os.ftruncate(descriptor, entry.size)
        flying: deque[Future[int]] = deque()
        total = 0
        try:
            while piece := list(islice(changes, PIECE_BLOCKS)):
                flying.append(self.pool.submit(write, piece))
                if len(flying) > 2 * self._threads:
                    total += flying.popleft().result()
            while flying:
                total += flying.popleft().result()
        finally:
            for future in flying:
                future.cancel()
            for future in flying:
                if not future.cancelled():
                    future.exception()
        return total
