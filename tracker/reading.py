"""Reads changed files, ahead of the thread that builds the tree.

Small files go out in batches of 128 files or 4 MiB: to threads, and to processes of their own once
it is clear that there are many, since two thousand small files are mostly interpreter work and
threads share one interpreter lock. Large files are read in pieces of 4 MiB by threads, their holes
skipped (SEEK_DATA): there read(2), BLAKE3, zstd and LMDB take the time, and all of them release the
lock. Results are taken, in the order of submission, by the one thread that also appends records and
builds index nodes. Memory is bounded by the pieces in flight.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..store.block_store import BlockStore, ObjectWriter
from ..store.content import IndexBuilder, block_count
from ..store.ids import ID_LENGTH, NULL
from ..store.packfile import Record
from ..store.progress import SILENT, Progress
from .batch_reader import (
    OPEN_FLAGS,
    TOO_LARGE,
    TRIES,
    Batch,
    BatchReader,
    Hasher,
    SmallFile,
    fill,
    unchanged,
)
from .metadata import Stat, XattrFilter, Xattrs, read_xattrs
from .read_processes import ReadProcesses
from .read_worker import Settings

PIECE: Final = 4 << 20
BATCH_FILES: Final = 128
MANY_FILES: Final = 2000
"""From this many small files on, processes pay for their start of 0.1 s."""
MAX_THREADS: Final = 8
MAX_PROCESSES: Final = 3
"""On machines with more cores memory is the limit: a thread has 12 MiB in hand, a process 45."""
GONE: Final = frozenset({errno.ENOENT, errno.ESTALE})
REPLACED: Final = frozenset({errno.ELOOP, errno.ENXIO, errno.ENODEV})
"""What open says when something that is no regular file stands there by now."""


class ReadFile(NamedTuple):
    """What was read of one file: its content id, its stat before the read and the wall time of
    that stat in ns; runs of data blocks and bytes in them; whether it kept still."""

    content: bytes
    info: Stat
    read_at_ns: int
    xattrs: Xattrs
    regions: int
    data: int
    stable: bool


class Hashed(NamedTuple):
    """Block ids of a piece one behind the other, and the records of those that are new."""

    ids: bytes
    records: list[Record]


class Ticket:
    """A file handed to the reader; `FileReader.result` redeems it, once, in the order in which
    tickets were handed out."""

    __slots__ = ("batch", "folder", "name", "position", "size")

    def __init__(self, folder: int, name: bytes, size: int) -> None:
        self.folder = folder
        self.name = name
        self.size = size
        self.batch: _Batch | None = None
        self.position = 0


class _Batch:
    """`claimed`: its records are already claimed with the writer."""

    __slots__ = ("claimed", "future", "left", "size", "tickets")

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.size = 0
        self.left = 0
        self.claimed = True
        self.future: Future[Batch] | None = None


@dataclass(frozen=True)
class ReaderOptions:
    """`processes`: whether many small files may go to processes."""

    block_size: int
    threads: int
    keep: XattrFilter
    processes: bool = True


class FileReader:
    """The readers of one command. All methods but the workers' own are called from one thread;
    `close` ends threads and processes."""

    def __init__(
        self,
        writer: ObjectWriter,
        store: BlockStore,
        options: ReaderOptions,
        progress: Progress = SILENT,
    ) -> None:
        self._writer = writer
        self._store = store
        self._options = options
        self._piece = max(PIECE, options.block_size)
        self._hasher = Hasher(writer.claim, store.codec, options.block_size)
        self._progress = progress
        self._pool = ThreadPoolExecutor(options.threads, thread_name_prefix="read")
        self._processes: ReadProcesses | None = None
        self._local = threading.local()
        self._open_batch = _Batch()
        self._waiting: deque[_Batch] = deque()
        self._active = 0
        self._max_active = 2 * options.threads + 2
        self._submitted = 0
        self.unredeemed = 0
        """Small files handed in and not yet redeemed."""

    def close(self) -> None:
        if self._processes is not None:
            self._processes.close()
        self._pool.shutdown(cancel_futures=True)

    def submit(self, folder: int, name: bytes, size: int) -> Ticket:
        """Hand in a regular file of an open folder, `size` bytes long at last sight; the descriptor
        must stay open until the ticket is redeemed."""
        ticket = Ticket(folder, name, size)
        if size > self._piece:
            return ticket
        batch = self._open_batch
        ticket.batch = batch
        ticket.position = len(batch.tickets)
        batch.tickets.append(ticket)
        batch.size += size
        self.unredeemed += 1
        self._submitted += 1
        if len(batch.tickets) >= BATCH_FILES or batch.size >= self._piece:
            self._flush()
        return ticket

    def result(self, ticket: Ticket) -> ReadFile | OSError:
        """What was read, or why not. Appends the new blocks and index nodes."""
        batch = ticket.batch
        if batch is None:
            return self._read_large(ticket)
        if batch is self._open_batch:
            self._flush()
        if batch.future is None:
            self._start()
        assert batch.future is not None, "tickets are redeemed in the order they were handed in"
        done = batch.future.result()
        if done.records:
            self._append(done, batch.claimed)
        small = done.files[ticket.position]
        self.unredeemed -= 1
        batch.left -= 1
        if not batch.left:
            self._active -= 1
            batch.future = None
            self._start()
        return self._outcome(ticket, small)

    def _append(self, done: Batch, claimed: bool) -> None:
        """Take over the records of a batch, with its first ticket."""
        records, done.records = done.records, []
        if not claimed:
            wanted = self._writer.claim([record.key for record in records])
            records = [record for record, mine in zip(records, wanted, strict=True) if mine]
        self._writer.append(records)

    def _outcome(self, ticket: Ticket, small: SmallFile) -> ReadFile | OSError:
        if small.error == TOO_LARGE:
            return self._read_large(ticket)
        if small.info is None:
            return OSError(small.error, os.strerror(small.error))
        self._progress.advance(files=1, size=small.data)
        ids = small.ids
        content = self._content_of(ids)
        runs = int(ids != NULL) if len(ids) == ID_LENGTH else count_runs(ids)
        return ReadFile(
            content, small.info, small.read_at_ns, small.xattrs, runs, small.data, small.stable
        )

    def _content_of(self, ids: bytes) -> bytes:
        if len(ids) <= ID_LENGTH:
            return ids or NULL
        builder = IndexBuilder(self._writer.put_node)
        builder.add(ids)
        return builder.finish()

    def _flush(self) -> None:
        batch, self._open_batch = self._open_batch, _Batch()
        batch.left = len(batch.tickets)
        self._waiting.append(batch)
        self._start()

    def _start(self) -> None:
        """Start as many batches as may be in flight: each holds up to 4 MiB of results."""
        while self._waiting and self._active < self._max_active:
            batch = self._waiting.popleft()
            files = [(ticket.folder, ticket.name) for ticket in batch.tickets]
            if self._options.processes and self._submitted >= MANY_FILES:
                batch.claimed = False
                batch.future = self._reader_processes().read(files)
            else:
                batch.future = self._pool.submit(self._read_batch, files)
            self._active += 1

    def _reader_processes(self) -> ReadProcesses:
        if self._processes is None:
            options = self._options
            settings = Settings(
                os.getpid(),
                os.fspath(self._store.index.folder),
                options.block_size,
                self._store.codec.level,
                self._piece,
                *options.keep,
            )
            self._processes = ReadProcesses(min(options.threads, MAX_PROCESSES), settings)
        return self._processes

    # -- in the threads --------------------------------------------------------------------------

    def _batch_reader(self) -> BatchReader:
        try:
            reader: BatchReader = self._local.reader
        except AttributeError:
            reader = self._local.reader = BatchReader(
                self._hasher, self._options.keep, self._piece, _open
            )
        return reader

    def _read_batch(self, files: list[tuple[int, bytes]]) -> Batch:
        return self._batch_reader().read(files)

    def _read_piece(self, descriptor: int, offset: int, length: int) -> Hashed:
        view = self._batch_reader().buffer[:length]
        got = fill(descriptor, view, offset)
        # A file cut short meanwhile reads as zeros here; its stat tells, and it is read again.
        if got < length:
            view[got:] = bytes(length - got)
        (ids,), records = self._hasher.hash_all([view])
        self._progress.advance(size=length)
        return Hashed(ids, records)

    # -- large files, driven by the taking thread ------------------------------------------------

    def _read_large(self, ticket: Ticket) -> ReadFile | OSError:
        try:
            descriptor = _open(ticket.folder, ticket.name)
        except OSError as error:
            return error
        try:
            for attempt in range(1, TRIES + 1):
                read_at = time.time_ns()
                info = os.fstat(descriptor)
                if not stat.S_ISREG(info.st_mode):
                    return OSError(errno.ENOENT, "replaced")
                content, regions, data = self._read_pieces(descriptor, info.st_size)
                xattrs = read_xattrs(descriptor, self._options.keep)
                stable = unchanged(info, os.fstat(descriptor))
                if stable or attempt == TRIES:
                    self._progress.advance(files=1)
                    kept = Stat.of(info, info.st_size)
                    return ReadFile(content, kept, read_at, xattrs, regions, data, stable)
            raise AssertionError("unreachable")
        except OSError as error:
            return error
        finally:
            os.close(descriptor)

    def _read_pieces(self, descriptor: int, size: int) -> tuple[bytes, int, int]:
        """(content id, regions of data, bytes in them) of an open file of this size."""
        builder = IndexBuilder(self._writer.put_node)
        pieces = data_pieces(descriptor, size, self._options.block_size, self._piece)
        flying: deque[tuple[int, int, Future[Hashed]]] = deque()
        position = regions = data = 0
        in_run = False
        try:
            while True:
                while len(flying) < 2 * self._options.threads + 2 and (piece := next(pieces, None)):
                    offset, length = piece
                    future = self._pool.submit(self._read_piece, descriptor, offset, length)
                    flying.append((offset, length, future))
                if not flying:
                    break
                offset, length, future = flying.popleft()
                hashed = future.result()
                self._writer.append(hashed.records)
                if offset > position:
                    builder.add_nulls((offset - position) // self._options.block_size)
                    in_run = False
                builder.add(hashed.ids)
                regions += count_runs(hashed.ids, in_run)
                in_run = hashed.ids[-ID_LENGTH:] != NULL
                data += length
                position = (
                    offset
                    + block_count(length, self._options.block_size) * self._options.block_size
                )
        finally:
            self._take_rest([future for _, _, future in flying])
        blocks = block_count(size, self._options.block_size)
        builder.add_nulls(blocks - position // self._options.block_size)
        return builder.finish(), regions, data

    def _take_rest(self, flying: list[Future[Hashed]]) -> None:
        """After an error: what workers have claimed must still be appended, since another file may
        rely on it."""
        for future in flying:
            if not future.cancel() and future.exception() is None:
                self._writer.append(future.result().records)


def _open(folder: int, name: bytes) -> int:
    return os.open(name, OPEN_FLAGS, dir_fd=folder)


def data_pieces(
    descriptor: int, size: int, block_size: int, piece: int
) -> Iterator[tuple[int, int]]:
    """(offset, length) of the pieces of a file that hold data, block-aligned, holes left out."""
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            start, end = position, size  # a file system that cannot tell
        position = max(position, start - start % block_size)
        end = min(size, block_count(end, block_size) * block_size)
        while position < end:
            length = min(piece, end - position)
            yield position, length
            position += length


def count_runs(ids: bytes, in_run: bool = False) -> int:
    """Runs of blocks that are not null; a run that goes on from before is not counted again."""
    runs = 0
    for start in range(0, len(ids), ID_LENGTH):
        data = ids[start : start + ID_LENGTH] != NULL
        runs += data and not in_run
        in_run = data
    return runs
