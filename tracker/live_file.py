"""Whether a live file is as an entry says, times included: for status, by a scan or by the maps.

A file is read only where nothing in its stat tells the two apart, or where its regions are asked
for, and then only those of its blocks that may differ, if that is known.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from pyroaring import BitMap64

from ..store.nodes import Entry, EntryKind
from ..store.repository import Repository
from .block_reader import OPEN_FLAGS
from .changes import Region, regions
from .compare import live_differences, suspect_differences
from .metadata import KINDS, at, read_xattrs
from .snapshot import xattr_filter

Suspects = Callable[[bytes, os.stat_result, int], BitMap64 | None]
"""Of a file, by path and stat, whose size in the base is so many bytes: the blocks that may differ
from the base, or None if any may."""


class LiveFiles:
    """Used by one thread, in a `with`. With `want_regions` all of a file's are found."""

    def __init__(self, repository: Repository, suspects: Suspects, *, want_regions: bool) -> None:
        self._source = repository.store
        self._block_size = repository.block_size
        self._suspects = suspects
        self._want_regions = want_regions
        self._keep = xattr_filter(repository)
        self._pool = ThreadPoolExecutor(repository.threads, thread_name_prefix="compare")

    def __enter__(self) -> LiveFiles:
        return self

    def __exit__(self, *_error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def difference(
        self, folder: int, path: bytes, info: os.stat_result, old: Entry
    ) -> tuple[Region, ...] | None:
        """None if the name in the open folder, no folder itself, is as the entry says; else its
        regions, if they were asked for and it is a file on both sides. OSError."""
        name = path.rpartition(b"/")[2]
        if KINDS.get(stat.S_IFMT(info.st_mode)) != old.kind:
            return ()
        differs = _stat_differs(info, old)
        if old.is_file and (self._want_regions or not differs):
            found = self._regions(folder, name, path, old)
            if differs or found:
                return found if self._want_regions else ()
        return () if differs or self._rest_differs(folder, name, old) else None

    def _rest_differs(self, folder: int, name: bytes, old: Entry) -> bool:
        if old.kind == EntryKind.SYMLINK and os.readlink(name, dir_fd=folder) != old.more.target:
            return True
        return read_xattrs(at(folder, name), self._keep) != old.more.xattrs

    def _regions(self, folder: int, name: bytes, path: bytes, old: Entry) -> tuple[Region, ...]:
        """Those in which a live file differs; only the first unless they were asked for."""
        descriptor = os.open(name, OPEN_FLAGS, dir_fd=folder)
        try:
            info = os.fstat(descriptor)
            numbers = self._numbers(
                descriptor, info.st_size, old, self._suspects(path, info, old.size)
            )
            found = regions(path, numbers, info.st_size, self._block_size)
            return tuple(found if self._want_regions else islice(found, 1))
        finally:
            os.close(descriptor)

    def _numbers(
        self, descriptor: int, length: int, old: Entry, suspects: BitMap64 | None
    ) -> Iterator[int]:
        size = self._block_size
        if suspects is not None:
            yield from suspect_differences(self._source, old, descriptor, length, size, suspects)
            return
        for number, _, _ in live_differences(
            self._source, old, descriptor, length, size, self._pool
        ):
            if number * size < length:
                yield number


def _stat_differs(info: os.stat_result, old: Entry) -> bool:
    live = (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns)
    if live != (old.mode, old.uid, old.gid, old.mtime_ns):
        return True
    return old.is_file and info.st_size != old.size
