"""Who is told of changes: the map pair for the tree, nobody for `.treering` inside it.

Both know what lies where, for the driver reopens objects by name. A name cannot move from the one
to the other: to the user `.treering` is a file system of its own.
"""

from __future__ import annotations

from typing import Protocol

from ..block_map import Home, Serial
from ..map_pair import MapPair


class Recorder(Protocol):
    """The marking methods of `MapPair`, which says what they mean."""

    def wrote(self, serial: Serial, offset: int, length: int, size: int) -> None: ...
    def resized(self, serial: Serial, before: int, after: int) -> None: ...
    def touched(self, serial: Serial) -> None: ...
    def moving(self, *serials: Serial) -> None: ...
    def is_saved(self, serial: Serial) -> bool: ...
    def made(self, home: Home | None) -> Serial: ...
    def linked(self, serial: Serial, home: Home) -> None: ...
    def unlinked(self, home: Home) -> Serial | None: ...
    def renamed(self, old: Home, new: Home) -> None: ...
    def exchanged(self, one: Home, other: Home) -> None: ...


class Unrecorded:
    """Keeps the names of a pair's table and marks nothing."""

    def __init__(self, pair: MapPair) -> None:
        self._pair = pair

    def wrote(self, serial: Serial, offset: int, length: int, size: int) -> None:
        pass

    def resized(self, serial: Serial, before: int, after: int) -> None:
        pass

    def touched(self, serial: Serial) -> None:
        pass

    def moving(self, *serials: Serial) -> None:
        pass

    def is_saved(self, serial: Serial) -> bool:
        return False

    def made(self, home: Home | None) -> Serial:
        with self._pair.lock:
            serial = self._pair.names.new()
            if home is not None:
                self._pair.names.add(serial, home)
            return serial

    def linked(self, serial: Serial, home: Home) -> None:
        with self._pair.lock:
            self._pair.names.add(serial, home)

    def unlinked(self, home: Home) -> Serial | None:
        with self._pair.lock:
            return self._pair.names.remove(home)

    def renamed(self, old: Home, new: Home) -> None:
        names = self._pair.names
        with self._pair.lock:
            if names.at(old) == names.at(new):
                return
            serial = names.remove(old)
            names.remove(new)
            if serial is not None:
                names.add(serial, new)

    def exchanged(self, one: Home, other: Home) -> None:
        names = self._pair.names
        with self._pair.lock:
            first, second = names.remove(one), names.remove(other)
            if first is not None:
                names.add(first, other)
            if second is not None:
                names.add(second, one)
