"""Which commit last wrote each region of a file.

The walk starts with all blocks at the newest commit and goes back, children before their parents.
Of each commit, the blocks that are the same in a parent are handed to that parent - the first one
that has them, as in Git - and what is left was written there. Files are compared by their index
nodes: where a commit did not touch the file none is read, and a block never.

A file that a parent lacks at this path, but has as one that is gone in this commit, with the same
content, was renamed: it is followed. Memory holds a byte a block for each commit that is next in
line - one, but for branches - and the runs of the result. Where commits are left out (A..B), what
would be handed on to them is said to be older.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..store import content
from ..store.content import block_count
from ..store.errors import InvalidInput, NotFound
from ..store.history import Commit, History
from ..store.ids import NULL
from ..store.nodes import Entry
from ..store.quoting import quote_path
from ..store.trees import ObjectSource
from .diff import file_changes
from .path_lookup import PathLookup

Runs = list[tuple[int, int]]
"""Runs of blocks, (first, end), in order."""
Left = bytearray
"""A byte a block: 1 where nobody has explained it yet."""


class Blamed(NamedTuple):
    """A region of the file and the commit that wrote it; a hole where it is all zeros. `rank` puts
    the commits in order, newest first: several may have been made within one second. `older`: the
    commit is the last one that was left out, and it or one before it wrote the region."""

    offset: int
    length: int
    commit: Commit
    hole: bool
    rank: int
    older: bool = False


class _Place(NamedTuple):
    """A path in a commit."""

    commit: str
    path: bytes


class Blame:
    """Blames files of one history."""

    def __init__(self, source: ObjectSource, history: History, block_size: int) -> None:
        self._source = source
        self._history = history
        self._block_size = block_size
        self._lookup = PathLookup(source)

    def __call__(self, commit: Commit, path: bytes, hidden: Sequence[str] = ()) -> list[Blamed]:
        """The regions of the file at a path of a commit, in order; what none of the commits wrote
        that `hidden` does not lead to is `older`. NotFound where nothing is, InvalidInput where it
        is no file."""
        entry = self._lookup(commit.root, path)
        if entry is None:
            raise NotFound(f"no such file: {quote_path(path)}")
        if not entry.is_file:
            raise _no_file(entry, path)
        left = Left(b"\1" * block_count(entry.size, self._block_size))
        waiting = {commit.id: {path: left}}
        written = self._walk(commit.id, waiting, hidden)
        older = set(waiting)
        written += (
            (first, end, commit_id)
            for commit_id, paths in waiting.items()
            for here in paths.values()
            for first, end in _runs(here, 0, len(here))
        )
        return list(self._regions(entry, written, older))

    def _walk(
        self, start: str, waiting: dict[str, dict[bytes, Left]], hidden: Sequence[str]
    ) -> list[tuple[int, int, str]]:
        """(first, end, commit) of blocks, those of the newest commit first. What is left at the end
        waits for commits that are hidden."""
        found: list[tuple[int, int, str]] = []
        for commit_id in self._history.newest_first([start], hidden):
            if not waiting:
                break
            for path, here in waiting.pop(commit_id, {}).items():
                own = self._hand_on(_Place(commit_id, path), here, waiting)
                found += [(first, end, commit_id) for first, end in own]
        return found

    def _hand_on(self, place: _Place, left: Left, waiting: dict[str, dict[bytes, Left]]) -> Runs:
        """Hand to the parents of a commit what they have too; the runs that are left."""
        commit = self._history.commit(place.commit)
        entry = self._file(commit, place.path)
        assert entry is not None
        for parent_id in commit.parents:
            parent = self._history.commit(parent_id)
            path = self._path_before(parent, commit, place.path, entry)
            before = self._file(parent, path) if path is not None else None
            if path is None or before is None:
                continue
            own = _take(left, self._differing(before, entry))
            if 1 in left:
                there = waiting.setdefault(parent_id, {})
                there[path] = _join(there.get(path), left)
            if not own:
                return []
            left = _marked(len(left), own)
        return list(_runs(left, 0, len(left)))

    def _file(self, commit: Commit, path: bytes) -> Entry | None:
        entry = self._lookup(commit.root, path)
        return entry if entry is not None and entry.is_file else None

    def _path_before(
        self, parent: Commit, commit: Commit, path: bytes, entry: Entry
    ) -> bytes | None:
        """Where the file was in a parent, or None where it was not there."""
        if self._lookup(parent.root, path) is not None:
            return path
        if entry.content == NULL:
            return None
        tops = self._lookup.top(parent.root), self._lookup.top(commit.root)
        for change in file_changes(self._source, *tops):
            if change.path == path and change.what == "renamed":
                return change.old_path
        return None

    def _differing(self, old: Entry, new: Entry) -> Iterator[tuple[int, int]]:
        """The runs of blocks of `new` that `old` has not at the same place."""
        blocks = [block_count(entry.size, self._block_size) for entry in (old, new)]
        if old.content == new.content and blocks[0] == blocks[1]:
            return
        sides = (old.content, blocks[0]), (new.content, blocks[1])
        for difference in content.differences(self._source, *sides):
            if difference.number >= min(blocks):
                break
            yield difference.number, difference.number + 1
        if blocks[0] < blocks[1]:
            yield blocks[0], blocks[1]

    def _regions(
        self, entry: Entry, written: list[tuple[int, int, str]], older: set[str]
    ) -> Iterator[Blamed]:
        """The blamed regions in order, neighbours of one commit as one, and holes apart."""
        count = block_count(entry.size, self._block_size)
        data = content.data_runs(self._source, entry.content, count)
        known: dict[str, Commit] = {}
        order = dict.fromkeys(commit_id for _, _, commit_id in written)
        ranks = {commit_id: rank for rank, commit_id in enumerate(order)}
        merged: list[tuple[int, int, str, bool]] = []
        following = next(data, None)
        for first, end, commit_id in sorted(written):
            while first < end:
                while following is not None and following[1] <= first:
                    following = next(data, None)
                hole = following is None or first < following[0]
                stop = end if following is None else min(end, following[0 if hole else 1])
                if merged and merged[-1][1:] == (first, commit_id, hole):
                    first = merged.pop()[0]
                merged.append((first, stop, commit_id, hole))
                first = stop
        for first, end, commit_id, hole in merged:
            if commit_id not in known:
                known[commit_id] = self._history.commit(commit_id)
            offset = first * self._block_size
            length = min(end * self._block_size, entry.size) - offset
            rank, before = ranks[commit_id], commit_id in older
            yield Blamed(offset, length, known[commit_id], hole, rank, before)


def _no_file(entry: Entry, path: bytes) -> InvalidInput:
    return InvalidInput(
        f"{quote_path(path or b'.')} is a {entry.kind_name}, and blame takes a file",
        hint="see which commits changed it with: treering log -- PATH",
    )


def _runs(left: Left, first: int, end: int) -> Iterator[tuple[int, int]]:
    """The runs of what is left between two blocks."""
    while (first := left.find(1, first, end)) >= 0:
        stop = left.find(0, first, end)
        stop = min(end, len(left)) if stop < 0 else stop
        yield first, stop
        first = stop


def _take(left: Left, differing: Iterator[tuple[int, int]]) -> Runs:
    """Take from what is left the blocks that differ; the runs that were taken."""
    taken: Runs = []
    for first, end in differing:
        for run in list(_runs(left, first, end)):
            taken.append(run)
            left[run[0] : run[1]] = bytes(run[1] - run[0])
    return taken


def _marked(count: int, runs: Runs) -> Left:
    left = Left(count)
    for first, end in runs:
        left[first:end] = b"\1" * (end - first)
    return left


def _join(a: Left | None, b: Left) -> Left:
    """What is left in either; both are of one length."""
    if a is None:
        return b
    joined = int.from_bytes(a, "big") | int.from_bytes(b, "big")
    return Left(joined.to_bytes(len(b), "big"))
