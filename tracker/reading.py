"""Reads changed files, ahead of the thread that builds the tree.

Small files go out in batches of 128 files or 4 MiB, large ones in pieces of 4 MiB: to threads, and
to processes of their own once it is clear that there is much to do. Results are taken, in the order
of submission, by the one thread that also builds index nodes; so many batches and pieces are in
flight that one slow reader does not let the others wait.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..store.block_store import BlockStore
from ..store.content import IndexBuilder
from ..store.errors import StorageError, TreeringError
from ..store.ids import ID_LENGTH, NULL
from ..store.object_writer import ObjectWriter
from ..store.progress import SILENT, Progress
from .block_reader import TOO_LARGE, TRIES, Hasher, SmallFile
from .large_file import Content, LargeFile, count_runs
from .metadata import Stat, XattrFilter, Xattrs, read_xattrs
from .read_processes import ReadProcesses
from .read_threads import Amount, Readers, ReaderSettings, ReadThreads
from .read_worker import WorkerSettings

PIECE: Final = 4 << 20
BATCH_FILES: Final = 128
MANY_FILES: Final = 256
MANY_BYTES: Final = 64 << 20
"""From this many small files or bytes on, processes pay for their start of 0.1 s."""
IN_FLIGHT: Final = 8
"""Batches and pieces for each reader."""
MAX_THREADS: Final = 8
MAX_PROCESSES: Final = 3
"""On machines with more cores memory is the limit: a thread has 12 MiB in hand, a process 30 more.
Processes then have several threads each."""
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


class Batch:
    """Small files that are read at once. `left` are those not yet redeemed."""

    def __init__(self) -> None:
        self.files: list[tuple[int, bytes]] = []
        self.size = 0
        self.left = 0
        self.read: Future[list[SmallFile]] | None = None
        self._results: list[SmallFile] = []

    def start(self, readers: Readers) -> Amount | None:
        """Hand it to the readers; None when that is done."""
        if self.read is not None:
            return None
        self.left = len(self.files)
        self.read = readers.read_files(self.files)
        return Amount(self.left, self.size)

    def take(self, position: int) -> SmallFile:
        """What was read of one of the files, once for each. The future is asked once: asking costs
        more than all else that is done here with a small file."""
        if not self._results:
            assert self.read is not None, "tickets are redeemed in the order they were handed in"
            self._results = self.read.result()
        self.left -= 1
        return self._results[position]


class Ticket(NamedTuple):
    """A file handed to the reader; `FileReader.result` redeems it, once, in the order in which
    tickets were handed out. Of a batch it is number `position`."""

    folder: int
    name: bytes
    work: Batch | LargeFile
    position: int = 0


@dataclass(frozen=True)
class ReaderOptions:
    """`processes`: whether there may be reader processes."""

    block_size: int
    threads: int
    keep: XattrFilter
    processes: bool = True


class FileReader:
    """The readers of one command, used from one thread.

    `finish` ends them when all is read: then what they stored themselves is durable. `close` ends
    them whatever happened, and keeps of it what can be kept.
    """

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
        self._progress = progress
        settings = ReaderSettings(options.block_size, self._piece, options.keep)
        hasher = Hasher(writer, store.codec, options.block_size)
        self._pools: list[Readers] = [ReadThreads(options.threads, hasher, settings)]
        self._may_start_processes = options.processes
        self._open_batch = Batch()
        self._waiting: deque[Batch | LargeFile] = deque()
        self._large: set[LargeFile] = set()
        self._active = 0
        self._max_active = IN_FLIGHT * options.threads
        self._given_files = self._given_bytes = 0
        self.unredeemed = 0
        """Small files handed in and not yet redeemed."""

    def finish(self) -> None:
        for pool in self._pools:
            for stored in pool.close():
                self._writer.take_over(stored)

    def close(self) -> None:
        for pool in self._pools:
            with suppress(TreeringError):
                pool.close()
        for file in self._large:
            file.close()

    def _readers(self) -> Readers:
        """Who reads what is handed in now: processes from the time on when there is much to do."""
        much = self._given_files >= MANY_FILES or self._given_bytes >= MANY_BYTES
        if much and self._may_start_processes:
            self._may_start_processes = False
            # Where none can be started (too many, no memory), the threads read on.
            with suppress(OSError, StorageError):
                self._pools.append(self._start_processes())
        return self._pools[-1]

    def _start_processes(self) -> ReadProcesses:
        options = self._options
        count = min(options.threads, MAX_PROCESSES)
        settings = WorkerSettings(
            0,
            os.fsencode(self._store.packs.parent),
            -1,
            -(-options.threads // count),
            self._store.codec.level,
            options.block_size,
            self._piece,
            *options.keep,
        )
        return ReadProcesses(count, settings)

    def submit(self, folder: int, name: bytes, size: int) -> Ticket:
        """Hand in a regular file of an open folder, `size` bytes long at last sight; the descriptor
        must stay open until the ticket is redeemed."""
        if size > self._piece:
            self._flush()
            return Ticket(folder, name, self._new_large(folder, name))
        batch = self._open_batch
        ticket = Ticket(folder, name, batch, len(batch.files))
        batch.files.append((folder, name))
        batch.size += size
        self.unredeemed += 1
        if len(batch.files) >= BATCH_FILES or batch.size >= self._piece:
            self._flush()
        return ticket

    def result(self, ticket: Ticket) -> ReadFile | OSError:
        """What was read, or why not. Stores its index nodes."""
        batch = ticket.work
        if isinstance(batch, LargeFile):
            return self._read_large(batch)
        if batch is self._open_batch:
            self._flush()
        small = batch.take(ticket.position)
        self.unredeemed -= 1
        if not batch.left:
            self._active -= 1
            self._start()
        if small.error == TOO_LARGE:
            return self._read_large(self._new_large(ticket.folder, ticket.name))
        return self._small(small)

    # -- ahead -----------------------------------------------------------------------------------

    def _new_large(self, folder: int, name: bytes) -> LargeFile:
        file = LargeFile(folder, name, self._options.block_size, self._piece)
        self._large.add(file)
        self._queue(file)
        return file

    def _flush(self) -> None:
        """Put the open batch into the queue."""
        if self._open_batch.files:
            batch, self._open_batch = self._open_batch, Batch()
            self._queue(batch)

    def _queue(self, work: Batch | LargeFile) -> None:
        self._waiting.append(work)
        self._start()

    def _start(self) -> None:
        """Start as much as may be in flight."""
        while self._waiting and self._active < self._max_active:
            if not self._start_next(self._waiting[0]):
                self._waiting.popleft()

    def _start_next(self, work: Batch | LargeFile) -> bool:
        """Start the next part of a work; False when there is none."""
        amount = work.start(self._readers())
        if amount is None:
            return False
        self._active += 1
        self._given_files += amount.files
        self._given_bytes += amount.size
        return True

    # -- results ---------------------------------------------------------------------------------

    def _small(self, small: SmallFile) -> ReadFile | OSError:
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

    def _read_large(self, file: LargeFile) -> ReadFile | OSError:
        try:
            for attempt in range(1, TRIES + 1):
                content = Content(IndexBuilder(self._writer.put_node), self._options.block_size)
                self._take(file, content)
                xattrs = read_xattrs(file.descriptor, self._options.keep)
                stable = file.stable
                if stable or attempt == TRIES:
                    break
                file.rewind()
            self._progress.advance(files=1)
            size = file.info.st_size
            return ReadFile(
                content.finish(size),
                Stat.of(file.info, size),
                file.read_at_ns,
                xattrs,
                content.regions,
                content.data,
                stable,
            )
        except OSError as error:
            return error
        finally:
            self._large.discard(file)
            self._active -= file.close()
            self._start()

    def _take(self, file: LargeFile, content: Content) -> None:
        """Take the pieces of a file as they come. Where none is out although one is due - it is
        read again, or others have filled the queue - it is started all the same."""
        while True:
            piece = file.next()
            if piece is None:
                if not self._start_next(file):
                    return
                continue
            self._active -= 1
            ids = piece.ids.result()
            self._start()
            self._progress.advance(size=piece.length)
            content.add(piece.offset, piece.length, ids)
