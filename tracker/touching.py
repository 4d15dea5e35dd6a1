"""Which commits changed what lies at some paths: what `log -- PATH` shows.

A commit did when the entries at the paths differ from those of each of its parents, so that a merge
which took one side unchanged is left out, as in Git. Costs the nodes on the way to the paths, of
folders that differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..store import directories
from ..store.content import NodeSource
from ..store.history import Commit, History
from ..store.nodes import Entry
from ..store.trees import components, load_root

MAX_KNOWN: Final = 50_000


class Touching:
    """A test for commits of one history."""

    def __init__(self, source: NodeSource, history: History, paths: Iterable[bytes]) -> None:
        self._source = source
        self._history = history
        self._paths = [components(path) for path in paths]
        self._commits: dict[str, tuple[Entry | None, ...]] = {}
        self._names: dict[tuple[bytes, bytes], Entry | None] = {}

    def __call__(self, commit: Commit) -> bool:
        here = self._entries(commit)
        parents = [self._of(parent) for parent in commit.parents]
        if not parents:
            return any(entry is not None for entry in here)
        return all(here != before for before in parents)

    def _of(self, commit_id: str) -> tuple[Entry | None, ...]:
        found = self._commits.get(commit_id)
        return self._entries(self._history.commit(commit_id)) if found is None else found

    def _entries(self, commit: Commit) -> tuple[Entry | None, ...]:
        found = self._commits.get(commit.id)
        if found is None:
            top = load_root(self._source, commit.root).top
            found = tuple(self._lookup(top, path) for path in self._paths)
            if len(self._commits) >= MAX_KNOWN:
                self._commits.clear()
            self._commits[commit.id] = found
        return found

    def _lookup(self, top: Entry, path: list[bytes]) -> Entry | None:
        entry: Entry | None = top
        for name in path:
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
