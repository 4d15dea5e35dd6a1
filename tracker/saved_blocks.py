"""Blocks of files as they stood at a swap: in memory up to a limit, in a file beyond it."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pyroaring import BitMap64

from ..store.durable import pwrite_all
from ..store.errors import StorageError, storage_error
from .block_map import Serial

IN_MEMORY: Final = 64 << 20
MAX_SIZE: Final = 4 << 30


class SavedBlocks:
    """`folder` takes the file, which has no name. Any thread, but one at a time for a serial."""

    def __init__(
        self,
        folder: Path,
        block_size: int,
        *,
        in_memory: int = IN_MEMORY,
        max_size: int = MAX_SIZE,
    ) -> None:
        self._folder = folder
        self._block_size = block_size
        self._in_memory = in_memory
        self._max_size = max_size
        self._lock = threading.Lock()
        self._data: dict[Serial, dict[int, bytes | tuple[int, int]]] = {}
        self._memory = self._end = 0
        self._file = -1
        self._free: list[int] = []
        self.size = 0
        """Bytes that are held."""

    def put(self, serial: Serial, number: int, data: bytes) -> bool:
        """Keep a block; whether there was room. StorageError where the disk takes no more."""
        with self._lock:
            if self.size + len(data) > self._max_size:
                return False
            self.size += len(data)
            kept: bytes | tuple[int, int] = data
            if self._memory + len(data) <= self._in_memory:
                self._memory += len(data)
            else:
                kept = self._write(data)
            self._data.setdefault(serial, {})[number] = kept
            return True

    def _write(self, data: bytes) -> tuple[int, int]:
        start = self._free.pop() if self._free else self._end
        try:
            if self._file < 0:
                self._file, name = tempfile.mkstemp(dir=self._folder, prefix="saved-")
                os.unlink(name)
            pwrite_all(self._file, data, start)
        except OSError as error:
            raise storage_error("saving what a commit has not read yet", error) from error
        if start == self._end:
            self._end += self._block_size
        return start, len(data)

    def blocks(self, serial: Serial) -> BitMap64:
        """The numbers of a file's blocks that are kept."""
        return BitMap64(self._data.get(serial, ()))

    def take(self, serial: Serial, numbers: Iterable[int]) -> dict[int, bytes]:
        """Those of these blocks that are kept, and are not from now on. StorageError."""
        of_file = self._data.get(serial, {})
        found = {}
        for number in numbers:
            if number in of_file:
                found[number] = self._read(of_file[number])
                with self._lock:
                    self._release(of_file.pop(number))
        return found

    def _read(self, kept: bytes | tuple[int, int]) -> bytes:
        if isinstance(kept, bytes):
            return kept
        start, length = kept
        try:
            data = os.pread(self._file, length, start)
        except OSError as error:
            raise storage_error("reading what was saved for a commit", error) from error
        if len(data) < length:
            raise StorageError("what was saved for a commit was cut short")
        return data

    def _release(self, kept: bytes | tuple[int, int]) -> None:
        if isinstance(kept, bytes):
            self._memory -= len(kept)
            self.size -= len(kept)
        else:
            self._free.append(kept[0])
            self.size -= kept[1]

    def close(self) -> None:
        """Let go of all of it."""
        with self._lock:
            self._data, self._free = {}, []
            self._max_size = 0
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
