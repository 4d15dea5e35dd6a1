"""What each remote lacks: the regions that entered roots since the one it last finalized.

A cursor is a list of steps, one for each commit, each with the regions that the commit brought by
path. It is exact about nothing but this: what is not in it, the remote has. Where steps are too
many, or were not seen, the cursor is lost and a push walks the two root trees instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pyroaring import BitMap64

Regions = Mapping[bytes, BitMap64]
"""Block numbers by path. A path without blocks changed in name or attributes only."""

MAX_PATHS: Final = 100_000
"""Beyond this many in all of its steps, a cursor costs more than the walk that it saves."""


@dataclass(frozen=True)
class Step:
    """One commit: its root in hex, and what it brought."""

    root: bytes
    regions: Regions


@dataclass(eq=False)
class Cursor:
    """`since` is the root the remote last finalized. `steps` are the commits after it, oldest
    first."""

    since: bytes
    steps: deque[Step] = field(default_factory=deque)

    @property
    def root(self) -> bytes:
        """The newest root that the cursor knows of."""
        return self.steps[-1].root if self.steps else self.since

    def lacking(self) -> dict[bytes, BitMap64]:
        """All regions since the remote's root, by path."""
        found: dict[bytes, BitMap64] = {}
        for step in self.steps:
            for path, blocks in step.regions.items():
                found[path] = found[path] | blocks if path in found else blocks
        return found

    def paths(self) -> int:
        return sum(len(step.regions) for step in self.steps)


class Cursors:
    """The cursors of all remotes, by name."""

    def __init__(self) -> None:
        self._cursors: dict[str, Cursor] = {}

    def get(self, remote: str) -> Cursor | None:
        """None where only a walk can tell."""
        return self._cursors.get(remote)

    def committed(self, base: bytes, root: bytes, regions: Regions) -> None:
        """A commit brought the tree from root `base` to `root`. A cursor that does not end at
        `base` has missed something."""
        for remote, cursor in list(self._cursors.items()):
            if cursor.root != base or cursor.paths() + len(regions) > MAX_PATHS:
                del self._cursors[remote]
            elif root != base:
                cursor.steps.append(Step(root, regions))

    def finalized(self, remote: str, root: bytes, newest: bytes) -> None:
        """A remote has finalized `root`; `newest` is the root last committed here. Steps up to it
        are done. A root that is not among them starts the cursor anew if nothing came after it."""
        cursor = self._cursors.get(remote)
        roots = [cursor.since, *(step.root for step in cursor.steps)] if cursor else []
        if cursor is not None and root in roots:
            # The last of equal ones: a root may come back.
            done = len(roots) - 1 - roots[::-1].index(root)
            for _ in range(done):
                cursor.steps.popleft()
            cursor.since = root
        elif root == newest:
            self._cursors[remote] = Cursor(root)
        else:
            self.lose(remote)

    def lose(self, remote: str) -> None:
        self._cursors.pop(remote, None)
