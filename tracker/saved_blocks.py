"""Blocks of files as they stood at a swap: in memory up to a limit, in a file beyond it."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pyroaring import BitMap64

from ..store.errors import StorageError, storage_error
from .block_map import Serial

IN_MEMORY: Final = 64 << 20
MAX_SIZE: Final = 4 << 30


class SavedBlocks:
    """`folder` takes the file, which has no name. Any thread, but one at a time for a serial."""

    def __init__(
        self, folder: Path, *, in_memory: int = IN_MEMORY, max_size: int = MAX_SIZE
    ) -> None:
        self._folder = folder
        self._in_memory = in_memory
        self._max_size = max_size
        self._lock = threading.Lock()
        self._data: dict[Serial, dict[int, bytes | tuple[int, int]]] = {}
        self._memory = self._end = 0
        self._file = -1
        self.size = 0
        """Bytes that are held."""

    def put(self, serial: Serial, number: int, data: bytes) -> None:
        """Keep a block. StorageError where there is no room."""
        with self._lock:
            if self.size + len(data) > self._max_size:
                raise StorageError(
                    "a commit has to keep more of what is being overwritten than it may",
                    hint="commit again while less is written",
                )
            self.size += len(data)
            kept: bytes | tuple[int, int] = data
            if self._memory + len(data) <= self._in_memory:
                self._memory += len(data)
            else:
                kept = self._write(data)
            self._data.setdefault(serial, {})[number] = kept

    def _write(self, data: bytes) -> tuple[int, int]:
        start = self._end
        try:
            if self._file < 0:
                self._file, name = tempfile.mkstemp(dir=self._folder, prefix="saved-")
                os.unlink(name)
            written = 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:], start + written)
        except OSError as error:
            raise storage_error("saving what a commit has not read yet", error) from error
        self._end += len(data)
        return start, len(data)

    def blocks(self, serial: Serial) -> BitMap64:
        """The numbers of a file's blocks that are kept."""
        return BitMap64(self._data.get(serial, ()))

    def take(self, serial: Serial, numbers: Iterable[int]) -> dict[int, bytes]:
        """Those of these blocks that are kept. They go on counting as kept."""
        of_file = self._data.get(serial, {})
        return {number: self._read(of_file[number]) for number in numbers if number in of_file}

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

    def close(self) -> None:
        """Let go of all of it."""
        with self._lock:
            self._data = {}
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
