"""Which commits changed what lies at some paths: what `log -- PATH` shows.

A commit did when the entries at the paths differ from those of each of its parents, so that a merge
which took one side unchanged is left out, as in Git. Costs the nodes on the way to the paths, of
folders that differ.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..store.content import NodeSource
from ..store.history import Commit, History
from ..store.nodes import Entry
from .path_lookup import PathLookup


class Touching:
    """A test for commits of one history."""

    def __init__(self, source: NodeSource, history: History, paths: Iterable[bytes]) -> None:
        self._lookup = PathLookup(source)
        self._history = history
        self._paths = list(paths)

    def __call__(self, commit: Commit) -> bool:
        parents = [self._history.commit(parent).root for parent in commit.parents]
        if commit.root in parents:
            return False
        here = self._entries(commit.root)
        if not parents:
            return any(entry is not None for entry in here)
        return all(here != self._entries(parent) for parent in parents)

    def _entries(self, root: bytes) -> list[Entry | None]:
        return [self._lookup(root, path) for path in self._paths]
