"""Marks: small append-only files of what packs and history do not say.

One record a line, `CRC32 FIELD FIELD ...`, fields percent-quoted; a torn last line (a crash while
it was written) is ignored and overwritten by the next append. They are the truth that the catalog
mirrors: what is held of a root, what was finalized and when, what could not be restored. Appends
run under the caller's lock and are durable when they return; reading needs no lock.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from .durable import fsync_folder, write_all
from .errors import storage_error


class MarkLog:
    """One file in `marks/`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, records: Iterable[Iterable[str]]) -> None:
        """Add records durably; none of them, or all, or a whole first part after a crash."""
        text = b"".join(_line(list(fields)) for fields in records)
        if not text:
            return
        try:
            self._append(text)
        except OSError as error:
            raise storage_error(f"writing {self._path.name}", error) from error

    def _append(self, text: bytes) -> None:
        fresh = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            end = 0 if fresh else _whole_end(descriptor)
            os.ftruncate(descriptor, end)
            os.lseek(descriptor, end, os.SEEK_SET)
            write_all(descriptor, text)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if fresh:
            fsync_folder(self._path.parent)

    def read(self, offset: int = 0) -> Iterator[tuple[list[str], int]]:
        """(fields, offset behind the record) of each whole record from `offset`. A damaged record
        is left out."""
        try:
            with self._path.open("rb") as file:
                file.seek(offset)
                content = file.read()
        except FileNotFoundError:
            return
        for line in _whole_lines(content):
            offset += len(line) + 1
            fields = _parse(line)
            if fields is not None:
                yield fields, offset

    def damaged(self) -> int:
        """How many whole lines do not have their checksum: for fsck."""
        try:
            lines = _whole_lines(self._path.read_bytes())
        except FileNotFoundError:
            return 0
        return sum(_parse(line) is None for line in lines)


def _whole_lines(content: bytes) -> list[bytes]:
    """The lines that have their end, without it. Not splitlines: a flipped bit of b"-" is
    b"\\r"."""
    return content.split(b"\n")[:-1]


def _line(fields: list[str]) -> bytes:
    body = " ".join(quote(field, safe="/:@+-.,", errors="surrogateescape") for field in fields)
    return f"{zlib.crc32(body.encode()):08x} {body}\n".encode()


def _parse(line: bytes) -> list[str] | None:
    checksum, _, body = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body) or not body.isascii():
        return None
    return [unquote(field, errors="surrogateescape") for field in body.decode().split(" ")]


def _whole_end(descriptor: int) -> int:
    """The offset behind the last line that was written whole."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - (1 << 16))
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
