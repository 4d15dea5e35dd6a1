"""A folder under construction, with the rows of the scan state that belong to its leaves."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ..store.directories import DirectoryBuilder
from ..store.nodes import Child, Entry
from ..store.object_writer import ObjectWriter
from .scan import LiveFolder
from .scan_state import Part, Row, row_of


class Frame:
    """A folder under construction, beside its rows of the state."""

    def __init__(self, live: LiveFolder, writer: ObjectWriter) -> None:
        self.live = live
        self.signed: deque[tuple[bytes, bytes, int, bool]] = deque()
        self.reused: dict[bytes, Part] = {}
        self.rows: list[Row] = []
        self.before = dict(live.rows)
        self.complete = True
        self.builder = DirectoryBuilder(writer.put_node, self._on_leaf)

    def add(self, entry: Entry, signature: bytes, flag: int, linked: bool) -> None:
        self.signed.append((entry.name, signature, flag, linked))
        self.builder.add(entry)

    def _on_leaf(self, child: Child, final: bool, _entries: Sequence[Entry]) -> None:
        """Cut the state's row for a leaf from what was signed for its entries."""
        whole = self.reused.pop(child.node, None)
        if whole is not None:
            self.rows.append(row_of(whole))
            return
        rows = [self.signed.popleft() for _ in range(child.entries)]
        flags = bytes(row[2] for row in rows)
        part = Part(
            child.node,
            child.files,
            child.size,
            final,
            any(row[3] for row in rows),
            [row[0] for row in rows],
            b"".join(row[1] for row in rows),
            flags if any(flags) else b"",
        )
        self.rows.append(row_of(part))
