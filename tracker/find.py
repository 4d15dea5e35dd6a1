"""Which paths a history ever held: for a pattern, from when to when, and of what size.

Commits are visited parents before their children. A commit without parents - or none among those
that are looked at - is walked whole, any other compared with each of its parents, so that the cost
is one tree and what differs. What the
last difference at a path says is what its descendants hold; where a history has several ends, each
is asked for the path.

Of a long history each process takes a part. Memory holds what fits the pattern, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final, NamedTuple

from ..store import trees
from ..store.content import NodeSource
from ..store.history import Commit, History
from ..store.leaf_pairs import LeafPairs
from ..store.nodes import Entry
from .forked import Forked, can_fork
from .path_lookup import PathLookup

Fits = Callable[[bytes, bool], bool]
MANY: Final = 256
"""Commits from which on processes share the work."""
MAX_PROCESSES: Final = 3
"""Each has 50 MiB of its own."""


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


class _Note(NamedTuple):
    """What one commit says of a path: the difference to one of its parents, None where it has none
    that is looked at, and whether that is the only one."""

    commit: str
    parent: str | None
    path: bytes
    old: Entry | None
    new: Entry | None
    only_parent: bool


class Find:
    """Looks for paths in one history. `source` opens the nodes, also in processes that are forked
    before it is called here: with this one no more than `processes`."""

    def __init__(
        self, source: Callable[[], NodeSource], history: History, *, processes: int = 1
    ) -> None:
        self._open = source
        self._history = history
        self._processes = processes
        self._lives: dict[bytes, _Life] = {}
        self._among: set[str] = set()

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
        order = visited if only is None else list(filter(only.__contains__, visited))
        self._among = set(order)
        for note in self._notes(fits, order):
            self._take(note)
        ends = self._ends(wanted)
        lookup = PathLookup(self._open())
        for path in sorted(self._lives):
            yield self._found(lookup, path, self._lives[path], ends)

    def _ends(self, wanted: Sequence[str]) -> list[str]:
        """Those that are wanted, are looked at and are no ancestors of others."""
        ends = [end for end in dict.fromkeys(wanted) if end in self._among]
        if len(ends) < 2:
            return ends
        inner = {parent for each in self._among for parent in self._history.commit(each).parents}
        return [end for end in ends if end not in inner]

    def _notes(self, fits: Fits, order: list[str]) -> Iterator[_Note]:
        """What the commits say of what fits, in their order."""
        shared = len(order) >= MANY and can_fork()
        count = min(self._processes, MAX_PROCESSES) if shared else 1
        share = max(1, -(-len(order) // count))
        parts = [order[start : start + share] for start in range(0, len(order), share)] or [order]
        others = [Forked(partial(self._read, fits, part)) for part in parts[1:]]
        try:
            yield from self._read(fits, parts[0])
            for part, other in zip(parts[1:], others, strict=True):
                yield from chain(*(other.results() or [self._read(fits, part)]))
        finally:
            for other in others:
                other.close()

    def _read(self, fits: Fits, commits: list[str]) -> Iterator[_Note]:
        source = self._open()
        lookup, pairs = PathLookup(source), LeafPairs()
        for commit in map(self._history.commit, commits):
            top = lookup.top(commit.root)
            parents = [parent for parent in commit.parents if parent in self._among]
            if not parents:
                for path, entry in trees.walk(source, top):
                    if fits(path, entry.is_folder):
                        yield _Note(commit.id, None, path, None, entry, False)
            for parent in map(self._history.commit, parents):
                before = lookup.top(parent.root)
                for path, old, new in trees.differences(source, before, top, pairs=pairs):
                    if fits(path, _is_folder(old, new)):
                        yield _Note(commit.id, parent.id, path, old, new, len(parents) == 1)

    def _take(self, note: _Note) -> None:
        commit, parent, path, old, new, only_parent = note
        life = self._lives.get(path)
        if new is not None:
            if life is None:
                self._lives[path] = _Life(commit, new, new)
            else:
                life.last_entry, life.deleted_by = new, ""
        elif life and parent and old and (not life.deleted_by or only_parent):
            # A merge that lacks what one side had deleted before is not who deleted it.
            life.last, life.last_entry, life.deleted_by = parent, old, commit

    def _found(self, lookup: PathLookup, path: bytes, life: _Life, ends: Sequence[str]) -> Found:
        load = self._history.commit
        first = load(life.first)
        settled = len(ends) == 1 and not life.deleted_by
        for end in map(load, ends):
            entry = life.last_entry if settled else lookup(end.root, path)
            if entry is not None:
                return Found(path, first, life.first_entry, end, entry, None)
        deleted_by = load(life.deleted_by)
        return Found(path, first, life.first_entry, load(life.last), life.last_entry, deleted_by)


def _is_folder(old: Entry | None, new: Entry | None) -> bool:
    entry = new or old
    assert entry is not None
    return entry.is_folder
