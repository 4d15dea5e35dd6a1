"""Looking up paths in many snapshots, most of which share most nodes.

What is found for a name in a folder is remembered by the folder's id, and the folders read last are
kept decoded: a path costs nothing in a snapshot that shares its folders with one that was asked
before, and the paths of one folder are found for the price of reading it once. Bounded; belongs to
one thread.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ..store import directories
from ..store.content import NodeSource
from ..store.nodes import Entry
from ..store.trees import components, load_root

MAX_KNOWN: Final = 50_000
MAX_TOPS: Final = 5_000


class PathLookup:
    """The entries at paths of snapshots, out of one node source."""

    def __init__(self, source: NodeSource) -> None:
        self._source = source
        self._tops: OrderedDict[bytes, Entry] = OrderedDict()
        self._names: dict[tuple[bytes, bytes], Entry | None] = {}

    def top(self, root: bytes) -> Entry:
        """The top folder of a root."""
        found = self._tops.get(root)
        if found is None:
            found = self._tops[root] = load_root(self._source, root).top
            if len(self._tops) > MAX_TOPS:
                self._tops.popitem(last=False)
        return found

    def __call__(self, root: bytes, path: bytes) -> Entry | None:
        """What stands at a path of a root; None where nothing does."""
        entry: Entry | None = self.top(root)
        for name in components(path):
            if entry is None or not entry.is_folder:
                return None
            entry = self._find(entry.content, name)
        return entry

    def _find(self, folder: bytes, name: bytes) -> Entry | None:
        key = folder, name
        if key not in self._names:
            if len(self._names) >= MAX_KNOWN:
                self._names.clear()
            self._names[key] = directories.find(self._source, folder, name)
        return self._names[key]
