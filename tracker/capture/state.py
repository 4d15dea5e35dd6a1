"""The state of the scan kept right by a commit that did not scan, so that the next scan, perhaps of
the tree without its driver, reads nothing again that is in the root.

Rows are made for the leaves that are new, as `frame` does for a scan; of entries in them that did
not change, the signatures are those that the rows before had.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from ...store.nodes import Child, Entry
from ..metadata import StatLike
from ..scan_state import (
    CLEAN,
    RACY,
    UNKNOWN,
    Part,
    Row,
    ScanState,
    doubt,
    file_signature,
    folder_signature,
    row_of,
)


class _Signed(NamedTuple):
    signature: bytes
    flag: int
    linked: bool


class StateKeeper:
    """Used by one thread. `granularity`: see `scan_state.doubt`."""

    def __init__(self, state: ScanState, granularity: int) -> None:
        self._state = state
        self._granularity = granularity
        self._since = time.time_ns()
        state.begin()

    def folder(self, number: int, *, new: bool) -> FolderState:
        """The rows of a folder, by its inode number; `new`: the base has it not."""
        return FolderState(self, number, new=new)

    def save(self) -> None:
        """After what was stored is durable."""
        self._state.save(whole=False)

    def signed(self, info: StatLike) -> _Signed:
        flag = doubt(info, self._since, self._granularity)
        return _Signed(file_signature(info), flag, info.st_nlink > 1)

    def before(self, number: int, first: bytes, last: bytes) -> list[Part]:
        return self._state.parts_between(number, first, last)

    def put(self, number: int, rows: Sequence[Row], before: dict[bytes, bytes]) -> None:
        self._state.put_some(number, before, rows)
        self._state.drop(number, before)

    def made(self, number: int) -> None:
        self._state.end_folder(number, (), fresh=True)


class FolderState:
    """One folder under construction. What lies in it and is no folder is told by `looked`."""

    def __init__(self, keeper: StateKeeper, number: int, *, new: bool) -> None:
        self._keeper = keeper
        self._number = number
        self._new = new
        self._looked: dict[bytes, _Signed] = {}

    def looked(self, name: bytes, info: StatLike) -> None:
        """What lies there is in the snapshot as this stat says."""
        self._looked[name] = self._keeper.signed(info)

    def on_leaf(self, child: Child, final: bool, entries: Sequence[Entry]) -> None:
        """A leaf of the folder is new."""
        if not self._number or not entries:
            return
        parts = []
        if not self._new:
            parts = self._keeper.before(self._number, entries[0].name, child.last)
        known = {
            name: _Signed(part.signature(place), part.flag(place), part.linked)
            for part in parts
            for place, name in enumerate(part.names)
        }
        signed = [self._signed(entry, known) for entry in entries]
        flags = bytes(each.flag for each in signed)
        row = row_of(
            Part(
                child.node,
                child.files,
                child.size,
                final,
                any(each.linked for each in signed),
                [entry.name for entry in entries],
                b"".join(each.signature for each in signed),
                flags if any(flags) else b"",
            )
        )
        gone = {old.last: old.data for old in map(row_of, parts) if old.last <= child.last}
        self._keeper.put(self._number, [row], gone)

    def _signed(self, entry: Entry, known: dict[bytes, _Signed]) -> _Signed:
        looked = self._looked.pop(entry.name, None)
        if looked is not None:
            return looked
        if entry.is_folder:
            return _Signed(folder_signature(entry), CLEAN, False)
        return known.get(entry.name, _Signed(UNKNOWN, RACY, bool(entry.more.group)))

    def finish(self) -> None:
        if self._new and self._number:
            self._keeper.made(self._number)
