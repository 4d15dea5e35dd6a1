"""What lay where at the swap of the maps: the names of now, less what has changed since.

A commit takes names as they were at its instant, and looks at folders later. So from the swap to
the end of the commit each name that is about to change is noted with what lay there; the first word
counts. Not thread-safe; `map_pair` guards it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .block_map import TOP, Home, Serial
from .name_table import NameTable


class NameLog:
    """Begun at the swap, over a table that goes on changing."""

    def __init__(self, names: NameTable) -> None:
        self._names = names
        self._was: dict[Serial, dict[bytes, Serial | None]] = {}
        self._homes: dict[Serial, list[Home]] = {}

    def changing(self, home: Home) -> None:
        """A name is about to get another object, or none."""
        inside = self._was.setdefault(home.folder, {})
        if home.name not in inside:
            serial = inside[home.name] = self._names.at(home)
            if serial is not None:
                self._homes.setdefault(serial, []).append(home)

    def unseen(self, home: Home, serial: Serial) -> None:
        """What lay at a name that changed was not known; it goes by this serial from now on."""
        inside = self._was.get(home.folder, {})
        if home.name in inside and inside[home.name] is None:
            inside[home.name] = serial
            self._homes.setdefault(serial, []).append(home)

    def at(self, home: Home) -> Serial | None:
        """What lay there, if it is known."""
        inside = self._was.get(home.folder, {})
        return inside[home.name] if home.name in inside else self._names.at(home)

    def changed(self, folder: Serial) -> Mapping[bytes, Serial | None]:
        """The names of a folder that changed since, and what had them; None for nothing known."""
        return self._was.get(folder, {})

    def homes(self, serial: Serial) -> Iterator[Home]:
        """The names that an object had, as far as they are known."""
        yield from self._homes.get(serial, ())
        for home in self._names.homes(serial):
            if home.name not in self._was.get(home.folder, {}):
                yield home

    def path(self, serial: Serial) -> bytes | None:
        """A path that an object had, empty for the top; None for what had none."""
        parts: list[bytes] = []
        while serial != TOP:
            home = next(self.homes(serial), None)
            if home is None:
                return None
            parts.append(home.name)
            serial = home.folder
        return b"/".join(reversed(parts))
