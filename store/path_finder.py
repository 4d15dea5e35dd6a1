"""Entries of one stored tree, by path, for who asks for many.

The folders on the way to the last path, and of each the leaf that was looked at last, stay in
memory: paths in order cost a node for each leaf, and not one for each of their folders.
"""

from __future__ import annotations

from bisect import bisect_left

from . import directories
from .content import NodeSource
from .nodes import Entry


class _Folder:
    """A folder's leaves, of which one is loaded."""

    def __init__(self, source: NodeSource, name: bytes, entry: Entry) -> None:
        self.name = name
        self.entry = entry
        self._source = source
        self._leaves = list(directories.leaves(source, entry.content))
        self._last_names = [leaf.last for leaf in self._leaves]
        self._position = -1
        self._loaded: dict[bytes, Entry] = {}

    def find(self, name: bytes) -> Entry | None:
        position = bisect_left(self._last_names, name)
        if position == len(self._leaves):
            return None
        if position != self._position:
            leaf = directories.load_leaf(self._source, self._leaves[position].node)
            self._loaded = {entry.name: entry for entry in leaf.entries}
            self._position = position
        return self._loaded.get(name)


class PathFinder:
    """Below a top folder's entry; None for a tree that holds nothing. Used by one thread."""

    def __init__(self, source: NodeSource, top: Entry | None) -> None:
        self._source = source
        self._chain = [] if top is None else [_Folder(source, b"", top)]

    def find(self, path: bytes) -> Entry | None:
        """The entry at a path, the top's for an empty one; None for what is not there."""
        if not path:
            return self._chain[0].entry if self._chain else None
        folder, _, name = path.rpartition(b"/")
        found = self._reach(folder.split(b"/") if folder else [])
        return found.find(name) if found is not None else None

    def _reach(self, names: list[bytes]) -> _Folder | None:
        if not self._chain:
            return None
        kept = 1
        while kept <= len(names) and kept < len(self._chain):
            if self._chain[kept].name != names[kept - 1]:
                break
            kept += 1
        del self._chain[kept:]
        for name in names[kept - 1 :]:
            entry = self._chain[-1].find(name)
            if entry is None or not entry.is_folder:
                return None
            self._chain.append(_Folder(self._source, name, entry))
        return self._chain[-1]
