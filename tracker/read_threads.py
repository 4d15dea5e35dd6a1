"""Readers as threads of one process: of the command itself, or of a reader process."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..store.object_writer import Stored
from .block_reader import BlockReader, Files, Hasher, SmallFile
from .metadata import XattrFilter


class Amount(NamedTuple):
    """Work handed out: files and bytes."""

    files: int
    size: int


class Readers(Protocol):
    """Some workers that read, and store what is new."""

    def read_files(self, files: Files) -> Future[list[SmallFile]]:
        """Read a batch."""

    def read_piece(self, descriptor: int, offset: int, length: int) -> Future[bytes]:
        """Read a piece of an open file; the ids of its blocks."""

    def close(self) -> list[Stored]:
        """End the workers, which leave unread what they have not begun; what was stored elsewhere
        than in the command's own writer."""


@dataclass(frozen=True)
class ReaderSettings:
    """How to read. `piece` is the longest piece of a large file, `parent` the process whose
    descriptors are meant if it is another one."""

    block_size: int
    piece: int
    keep: XattrFilter
    parent: int | None = None


class ReadThreads:
    """`count` threads."""

    def __init__(self, count: int, hasher: Hasher, settings: ReaderSettings) -> None:
        self._hasher = hasher
        self._settings = settings
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="read")
        self._local = threading.local()

    def read_files(self, files: Files) -> Future[list[SmallFile]]:
        return self._pool.submit(lambda: self._reader().read_files(files))

    def read_piece(self, descriptor: int, offset: int, length: int) -> Future[bytes]:
        return self._pool.submit(lambda: self._reader().read_piece(descriptor, offset, length))

    def close(self) -> list[Stored]:
        self._pool.shutdown(cancel_futures=True)
        return []

    def _reader(self) -> BlockReader:
        """This thread's own."""
        try:
            reader: BlockReader = self._local.reader
        except AttributeError:
            settings = self._settings
            reader = BlockReader(self._hasher, settings.keep, settings.piece, settings.parent)
            self._local.reader = reader
        return reader
