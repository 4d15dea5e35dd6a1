"""What lies where in the live tree, as far as the tracker has seen it: serials and their names.

Every object that a program looked up has its (folder, name) pairs here; those of an object with
several hard links as far as they were met, and those that were told beforehand. Paths are made up
from them, so a folder with a million files is renamed by one entry. Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from .block_map import TOP, Home, Serial


class NameTable:
    """The top folder is there from the start, without a name."""

    def __init__(self) -> None:
        self._homes: dict[Serial, tuple[Home, ...] | set[Home]] = {TOP: ()}
        self._at: dict[Home, Serial] = {}
        self._inside: dict[Serial, int] = {}
        self._next = TOP + 1

    def new(self) -> Serial:
        """A serial that was never given out, for an object without a name so far."""
        serial = Serial(self._next)
        self._next += 1
        self._homes[serial] = ()
        return serial

    def at(self, home: Home) -> Serial | None:
        """What is known to lie there."""
        return self._at.get(home)

    def homes(self, serial: Serial) -> Collection[Home]:
        """The known names of an object; not to be changed."""
        return self._homes.get(serial, ())

    def add(self, serial: Serial, home: Home) -> None:
        """An object has this name, also if another was known to have it."""
        if self._at.get(home) == serial:
            return
        self.remove(home)
        self._at[home] = serial
        homes = self._homes[serial]
        if isinstance(homes, set):
            homes.add(home)
        else:  # most objects have one name, and a set takes five times as much
            self._homes[serial] = (home,) if not homes else {*homes, home}
        self._inside[home.folder] = self._inside.get(home.folder, 0) + 1

    def remove(self, home: Home) -> Serial | None:
        """Nothing lies there any more; what did, if it is known."""
        serial = self._at.pop(home, None)
        if serial is None:
            return None
        homes = self._homes[serial]
        if isinstance(homes, set):
            homes.discard(home)
        else:
            self._homes[serial] = ()
        self._inside[home.folder] -= 1
        if not self._inside[home.folder]:
            del self._inside[home.folder]
        return serial

    def drop(self, serial: Serial) -> bool:
        """Forget an object, unless something known lies in it, or it is the top."""
        if serial == TOP or serial in self._inside:
            return False
        for home in list(self._homes.get(serial, ())):
            self.remove(home)
        self._homes.pop(serial, None)
        return True

    def __len__(self) -> int:
        return len(self._homes)

    def path(self, serial: Serial) -> bytes | None:
        """One path of an object, empty for the top; None when it has no name, or lies in a folder
        that has none."""
        parts: list[bytes] = []
        while serial != TOP:
            home = next(iter(self._homes.get(serial, ())), None)
            if home is None:
                return None
            parts.append(home.name)
            serial = home.folder
        return b"/".join(reversed(parts))

    def paths(self, serial: Serial) -> Iterator[bytes]:
        """All known paths of an object."""
        if serial == TOP:
            yield b""
        for home in self._homes.get(serial, ()):
            folder = self.path(home.folder)
            if folder is not None:
                yield joined(folder, home.name)


def joined(folder: bytes, name: bytes) -> bytes:
    """The path of a name in a folder; the top's is empty."""
    return folder + b"/" + name if folder else name
