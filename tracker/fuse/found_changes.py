"""What the scan at attach found, taken into the maps of the running driver.

The scan reads the backing folder while programs already work on the mount. What they change after
the mount, the driver marks itself; but a folder or file that the scan saw may have been moved by
the time it is told. So each row names the folders on the way and the object by inode number: what
was moved or replaced through the mount is known to the driver by that number, and what it does not
know lies where the scan saw it. Rows that speak of what is gone by now are passed over: the names
it had are marked.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import msgspec

from ..block_map import Home, Serial
from ..journal import Key
from ..map_pair import MapPair
from .control import raw
from .guard import Guard, attribute_keys, content_keys, name_keys, size_keys
from .inodes import Inode, InodeTable
from .names import NameRequests

NEVER: Final = -1
"""No era: what the scan found was there before."""


class Step(msgspec.Struct, array_like=True, frozen=True):
    """A name on the way, as messages have it, and its inode number."""

    name: str
    inode: int


class Row(msgspec.Struct, array_like=True, frozen=True):
    """One path that differs from the base root. `folders` lead to it from the top; `last` is its
    name and inode number, 0 for what is not there, no name for the top. `existed`: the base has
    something there. `other`: what lies there has nothing of that. Else `runs` are the (first,
    count) of blocks that differ, and `sizes` what the base and the scan saw, in bytes."""

    folders: tuple[Step, ...]
    last: Step
    existed: bool
    other: bool
    runs: tuple[tuple[int, int], ...] = ()
    sizes: tuple[int, int] = (0, 0)


class FoundChanges:
    """Takes rows in. From any thread but the one that reads requests. They are suspects of the
    journal like any change: the next scan would not look for them elsewhere. But they were made
    long ago, so the journal may have them after the maps, and all of a batch with one sync."""

    def __init__(
        self, inodes: InodeTable, pair: MapPair, names: NameRequests, guard: Guard
    ) -> None:
        self._inodes = inodes
        self._pair = pair
        self._names = names
        self._guard = guard

    def take(self, rows: Iterable[Row]) -> None:
        """OSError when the backing cannot be read, StorageError when the journal takes no more."""
        keys: list[Key] = []
        for row in rows:
            counted: list[Inode] = []
            with self._names.still():
                try:
                    keys += self._take(row, counted)
                finally:
                    for inode in counted:
                        self._inodes.forget(inode.serial, 1)
        missing = [key for key in self._guard.ready(keys) if self._inodes.find(key[1])]
        if missing:
            self._guard.cover(missing)

    def _take(self, row: Row, counted: list[Inode]) -> list[Key]:
        """Mark it; the suspects that it is."""
        folder = self._folder(row.folders, counted)
        if not row.last.name:  # the top folder itself
            self._pair.touched(self._inodes.top.serial)
            return attribute_keys(self._inodes.top, NEVER)
        inode = self._inodes.known(row.last.inode) if row.last.inode else None
        if inode is None and folder is not None and row.last.inode:
            inode = self._seen(folder, row.last, counted)
        if row.other:
            if folder is None:
                return []
            home = Home(folder.serial, raw(row.last.name))
            self._pair.found_name(home, _serial(inode), existed=row.existed)
            return name_keys(folder)
        if inode is None:
            return []
        self._pair.touched(inode.serial)
        self._pair.found_content(inode.serial, row.runs, *row.sizes)
        return self._content(inode, row)

    def _content(self, inode: Inode, row: Row) -> list[Key]:
        size = self._pair.block_size
        keys = attribute_keys(inode, NEVER)
        for first, count in row.runs:
            keys += content_keys(inode, first * size, count * size, NEVER)
        before, now = row.sizes
        return keys if before == now else [*keys, *size_keys(inode, min(before, now), NEVER)]

    def _folder(self, steps: tuple[Step, ...], counted: list[Inode]) -> Inode | None:
        """The folder at the end of the way, from the deepest that is known by number."""
        start, at = 0, self._inodes.top
        for place in range(len(steps), 0, -1):
            known = self._inodes.known(steps[place - 1].inode)
            if known is not None:
                start, at = place, known
                break
        for step in steps[start:]:
            found = self._seen(at, step, counted)
            if found is None:
                return None
            at = found
        return at

    def _seen(self, parent: Inode, step: Step, counted: list[Inode]) -> Inode | None:
        """What lies there, if it is still what the scan saw."""
        with suppress(FileNotFoundError, NotADirectoryError):
            inode, _ = self._inodes.look_up(parent, raw(step.name))
            counted.append(inode)
            if inode.number == step.inode:
                return inode
        return None


def _serial(inode: Inode | None) -> Serial | None:
    return inode.serial if inode is not None else None
