"""Which paths a history ever held: for a pattern, from when to when, and of what size.

Commits are visited parents before their children. A commit without parents - or none among those
that are looked at - is walked whole, any other compared with each of its parents, so that the cost
is one tree and what differs. What the
last difference at a path says is what its descendants hold; where a history has several ends, each
is asked for the path.

Memory holds what fits the pattern, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..store import trees
from ..store.content import NodeSource
from ..store.history import Commit, History
from ..store.nodes import Entry
from ..store.trees import PathDifference
from .path_lookup import PathLookup

Fits = Callable[[bytes, bool], bool]


class Found(NamedTuple):
    """A path, the first and the last commit that hold it with the entries there, and the commit
    that deleted it, or None where an end of the history still has it."""

    path: bytes
    first: Commit
    first_entry: Entry
    last: Commit
    last_entry: Entry
    deleted_by: Commit | None


@dataclass(slots=True)
class _Life:
    first: str
    first_entry: Entry
    last_entry: Entry
    last: str = ""
    deleted_by: str = ""


class Find:
    """Looks for paths in one history."""

    def __init__(self, source: NodeSource, history: History) -> None:
        self._source = source
        self._history = history
        self._lookup = PathLookup(source)
        self._lives: dict[bytes, _Life] = {}

    def __call__(
        self,
        fits: Fits,
        wanted: Sequence[str],
        hidden: Sequence[str] = (),
        only: Collection[str] | None = None,
    ) -> Iterator[Found]:
        """What fits in the commits reachable from `wanted`, in the order of paths; not in those
        that `hidden` leads to, and of the others only in those among `only`, where it is given."""
        visited = self._history.oldest_first(wanted, hidden)
        among = set(visited if only is None else filter(only.__contains__, visited))
        inner: set[str] = set()
        for commit_id in visited:
            if commit_id in among:
                commit = self._history.commit(commit_id)
                parents = [parent for parent in commit.parents if parent in among]
                inner.update(parents)
                for parent, difference in self._differences(commit, parents):
                    self._note(commit, parent, difference, len(parents) == 1, fits)
        ends = [end for end in dict.fromkeys(wanted) if end in among - inner]
        for path in sorted(self._lives):
            yield self._found(path, self._lives[path], ends)

    def _differences(
        self, commit: Commit, parents: list[str]
    ) -> Iterator[tuple[Commit | None, PathDifference]]:
        top = self._lookup.top(commit.root)
        if not parents:
            for difference in trees.differences(self._source, None, top):
                yield None, difference
        for parent_id in parents:
            parent = self._history.commit(parent_id)
            before = self._lookup.top(parent.root)
            for difference in trees.differences(self._source, before, top):
                yield parent, difference

    def _note(
        self,
        commit: Commit,
        parent: Commit | None,
        difference: PathDifference,
        only_parent: bool,
        fits: Fits,
    ) -> None:
        path, old, new = difference
        entry = new or old
        assert entry is not None
        if not fits(path, entry.is_folder):
            return
        life = self._lives.get(path)
        if new is not None:
            if life is None:
                self._lives[path] = _Life(commit.id, new, new)
            else:
                life.last_entry, life.deleted_by = new, ""
        elif life and parent and old and (not life.deleted_by or only_parent):
            # A merge that lacks what one side had deleted before is not who deleted it.
            life.last, life.last_entry, life.deleted_by = parent.id, old, commit.id

    def _found(self, path: bytes, life: _Life, ends: Sequence[str]) -> Found:
        load = self._history.commit
        first = load(life.first)
        settled = len(ends) == 1 and not life.deleted_by
        for end in map(load, ends):
            entry = life.last_entry if settled else self._lookup(end.root, path)
            if entry is not None:
                return Found(path, first, life.first_entry, end, entry, None)
        deleted_by = load(life.deleted_by)
        return Found(path, first, life.first_entry, load(life.last), life.last_entry, deleted_by)
