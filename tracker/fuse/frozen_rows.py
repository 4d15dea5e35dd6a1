"""A frozen map as rows for the commit: what the base has and changed, and the names that did.

What is new has no row but that of its name: the commit lists new folders itself. The frozen map
stays as it is; names are as they were at the swap, by the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from pyroaring import BitMap64

from ...store.batches import batched
from ..block_map import TOP, BlockMap, Home, Serial
from ..capture.wire import GONE, MAX_RUNS, UNSEEN, FrozenName, FrozenObject
from ..map_listing import runs
from ..map_pair import MapPair
from ..name_log import NameLog
from ..swap import Swap
from .control import text
from .inodes import Inode, InodeTable

AT_ONCE = 500


class FrozenRows:
    """Of the commit that `swap` is for. Takes the pair's lock again and again, for a few rows."""

    def __init__(
        self, pair: MapPair, swap: Swap[object], inodes: InodeTable, frozen: BlockMap, log: NameLog
    ) -> None:
        self._pair = pair
        self._swap = swap
        self._inodes = inodes
        self._frozen = frozen
        self._log = log

    def objects(self) -> Iterator[FrozenObject]:
        """In no order."""
        frozen = self._frozen
        moved = (serial for serial, home in frozen.homes.items() if home is not None)
        marked = chain(frozen.files, frozen.attributes, frozen.names, moved)
        seen = BitMap64(marked)
        waiting = [*seen]
        while waiting:
            serial = Serial(waiting.pop())
            found = self._object(serial)
            if found is not None:
                yield found
                for folder, _ in found.homes:
                    if folder not in seen:
                        seen.add(folder)
                        waiting.append(folder)

    def _object(self, serial: Serial) -> FrozenObject | None:
        """None for what is new, or had no name."""
        if self._swap.is_new(serial):
            return None
        with self._pair.lock:
            if self._log.path(serial) is None:
                return None
            homes = tuple((folder, text(name)) for folder, name in self._log.homes(serial))
            is_moved = self._frozen.homes.get(serial) is not None
            bound = self._pair.bound(serial, self._frozen) if is_moved else None
        change = self._frozen.files.get(serial)
        count = len(change) if change is not None else 0
        spans = [] if change is None else [*islice(runs(change.blocks()), MAX_RUNS + 1)]
        number, kind = _identity(self._inodes.find(serial))
        return FrozenObject(
            serial,
            number,
            kind,
            homes,
            None if bound is None else text(bound),
            # A folder in which a name was made and is gone has new times, if no names.
            serial in self._frozen.attributes or serial in self._frozen.names,
            None if change is None else change.smallest,
            count,
            tuple(spans) if len(spans) <= MAX_RUNS else (),
        )

    def names(self) -> Iterator[FrozenName]:
        """Of folders that the base has, whatever lay there then."""
        for folder, names in self._frozen.names.items():
            if self._swap.is_new(folder):
                continue
            for some in batched(names.items(), AT_ONCE):
                with self._pair.lock:
                    if folder != TOP and self._log.path(folder) is None:
                        break
                    rows = [(name, self._at(Home(folder, name), existed)) for name, existed in some]
                for name, serial in rows:
                    yield self._row(folder, name, serial)

    def _at(self, home: Home, existed: bool) -> int:
        serial = self._log.at(home)
        if serial is not None:
            return serial
        # What was dropped once its name told it all: see `MapPair.evicted`.
        return GONE if existed else UNSEEN

    def changed_since(self, folder: Serial) -> Iterator[FrozenName]:
        """The names of a folder that changed since the swap, and what had them at the swap."""
        with self._pair.lock:
            was = dict(self._log.changed(folder))
        for name, serial in was.items():
            yield self._row(folder, name, GONE if serial is None else serial)

    def _row(self, folder: Serial, name: bytes, serial: int) -> FrozenName:
        if serial in (GONE, UNSEEN):
            return FrozenName(folder, text(name), serial)
        found = Serial(serial)
        number, kind = _identity(self._inodes.find(found))
        return FrozenName(
            folder, text(name), serial, number, kind, bound=not self._swap.is_new(found)
        )


def _identity(inode: Inode | None) -> tuple[int, int]:
    return (0, 0) if inode is None else (inode.number, inode.kind)
