"""What differs from the last commit, by what the maps say: the paths of `status`, without a look at
any file.

A map may say too much: a file that was written with what it held is called modified here, which
`map_status` looks at again. A new folder is one line, and so is a folder that another one has taken
the place of. What lies in a folder that was only moved is as it was.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Final, Literal, NamedTuple

from pyroaring import BitMap64

from ..store.batches import batched
from .block_map import TOP, BlockMap, Home, Serial
from .map_pair import MapPair
from .name_table import joined

AT_ONCE: Final = 500
What = Literal["new", "modified", "deleted"]


class MapChange(NamedTuple):
    """`serial` is what lies at the path now, None for a deleted one. `other`: it is not what the
    base has there, so its own marks do not say how the two differ."""

    path: bytes
    what: What
    serial: Serial | None
    other: bool = False


def map_changes(pair: MapPair) -> Iterator[MapChange]:
    """All changes since the last committed root. Takes the pair's lock again and again, each time
    for a few: what changes its name meanwhile may be told twice, or not at all."""
    for folder in _serials(pair, lambda changes: changes.names):
        with pair.lock:
            names = [*_Changes(pair).names(folder).items()]
        for some in batched(names, AT_ONCE):
            with pair.lock:
                rows = [*_Changes(pair).of_names(folder, some)]
            yield from rows
    objects = _serials(pair, lambda changes: [*changes.files, *changes.attributes])
    for few in batched(objects, AT_ONCE):
        with pair.lock:
            rows = [*_Changes(pair).of_objects(few)]
        yield from rows


def folders_with_new_names(pair: MapPair) -> Iterator[tuple[bytes, Serial]]:
    """Folders of the base, by path, in which some name changed, also if it is now as it was: they
    have new times. Takes the lock as `map_changes` does."""
    for few in batched(_serials(pair, lambda changes: changes.names), AT_ONCE):
        with pair.lock:
            rows = [*_Changes(pair).folders(few)]
        yield from rows


def _serials(pair: MapPair, serials: Callable[[BlockMap], Iterable[Serial]]) -> Iterator[Serial]:
    """Of both maps, in order. A bitmap holds them, of which there may be millions."""
    with pair.lock:
        found = [list(serials(changes)) for changes in pair.maps()]
    return map(Serial, BitMap64(chain.from_iterable(found)))


class _Changes:
    """With the pair's lock held."""

    def __init__(self, pair: MapPair) -> None:
        self._names = pair.names
        self._maps = pair.maps()

    def names(self, folder: Serial) -> Mapping[bytes, bool]:
        """The names of a folder that changed, and whether the base has them: what was marked first
        counts."""
        found = [changes.names[folder] for changes in self._maps if folder in changes.names]
        return found[0] if len(found) == 1 else ChainMap(*found)

    def of_names(self, folder: Serial, names: Iterable[tuple[bytes, bool]]) -> Iterator[MapChange]:
        path = self._names.path(folder)
        if path is None or self._is_new(folder):
            return
        for name, existed in names:
            serial = self._names.at(Home(folder, name))
            what = self._what(Home(folder, name), serial, existed)
            if what is not None:
                yield MapChange(joined(path, name), what, serial, other=True)

    def folders(self, folders: Iterable[Serial]) -> Iterator[tuple[bytes, Serial]]:
        for folder in folders:
            path = self._names.path(folder)
            if path is not None and not self._is_new(folder):
                yield path, folder

    def _what(self, home: Home, serial: Serial | None, existed: bool) -> What | None:
        if serial is None and not self._is_new_there(home):
            return "deleted" if existed else None
        if not existed:
            return "new"
        return None if serial and self._lies_where_it_did(serial, home) else "modified"

    def _is_new_there(self, home: Home) -> bool:
        """Whether something new lies there, even if it is not known any more, or bound to nothing
        (`MapPair.evicted`): the last map that has the name tells."""
        words = [changes.names.get(home.folder, {}).get(home.name) for changes in self._maps]
        last = [existed for existed in words if existed is not None][-1:]
        return last == [False]

    def _lies_where_it_did(self, serial: Serial, home: Home) -> bool:
        bound = [changes.homes[serial] for changes in self._maps if serial in changes.homes]
        return bound[0] == home if bound else not self._is_new_there(home)

    def of_objects(self, serials: Iterable[Serial]) -> Iterator[MapChange]:
        """Content and attributes of what the base has, where its name is the base's too."""
        for serial in serials:
            if serial == TOP:
                yield MapChange(b"", "modified", TOP)
            for home in self._names.homes(serial):
                marked = self.names(home.folder).get(home.name)
                path = self._names.path(home.folder)
                if path is None or self._is_new(home.folder):
                    continue
                if marked is None or (marked and self._lies_where_it_did(serial, home)):
                    yield MapChange(joined(path, home.name), "modified", serial)

    def _is_new(self, serial: Serial) -> bool:
        """Whether an object, or a folder that it lies in, was not at its place in the base: then it
        is in what is said of that folder."""
        while serial != TOP:
            homes = self._names.homes(serial)
            if not homes:
                return True
            home = next(iter(homes))
            if self.names(home.folder).get(home.name) is False:
                return True
            if not self._lies_where_it_did(serial, home):
                return True
            serial = home.folder
        return False
