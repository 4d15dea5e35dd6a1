"""Which part of the tree a command is about: everything, or what lies at and below given paths."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final


class Relation(Enum):
    """Where a path lies: at or below a given one, on the way to one, or elsewhere."""

    INSIDE = 1
    ABOVE = 2
    OUTSIDE = 3


class Scope:
    """Immutable. Without paths, everything is inside."""

    def __init__(self, paths: Iterable[bytes] = ()) -> None:
        self._paths = sorted({path.strip(b"/") for path in paths})
        if b"" in self._paths:
            self._paths = []
        self._above = {
            b"/".join(path.split(b"/")[:depth])
            for path in self._paths
            for depth in range(path.count(b"/") + 1)
        }

    @property
    def whole(self) -> bool:
        return not self._paths

    @property
    def paths(self) -> list[bytes]:
        return list(self._paths)

    def relation(self, path: bytes) -> Relation:
        """`path` has no slash at its ends."""
        if not self._paths:
            return Relation.INSIDE
        if any(path == given or path.startswith(given + b"/") for given in self._paths):
            return Relation.INSIDE
        return Relation.ABOVE if path in self._above else Relation.OUTSIDE


EVERYTHING: Final = Scope()
