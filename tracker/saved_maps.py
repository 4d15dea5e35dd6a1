"""The block maps that a driver leaves behind when it is detached, for the next scan.

Of each file that stands where the base root has it: which of its blocks may differ from the base,
and its stat. A file that a scan finds with that very stat, while HEAD's root is that base, has not
changed since, so only those blocks are read. A file whose time stamps are so young that a later
change could have the same is left out. What names changed, the scan sees for itself.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import msgspec
from pyroaring import BitMap64

from ..store.errors import Corrupt
from ..store.filesystem import filesystem_type
from ..store.state_file import StateFile
from .block_map import BlockMap, FileChange, Serial
from .map_listing import runs
from .map_pair import MapPair
from .scan_state import RACY, doubt, file_signature, granularity

MAX_RUNS: Final = 1_000_000
"""Of all files together, 10 bytes each at most; files beyond that are read whole."""


class SavedFile(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`smallest` is that of the file's `FileChange`, -1 for none."""

    signature: bytes
    smallest: int
    runs: list[tuple[int, int]]


class SavedMaps(msgspec.Struct, array_like=True, frozen=True):
    """`base` is a root in hex; `files` go by path."""

    base: str
    block_size: int
    files: dict[bytes, SavedFile]


SAVED: Final = StateFile("maps", "saved block maps", SavedMaps)


def save_maps(folder: Path, backing: Path, pair: MapPair) -> None:
    """Write what a pair holds, which nobody changes any more, of the tree at `backing`.
    StorageError."""
    kind = granularity(filesystem_type(backing))
    with pair.lock:
        changes = pair.merged()
    files: dict[bytes, SavedFile] = {}
    left = MAX_RUNS
    for serial in changes.files.keys() | changes.attributes:
        path = _unmoved(pair, serial, changes)
        if path is None or left < 0:
            continue
        saved = _saved(backing, path, changes.files.get(serial), kind)
        if saved is not None:
            files[path] = saved
            left -= len(saved.runs) + 1
    SAVED.write(folder, SavedMaps(changes.base.decode(), changes.block_size, files))


def _unmoved(pair: MapPair, serial: Serial, changes: BlockMap) -> bytes | None:
    """The path of an object that has the same one in the base."""
    with pair.lock:
        base = pair.bound(serial, pair.active) if pair.frozen is None else None
        path = pair.names.path(serial)
    return path if path and path == base else None


def _saved(backing: Path, path: bytes, change: FileChange | None, tick: int) -> SavedFile | None:
    try:
        info = os.stat(os.fsencode(backing) + b"/" + path, follow_symlinks=False)
    except OSError:
        return None
    if doubt(info, time.time_ns(), tick) == RACY:
        return None
    if change is None:
        return SavedFile(file_signature(info), -1, [])
    smallest = -1 if change.smallest is None else change.smallest
    return SavedFile(file_signature(info), smallest, list(runs(change.blocks())))


class SavedSuspects:
    """What saved maps tell a scan, relative to the root `base` (hex)."""

    def __init__(self, folder: Path) -> None:
        try:
            found = SAVED.read(folder)
        except (Corrupt, OSError):
            found = None  # they only save time
        self.base = found.base if found is not None else None
        self._files = found.files if found is not None else {}
        self._block_size = found.block_size if found is not None else 0

    def suspects(self, path: bytes, info: os.stat_result, base_size: int) -> BitMap64 | None:
        """The blocks of a file that may differ from the base's; None if any may."""
        file = self._files.get(path)
        if file is None or file.signature != file_signature(info):
            return None
        change = FileChange(smallest=None if file.smallest < 0 else file.smallest)
        for first, count in file.runs:
            change.add(first, first + count)
        return change.differing(self._block_size, base_size, info.st_size)
