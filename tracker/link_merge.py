"""Hard links after a merge: groups named anew where both sides touched the same ones.

A group is named by its first path, so a name that one side added or deleted may rename the whole
group, while the other side's names still bear the old one; and names of one file may come out of
the merge with different content. Both are put right for the groups that both sides touched: names
that either side held together, and that are alike, are one file again, the others files of their
own. Looks at what either side changed and, where there is something to do, at all that is in the
folders that hold these groups.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

from msgspec.structs import replace

from ..store import trees
from ..store.content import NodeSource
from ..store.nodes import NO_EXTRAS, Entry
from ..store.trees import PathDifference
from .known import is_alike
from .links import Group, group_names, group_path


def regrouped(
    source: NodeSource, trio: tuple[Entry | None, Entry, Entry], merged: Entry
) -> dict[bytes, Entry]:
    """The entries of the merged tree of (base, ours, theirs) that have to be others, by path.
    `source` serves the merged tree."""
    groups = _Groups()
    for path, sides, entries in _changed(source, *trio):
        found = (entry.more.group for entry in entries)
        groups.add(path, [group for group in found if group is not None], sides)
    return dict(_renamed(source, merged, groups)) if groups.folders() else {}


def _changed(
    source: NodeSource, base: Entry | None, ours: Entry, theirs: Entry
) -> Iterator[tuple[bytes, set[int], list[Entry]]]:
    """The paths that either side changed, which sides did, and the versions of each, in tree
    order."""

    def one(number: int, side: Entry) -> Iterator[tuple[list[bytes], int, PathDifference]]:
        for found in trees.differences(source, base, side):
            yield found.path.split(b"/"), number, found

    both = heapq.merge(one(0, ours), one(1, theirs), key=itemgetter(0))
    for parts, items in groupby(both, key=itemgetter(0)):
        changes = list(items)
        entries = [entry for _, _, found in changes for entry in found[1:] if entry is not None]
        yield b"/".join(parts), {number for _, number, _ in changes}, entries


def _folder_of(path: bytes) -> bytes:
    return path[: path.rfind(b"/") + 1]


class _Groups:
    """Which names of groups, on any side, belong to the same files. Those of which both sides
    touched a name count."""

    def __init__(self) -> None:
        self._parents: dict[bytes, bytes] = {}
        self._folders: dict[bytes, bytes] = {}
        self._sides: dict[bytes, set[int]] = {}

    def add(self, path: bytes, groups: list[Group], sides: set[int]) -> None:
        """The groups that the versions of a path are in: all of one file. `sides` touched it."""
        above = path.split(b"/")[:-1]
        for levels_up, below in groups:
            folder = above[: len(above) - levels_up]
            name = b"/".join([*folder, below])
            self._folders[name] = b"/".join(folder)
            first = self.find(group_path(_folder_of(path), groups[0]))
            own = self.find(name)
            self._sides[first] = self._sides.get(first, set()) | self._sides.get(own, set()) | sides
            self._parents[own] = first

    def find(self, name: bytes) -> bytes:
        """What stands for all names of groups that belong together."""
        self._parents.setdefault(name, name)
        while self._parents[name] != name:
            name = self._parents[name]
        return name

    def count(self, name: bytes) -> bool:
        """Whether this is a group that counts."""
        return name in self._parents and len(self._sides[self.find(name)]) > 1

    def folders(self) -> list[bytes]:
        """The outermost folders that hold all names of what counts."""
        found = {folder for name, folder in self._folders.items() if self.count(name)}
        return [path for path in sorted(found) if not _above(path) & found]


def _above(path: bytes) -> set[bytes]:
    parts = path.split(b"/") if path else []
    return {b"/".join(parts[:count]) for count in range(len(parts))}


def _renamed(source: NodeSource, merged: Entry, groups: _Groups) -> Iterator[tuple[bytes, Entry]]:
    together: dict[bytes, list[tuple[bytes, Entry]]] = defaultdict(list)
    for path, entry in _members(source, merged, groups):
        assert entry.more.group is not None
        name = group_path(_folder_of(path), entry.more.group)
        together[groups.find(name)].append((path, entry))
    for members in together.values():
        for alike in _alike(members):
            yield from _named(alike)


def _members(source: NodeSource, merged: Entry, groups: _Groups) -> Iterator[tuple[bytes, Entry]]:
    """The names of the merged tree that bear the name of a group that counts, in tree order."""
    found = []
    for folder in groups.folders():
        entry = trees.lookup_or_none(source, merged, folder)
        if entry is None or not entry.is_folder:
            continue
        for path, below in trees.walk(source, entry, folder + b"/" if folder else b""):
            group = below.more.group
            if group is not None and groups.count(group_path(_folder_of(path), group)):
                found.append((path, below))
    return iter(sorted(found, key=lambda item: item[0].split(b"/")))


def _alike(members: list[tuple[bytes, Entry]]) -> list[list[tuple[bytes, Entry]]]:
    """The names of one file fall apart where they are not alike."""
    found: list[list[tuple[bytes, Entry]]] = []
    for member in members:
        for files in found:
            if is_alike(files[0][1], member[1]):
                files.append(member)
                break
        else:
            found.append([member])
    return found


def _named(members: list[tuple[bytes, Entry]]) -> Iterator[tuple[bytes, Entry]]:
    """Those of these names whose group or time has to be another."""
    groups: list[Group | None] = [None]
    if len(members) > 1:
        groups = [*group_names([path.split(b"/") for path, _ in members])]
    newest = max(entry.mtime_ns for _, entry in members)
    for (path, entry), group in zip(members, groups, strict=True):
        named = replace(in_group(entry, group), mtime_ns=newest)
        if named != entry:
            yield path, named


def in_group(entry: Entry, group: Group | None) -> Entry:
    """The entry as a name of this group, or as a file of its own."""
    extras = replace(entry.more, group=group)
    return replace(entry, extras=extras if extras != NO_EXTRAS else None)
