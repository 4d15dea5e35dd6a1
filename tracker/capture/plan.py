"""What is frozen, put in order: by folder, as it lay at the swap.

A folder of the base has names that changed, and things below it that did although their names did
not. Where an object lay in the base follows from where it lay at the swap, unless the driver says
otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..block_map import TOP
from ..fuse.control import raw
from ..name_table import joined
from .wire import FrozenName, FrozenObject


class Unusable(Exception):
    """The frozen map cannot tell what the tree is: a scan must."""


class Plan:
    """The rows of one frozen map."""

    def __init__(self, objects: Iterable[FrozenObject], names: Iterable[FrozenName]) -> None:
        self.objects: dict[int, FrozenObject] = {}
        self.names: dict[int, dict[bytes, FrozenName]] = {}
        """By folder: names that are not those of the base."""
        self.inside: dict[int, dict[bytes, int]] = {}
        """By folder: what the base has, here or elsewhere, and changed itself or in what it holds;
        in new folders all that the base has."""
        self._bound: dict[int, bytes | None] = {TOP: b""}
        for found in objects:
            self.objects[found.serial] = found
            for folder, name in found.homes:
                self.inside.setdefault(folder, {})[raw(name)] = found.serial
        for row in names:
            self.names.setdefault(row.folder, {})[raw(row.name)] = row

    def __bool__(self) -> bool:
        return bool(self.objects or self.names)

    def bound(self, serial: int) -> bytes | None:
        """The path in the base of something that it has."""
        way: list[int] = []
        while serial not in self._bound:
            way.append(serial)
            found = self.objects.get(serial)
            if found is None or not found.homes:
                self._bound[serial] = None
            elif found.bound is not None:
                self._bound[serial] = raw(found.bound)
            else:
                serial = found.homes[0][0]
        for each in reversed(way):
            if each not in self._bound:
                folder, name = self.objects[each].homes[0]
                above = self._bound[folder]
                self._bound[each] = None if above is None else joined(above, raw(name))
        return self._bound[way[0] if way else serial]

    def path(self, serial: int) -> bytes | None:
        """A path of it at the swap."""
        parts: list[bytes] = []
        while serial != TOP:
            found = self.objects.get(serial)
            if found is None or not found.homes:
                return None
            serial, name = found.homes[0]
            parts.append(raw(name))
        return b"/".join(reversed(parts))
