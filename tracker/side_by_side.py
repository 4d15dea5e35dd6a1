"""What differs between two stored trees, with the live tree beside it.

Goes through the names that differ, in tree order, by open descriptors with O_NOFOLLOW: no symlink
planted on the way is followed. Costs what differs: equal nodes are skipped by id, and of the live
tree only differing names are stat-ed. Whoever takes an event may change the live name before the
walk goes on, so a folder that is made in answer to `Met` is opened after it. Not recursive.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..store import folder_differences
from ..store.content import NodeSource
from ..store.folder_differences import EntryDifference
from ..store.nodes import Entry
from .ignore import NO_RULES, IgnoreRules
from .placing import is_foreign, rules_in
from .scan import FOLDER_FLAGS


@dataclass(eq=False)
class Pair:
    """A folder of either tree, and the live one: `descriptor` is -1 where there is none that may be
    entered. `info` is its stat before it was opened, `path` empty or ends in a slash; `names` are
    those that differ, met so far. `held`: something in it stays whatever the trees say."""

    path: bytes
    old: Entry | None
    new: Entry | None
    descriptor: int
    info: os.stat_result | None
    rules: IgnoreRules
    parent: Pair | None = None
    names: set[bytes] = field(default_factory=set)
    held: bool = False

    @property
    def name(self) -> bytes:
        return self.path[:-1].rpartition(b"/")[2]


@dataclass(eq=False)
class Met:
    """A name that differs; `info` is the live stat or None. With `skip` set it is not entered."""

    pair: Pair
    name: bytes
    old: Entry | None
    new: Entry | None
    info: os.stat_result | None
    skip: bool = False

    @property
    def path(self) -> bytes:
        return self.pair.path + self.name


@dataclass(eq=False)
class Left:
    """All that differs in a folder was met."""

    pair: Pair


Listing = Iterator[EntryDifference]


def side_by_side(
    source: NodeSource,
    top: int,
    old: Entry | None,
    new: Entry | None,
    *,
    opener: Callable[[int, bytes], int],
    closer: Callable[[int], None] = os.close,
) -> Iterator[Met | Left]:
    """The names that differ between two top folders; `top` is the open live one. Folders are opened
    by `opener` and closed by `closer` after their `Left`. OSError from `opener`."""
    device = os.fstat(top).st_dev
    descriptor = os.open(".", FOLDER_FLAGS, dir_fd=top)
    pair = Pair(b"", old, new, descriptor, os.fstat(top), rules_in(NO_RULES, top, b""))
    stack: list[tuple[Pair, Listing]] = [(pair, _differences(source, old, new))]
    try:
        while stack:
            pair, listing = stack[-1]
            found = next(listing, None)
            if found is None:
                yield Left(pair)
                stack.pop()
                if pair.descriptor >= 0:
                    closer(pair.descriptor)
                continue
            met = Met(pair, *found, _stat(pair.descriptor, found.name))
            pair.names.add(found.name)
            yield met
            if not met.skip and (is_folder(met.old) or is_folder(met.new)):
                below = _enter(met, device, opener)
                stack.append((below, _differences(source, below.old, below.new)))
    finally:
        for pair, _ in stack:
            if pair.descriptor >= 0:
                os.close(pair.descriptor)


def is_folder(entry: Entry | None) -> bool:
    return entry is not None and entry.is_folder


def _differences(source: NodeSource, old: Entry | None, new: Entry | None) -> Listing:
    before = old.content if old is not None and old.is_folder else None
    after = new.content if new is not None and new.is_folder else None
    return folder_differences.differences(source, before, after)


def _enter(met: Met, device: int, opener: Callable[[int, bytes], int]) -> Pair:
    above, path = met.pair, met.path + b"/"
    info = _stat(above.descriptor, met.name)
    descriptor, rules = -1, above.rules
    live = info is not None and stat.S_ISDIR(info.st_mode)
    if live and info is not None and not is_foreign(above.descriptor, met.name, info, device):
        descriptor = opener(above.descriptor, met.name)
        rules = rules_in(rules, descriptor, path)
    return Pair(path, met.old, met.new, descriptor, info, rules, above)


def _stat(folder: int, name: bytes) -> os.stat_result | None:
    if folder < 0:
        return None
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def open_folder(parent: int, name: bytes) -> int:
    """An `opener` that changes nothing."""
    return os.open(name, FOLDER_FLAGS, dir_fd=parent)
