"""What differs from the last commit, by what the maps say: the paths of `status`, without a look at
any file.

A map may say too much: a file that was written with what it held is called modified here, which
`map_status` looks at again. A new folder is one line, and so is a folder that another one has taken
the place of. What lies in a folder that was only moved is as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from .block_map import TOP, BlockMap, Home, Serial
from .map_pair import MapPair

What = Literal["new", "modified", "deleted"]


class MapChange(NamedTuple):
    """`serial` is what lies at the path now, None for a deleted one. `other`: it is not what the
    base has there, so its own marks do not say how the two differ."""

    path: bytes
    what: What
    serial: Serial | None
    other: bool = False


def map_changes(pair: MapPair) -> list[MapChange]:
    """All changes since the last committed root, by path. Takes the pair's lock."""
    with pair.lock:
        found = _Changes(pair, pair.merged())
        return sorted([*found.of_names(), *found.of_objects()])


def folders_with_new_names(pair: MapPair) -> list[tuple[bytes, Serial]]:
    """Folders of the base, by path, in which some name changed, also if it is now as it was: they
    have new times. Takes the pair's lock."""
    with pair.lock:
        return sorted(_Changes(pair, pair.merged()).folders())


class _Changes:
    """With the pair's lock held."""

    def __init__(self, pair: MapPair, changes: BlockMap) -> None:
        self._pair = pair
        self._names = pair.names
        self._changes = changes

    def of_names(self) -> list[MapChange]:
        found = []
        for folder, names in self._changes.names.items():
            path = self._names.path(folder)
            if path is None or self._is_new(folder):
                continue
            for name, existed in names.items():
                serial = self._names.at(Home(folder, name))
                what = self._what(Home(folder, name), serial, existed)
                if what is not None:
                    found.append(MapChange(_joined(path, name), what, serial, other=True))
        return found

    def folders(self) -> Iterator[tuple[bytes, Serial]]:
        for folder in self._changes.names:
            path = self._names.path(folder)
            if path is not None and not self._is_new(folder):
                yield path, folder

    def _what(self, home: Home, serial: Serial | None, existed: bool) -> What | None:
        if serial is None:
            return "deleted" if existed else None
        if not existed:
            return "new"
        return None if self._lies_where_it_did(serial, home) else "modified"

    def _lies_where_it_did(self, serial: Serial, home: Home) -> bool:
        return self._changes.homes.get(serial, home) == home

    def of_objects(self) -> list[MapChange]:
        """Content and attributes of what the base has, where its name is the base's too."""
        found = []
        for serial in self._changes.files.keys() | self._changes.attributes:
            for home in self._names.homes(serial):
                marked = self._changes.names.get(home.folder, {}).get(home.name)
                path = self._names.path(home.folder)
                if path is None or self._is_new(home.folder):
                    continue
                if marked is None or (marked and self._lies_where_it_did(serial, home)):
                    found.append(MapChange(_joined(path, home.name), "modified", serial))
        if TOP in self._changes.attributes:
            found.append(MapChange(b"", "modified", TOP))
        return found

    def _is_new(self, serial: Serial) -> bool:
        """Whether an object, or a folder that it lies in, was not at its place in the base: then it
        is in what is said of that folder."""
        while serial != TOP:
            homes = self._names.homes(serial)
            if not homes:
                return True
            home = next(iter(homes))
            if self._changes.names.get(home.folder, {}).get(home.name) is False:
                return True
            if not self._lies_where_it_did(serial, home):
                return True
            serial = home.folder
        return False


def _joined(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
