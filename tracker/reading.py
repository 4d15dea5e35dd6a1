"""Reads changed files: hash, look up, compress, in worker threads.

Small files go to the workers in batches of 128 files or 4 MiB, large ones in pieces of 4 MiB with
their holes skipped (SEEK_DATA). read(2), BLAKE3, zstd and LMDB all release the GIL, so two threads
keep two cores busy. Workers only read and compress; results are taken, in the order of submission,
by the one thread that also appends records and builds index nodes. Memory is bounded by the pieces
in flight.

A file that changes while it is read is read again, three times in all; then the last read counts
and is said to be unstable.
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
from typing import Final, NamedTuple

from ..store.block_store import ObjectWriter
from ..store.codec import Codec
from ..store.content import IndexBuilder, block_count
from ..store.ids import BLOCK_PREFIX, ID_LENGTH, NULL, Key, block_id
from ..store.packfile import Record
from ..store.progress import SILENT, Progress
from .metadata import XattrFilter, Xattrs, read_xattrs

PIECE: Final = 4 << 20
BATCH_FILES: Final = 128
TRIES: Final = 3
OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
GONE: Final = frozenset({errno.ENOENT, errno.ESTALE})
REPLACED: Final = frozenset({errno.ELOOP, errno.ENXIO, errno.ENODEV})
"""What open says when something that is no regular file stands there by now."""


class ReadFile(NamedTuple):
    """What was read of one file: its content id, its stat before the read and the wall time of
    that stat in ns; runs of data blocks and bytes in them; whether it kept still."""

    content: bytes
    info: os.stat_result
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

    __slots__ = ("batch", "folder", "info", "name", "position")

    def __init__(self, folder: int, name: bytes, info: os.stat_result) -> None:
        self.folder = folder
        self.name = name
        self.info = info
        self.batch: _Batch | None = None
        self.position = 0


_Small = tuple[ReadFile | OSError | None, bytes, list[Record]]
"""(outcome with a null content, or None when the file has grown large; block ids; records)"""


_NONE: Final[list[Record]] = []


class _Batch:
    __slots__ = ("future", "left", "size", "tickets")

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.size = 0
        self.left = 0
        self.future: Future[list[_Small]] | None = None


class Hasher:
    """Cuts buffers into blocks and makes records of the new ones. Thread-safe."""

    def __init__(self, writer: ObjectWriter, codec: Codec, block_size: int) -> None:
        self._writer = writer
        self._codec = codec
        self._block_size = block_size
        self._zeros = bytes(block_size)
        self._zero_id = block_id(self._zeros)

    def hash(self, data: memoryview) -> Hashed:
        """The ids and new records of one buffer that starts at a block boundary."""
        (ids,), records = self.hash_all([data])
        return Hashed(ids, records)

    def hash_all(self, buffers: list[memoryview]) -> tuple[list[bytes], list[Record]]:
        """The same for the whole contents of several files, with one look-up for all of them."""
        size = self._block_size
        found: list[bytes] = []
        keys: list[bytes] = []
        blocks: list[memoryview] = []
        for data in buffers:
            ids: list[bytes] = []
            for start in range(0, len(data), size):
                block = data[start : start + size]
                identity = self._identify(block)
                ids.append(identity)
                if identity != NULL:
                    keys.append(BLOCK_PREFIX + identity)
                    blocks.append(block)
            found.append(b"".join(ids))
        records = []
        compress = self._codec.compress
        for key, block, wanted in zip(keys, blocks, self._writer.claim(keys), strict=True):
            if wanted:
                codec, payload = compress(block)
                records.append(Record(Key(key), codec, len(block), payload))
        return found, records

    def _identify(self, block: memoryview) -> bytes:
        length = len(block)
        if length < self._block_size and not block[0] and block == self._zeros[:length]:
            return NULL
        identity = block_id(block)
        return NULL if identity == self._zero_id else identity


class FileReader:
    """The pool of readers of one command. All methods but the workers' own are called from one
    thread; `close` ends the threads."""

    def __init__(
        self,
        writer: ObjectWriter,
        codec: Codec,
        block_size: int,
        *,
        threads: int,
        keep: XattrFilter,
        progress: Progress = SILENT,
    ) -> None:
        self._writer = writer
        self._block_size = block_size
        self._piece = max(PIECE, block_size)
        self._hasher = Hasher(writer, codec, block_size)
        self._keep = keep
        self._progress = progress
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
        self._local = threading.local()
        self._open_batch = _Batch()
        self._waiting: deque[_Batch] = deque()
        self._active = 0
        self._max_active = 2 * threads + 2
        self.unredeemed = 0
        """Small files handed in and not yet redeemed."""

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, folder: int, name: bytes, info: os.stat_result) -> Ticket:
        """Hand in a regular file of an open folder; the descriptor must stay open until its ticket
        is redeemed."""
        ticket = Ticket(folder, name, info)
        if info.st_size > self._piece:
            return ticket
        batch = self._open_batch
        ticket.batch = batch
        ticket.position = len(batch.tickets)
        batch.tickets.append(ticket)
        batch.size += info.st_size
        self.unredeemed += 1
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
        outcome, ids, records = batch.future.result()[ticket.position]
        self._writer.append(records)
        self.unredeemed -= 1
        batch.left -= 1
        if not batch.left:
            self._active -= 1
            batch.future = None
            self._start()
        if outcome is None:
            return self._read_large(ticket)
        if isinstance(outcome, OSError):
            return outcome
        self._progress.advance(files=1, size=outcome.info.st_size)
        return outcome._replace(content=self._content_of(ids), regions=count_runs(ids))

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
            batch.future = self._pool.submit(self._read_batch, batch.tickets)
            self._active += 1

    # -- in the workers --------------------------------------------------------------------------

    def _buffer(self) -> memoryview:
        """This thread's own buffer: fresh memory for each piece would cost its page faults."""
        try:
            buffer: bytearray = self._local.buffer
        except AttributeError:
            buffer = self._local.buffer = bytearray(2 * self._piece + 1)
        return memoryview(buffer)

    def _read_batch(self, tickets: list[Ticket]) -> list[_Small]:
        room = self._buffer()
        outcomes: list[ReadFile | OSError | None] = []
        buffers: list[memoryview] = []
        for ticket in tickets:
            outcome = self._read_small(ticket, room)
            length = outcome.data if isinstance(outcome, ReadFile) else 0
            outcomes.append(outcome)
            buffers.append(room[:length])
            room = room[length:]
        found, records = self._hasher.hash_all(buffers)
        small = [(outcome, ids, _NONE) for outcome, ids in zip(outcomes, found, strict=True)]
        small[0] = (*small[0][:2], records)
        return small

    def _read_small(self, ticket: Ticket, room: memoryview) -> ReadFile | OSError | None:
        """Read a file into `room`; None when it has outgrown it."""
        try:
            descriptor = os.open(ticket.name, OPEN_FLAGS, dir_fd=ticket.folder)
        except OSError as error:
            return error
        try:
            for attempt in range(1, TRIES + 1):
                read_at = time.time_ns()
                info = os.fstat(descriptor)
                if not stat.S_ISREG(info.st_mode):
                    return OSError(errno.ENOENT, "replaced")
                if info.st_size >= len(room):
                    return None
                length = _read_whole(descriptor, room[: info.st_size])
                xattrs = read_xattrs(descriptor, self._keep)
                stable = length == info.st_size and unchanged(info, os.fstat(descriptor))
                if stable or attempt == TRIES:
                    kept = _stat_with_size(info, length)
                    return ReadFile(NULL, kept, read_at, xattrs, 0, length, stable)
            raise AssertionError("unreachable")
        except OSError as error:
            return error
        finally:
            os.close(descriptor)

    def _read_piece(self, descriptor: int, offset: int, length: int) -> Hashed:
        view = self._buffer()[:length]
        got = _read_whole(descriptor, view, offset)
        # A file cut short meanwhile reads as zeros here; its stat tells, and it is read again.
        if got < length:
            view[got:] = bytes(length - got)
        hashed = self._hasher.hash(view)
        self._progress.advance(size=length)
        return hashed

    # -- large files, driven by the taking thread ------------------------------------------------

    def _read_large(self, ticket: Ticket) -> ReadFile | OSError:
        try:
            descriptor = os.open(ticket.name, OPEN_FLAGS, dir_fd=ticket.folder)
        except OSError as error:
            return error
        try:
            for attempt in range(1, TRIES + 1):
                read_at = time.time_ns()
                info = os.fstat(descriptor)
                if not stat.S_ISREG(info.st_mode):
                    return OSError(errno.ENOENT, "replaced")
                content, regions, data = self._read_pieces(descriptor, info.st_size)
                xattrs = read_xattrs(descriptor, self._keep)
                stable = unchanged(info, os.fstat(descriptor))
                if stable or attempt == TRIES:
                    self._progress.advance(files=1)
                    return ReadFile(content, info, read_at, xattrs, regions, data, stable)
            raise AssertionError("unreachable")
        except OSError as error:
            return error
        finally:
            os.close(descriptor)

    def _read_pieces(self, descriptor: int, size: int) -> tuple[bytes, int, int]:
        """(content id, regions of data, bytes in them) of an open file of this size."""
        builder = IndexBuilder(self._writer.put_node)
        pieces = data_pieces(descriptor, size, self._block_size, self._piece)
        flying: deque[tuple[int, int, Future[Hashed]]] = deque()
        position = regions = data = 0
        in_run = False
        try:
            while True:
                while len(flying) < 2 * self._threads + 2 and (piece := next(pieces, None)):
                    offset, length = piece
                    future = self._pool.submit(self._read_piece, descriptor, offset, length)
                    flying.append((offset, length, future))
                if not flying:
                    break
                offset, length, future = flying.popleft()
                hashed = future.result()
                self._writer.append(hashed.records)
                if offset > position:
                    builder.add_nulls((offset - position) // self._block_size)
                    in_run = False
                builder.add(hashed.ids)
                regions += count_runs(hashed.ids, in_run)
                in_run = hashed.ids[-ID_LENGTH:] != NULL
                data += length
                position = offset + block_count(length, self._block_size) * self._block_size
        finally:
            self._take_rest([future for _, _, future in flying])
        blocks = block_count(size, self._block_size)
        builder.add_nulls(blocks - position // self._block_size)
        return builder.finish(), regions, data

    def _take_rest(self, flying: list[Future[Hashed]]) -> None:
        """After an error: what workers have claimed must still be appended, since another file may
        rely on it."""
        for future in flying:
            if not future.cancel() and future.exception() is None:
                self._writer.append(future.result().records)


def _read_whole(descriptor: int, view: memoryview, offset: int = 0) -> int:
    """Fill `view` from `offset` of a file; the bytes got, fewer at the end of the file."""
    got = 0
    while got < len(view):
        more = os.preadv(descriptor, [view[got:]], offset + got)
        if not more:
            break
        got += more
    return got


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


def unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether a file kept still between two stats."""
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def count_runs(ids: bytes, in_run: bool = False) -> int:
    """Runs of blocks that are not null; a run that goes on from before is not counted again."""
    runs = 0
    for start in range(0, len(ids), ID_LENGTH):
        data = ids[start : start + ID_LENGTH] != NULL
        runs += data and not in_run
        in_run = data
    return runs


def _stat_with_size(info: os.stat_result, size: int) -> os.stat_result:
    """The stat, with the number of bytes that were read as its size: a file that shrinks under
    three reads is stored as long as the last one found it."""
    if info.st_size == size:
        return info
    fields = list(info)
    fields[stat.ST_SIZE] = size
    extra = {name: getattr(info, name) for name in ("st_mtime_ns", "st_ctime_ns", "st_rdev")}
    return os.stat_result(fields, extra)
