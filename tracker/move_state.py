"""The scan state of one folder, before and after a move: what was known stays known.

Of the new tree's leaves only those that the old one lacks get a row: signatures of what was written
now, and of what stays those that were known for the very same entry. So the next status and commit
read nothing of it again, and the cost follows the leaves that differ.
"""

from __future__ import annotations

import os

from ..store import directories
from ..store.content import NodeSource
from ..store.nodes import Child, Entry
from .known import Rows
from .scan_state import (
    CLEAN,
    MAPPED,
    RACY,
    UNKNOWN,
    Part,
    ScanState,
    folder_signature,
    row_of,
)


class FolderState:
    """`folder` is open while this is used. `places` are where the signatures of written names are
    in the list that `put` gets."""

    def __init__(self, source: NodeSource, state: ScanState, folder: int) -> None:
        self._source = source
        self._state = state
        self._inode = os.fstat(folder).st_ino if folder >= 0 else -1
        self._rows = Rows(state)
        self.places: dict[bytes, int] = {}

    def find(self, name: bytes) -> tuple[Part, int] | None:
        """The row that knows a name, and its place there."""
        return self._rows.find(self._inode, name)

    def put(self, old: Entry | None, new: Entry, signatures: list[bytes]) -> None:
        """Bring the rows from the old folder to the new one."""
        before = (
            {leaf.node for leaf in directories.leaves(self._source, old.content)} if old else ()
        )
        gone: list[Part] = []
        made: list[Part] = []
        for leaf in directories.leaves(self._source, new.content):
            if leaf.node in before:
                continue
            entries = list(directories.load_leaf(self._source, leaf.node).entries)
            rows = self._state.parts_between(self._inode, entries[0].name, leaf.last)
            gone += [row for row in rows if row.names[-1] <= leaf.last and row not in gone]
            made.append(self._row(leaf, entries, rows, signatures))
        if made or gone:
            self._state.put(self._inode, [*map(row_of, gone)], map(row_of, made))

    def _row(
        self, leaf: Child, entries: list[Entry], rows: list[Part], signatures: list[bytes]
    ) -> Part:
        stored: dict[bytes, tuple[Entry, bytes, int]] = {}
        for row in rows:
            known = directories.load_leaf(self._source, row.leaf).entries
            for place, entry in enumerate(known):
                stored[entry.name] = entry, row.signature(place), row.flag(place)
        pairs = [self._signature(entry, stored.get(entry.name), signatures) for entry in entries]
        flags = bytes(flag for _, flag in pairs)
        return Part(
            leaf.node,
            leaf.files,
            leaf.size,
            not directories.closed_by_rule(entries),
            any(entry.more.group for entry in entries),
            [entry.name for entry in entries],
            b"".join(signature for signature, _ in pairs),
            flags if any(flags) else b"",
        )

    def _signature(
        self, entry: Entry, stored: tuple[Entry, bytes, int] | None, signatures: list[bytes]
    ) -> tuple[bytes, int]:
        """(signature, flag). A file that a program may have mapped still may be after a write."""
        if entry.is_folder:
            return folder_signature(entry), CLEAN
        if entry.name in self.places:
            signature = signatures[self.places[entry.name]]
            mapped = stored is not None and stored[2] == MAPPED
            return signature, RACY if signature == UNKNOWN else MAPPED if mapped else CLEAN
        if stored is not None and stored[0] == entry:
            return stored[1], stored[2]
        return UNKNOWN, RACY
