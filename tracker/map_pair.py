"""The map pair: the active map, which every change enters, and the frozen one that a commit reads.

`freeze` swaps them in an instant and begins a new era. When the commit is durable, what entered its
root is cleared and the rest is merged back; when it failed, all is. One frozen map exists at a
time. Each map holds the root that it is relative to: the active one knows its own only when the
commit of the frozen one ended.

Every method takes the pair's lock, for no longer than a map takes to change. The driver calls the
marking ones in the order in which changes arrive: of content and attributes before the change is
made, of names right after it, in the same request, which a swap waits for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from enum import Enum
from typing import Any

from ..store.errors import LockHeld
from .block_map import TOP, BlockMap, Entered, FileChange, Home, Serial
from .name_log import NameLog
from .name_table import NameTable
from .saved_blocks import SavedBlocks
from .swap import PATIENCE, Objects, Swap


class BlockStatus(Enum):
    """What `treering maps` says of one block."""

    CLEAN = "clean"
    ACTIVE = "active"
    FROZEN = "frozen"
    CAPTURED = "captured"


class MapPair:
    """The changes of a work tree whose last committed root is `base`, and its names."""

    def __init__(self, block_size: int, base: bytes = b"") -> None:
        self.block_size = block_size
        self.lock = threading.Lock()
        self.names = NameTable()
        self.active = BlockMap(block_size, 1, base)
        self.frozen: BlockMap | None = None
        self.log: NameLog | None = None
        self.swap: Swap[Any] | None = None
        self._ended: list[tuple[Serial, bool]] = []

    # -- content and attributes ------------------------------------------------------------------

    def wrote(self, serial: Serial, offset: int, length: int, size: int) -> None:
        """Bytes of a file of `size` bytes are about to be written, perhaps beyond its end."""
        if self.swap is not None:
            self.swap.before_write(serial, offset, length, size)
        with self.lock:
            self.active.write(serial, offset, length)
            if length > 0 and offset + length > size:
                self.active.resize(serial, size, offset + length)

    def resized(self, serial: Serial, before: int, after: int) -> None:
        if self.swap is not None:
            self.swap.before_resize(serial, before, after)
        with self.lock:
            self.active.resize(serial, before, after)

    def touched(self, serial: Serial) -> None:
        self.moving(serial)
        with self.lock:
            self.active.touch(serial)

    def moving(self, *serials: Serial) -> None:
        """Folders that are about to get or lose a name, which moves their times, or objects that
        are, which changes how many they have. Called before the change, unlike what tells it."""
        if self.swap is not None:
            for serial in serials:
                self.swap.before_touch(serial)

    def is_saved(self, serial: Serial) -> bool:
        """Whether a commit wants to be told of a change of this object, which may take a read."""
        return self.swap is not None and self.swap.concerns(serial)

    # -- names -----------------------------------------------------------------------------------

    def met(self, home: Home, serial: Serial | None = None) -> Serial:
        """The object that was looked up there, without any change; `serial`, if it is known by
        another name already."""
        with self.lock:
            if serial is None:
                serial = self.names.at(home) or self.names.new()
            self.names.add(serial, home)
            return serial

    def known(self, serial: Serial, homes: Iterable[Home]) -> None:
        """Further names of an object with several, unchanged since the base root."""
        with self.lock:
            for home in homes:
                self.names.add(serial, home)

    def made(self, home: Home | None) -> Serial:
        """A new object, at a name or (O_TMPFILE) without one."""
        with self.lock:
            serial = self.names.new()
            self.active.bind(serial, None)
            if home is not None:
                self._put(serial, home)
            return serial

    def linked(self, serial: Serial, home: Home) -> None:
        """One more name for an object."""
        with self.lock:
            self._bind(serial)
            self._put(serial, home)
            self.active.touch(serial)

    def unlinked(self, home: Home) -> Serial | None:
        """A name is gone; the object that had it, if it is known."""
        with self.lock:
            return self._take(home)

    def renamed(self, old: Home, new: Home) -> None:
        """What lay at `old` lies at `new`; what lay there has one name less."""
        with self.lock:
            serial = self.names.at(old)
            if serial is not None and serial == self.names.at(new):
                return  # two names of one file: rename(2) does nothing
            moved = self._take(old)
            if self.names.at(new) is not None:
                self._take(new)
            known = self._known(moved)
            if moved is None and self.log is not None:
                self.log.unseen(old, known)
            self._put(known, new)

    def exchanged(self, one: Home, other: Home) -> None:
        """Two objects changed places (RENAME_EXCHANGE)."""
        with self.lock:
            first, second = self._take(one), self._take(other)
            for was, there, goes in ((one, first, other), (other, second, one)):
                known = self._known(there)
                if there is None and self.log is not None:
                    self.log.unseen(was, known)
                self._put(known, goes)

    def ended(self, serial: Serial, *, folder: bool = False) -> None:
        """An object without a name is open nowhere any more. What is frozen still speaks of it."""
        with self.lock:
            self._ended.append((serial, folder))
            if self.frozen is None:
                self._drop_ended()

    def _drop_ended(self) -> None:
        for serial, folder in self._ended:
            if not self.names.homes(serial) and self.names.drop(serial):
                self.active.forget(serial, folder=folder)
        self._ended = []

    def evicted(self, serial: Serial, *, made: bool = False) -> bool:
        """Nobody uses an object now; whether it is forgotten, to get another serial when it is met
        again. What changed is kept, and what something known lies in. `made`: of what was made in
        this era, at a name that the base has not, that name is enough."""
        with self.lock:
            if self.frozen is not None and self.frozen.speaks_of(serial):
                return False
            if not self.active.speaks_of(serial):
                return self.names.drop(serial)
            if not made or not self._is_told_by_its_name(serial) or not self.names.drop(serial):
                return False
            self.active.forget(serial, folder=False)
            return True

    def _is_told_by_its_name(self, serial: Serial) -> bool:
        """Whether the map says by the name alone that all of an object is new."""
        homes = self.names.homes(serial)
        if serial in self.active.names or self.active.homes.get(serial, _UNMOVED) is not None:
            return False
        return len(homes) == 1 and self.active.is_new_name(next(iter(homes)))

    def _known(self, serial: Serial | None) -> Serial:
        """An object that moved before anybody looked it up: nothing of it is known, so it is bound
        to nothing and read whole."""
        if serial is None:
            serial = self.names.new()
            self.active.bind(serial, None)
        return serial

    def _put(self, serial: Serial, home: Home) -> None:
        if self.log is not None:
            self.log.changing(home)
        self.active.rename(home, existed=self.names.at(home) is not None)
        self.names.add(serial, home)

    def _take(self, home: Home) -> Serial | None:
        serial = self.names.at(home)
        if self.log is not None:
            self.log.changing(home)
        if serial is not None:
            self._bind(serial)
            self.names.remove(home)
        self.active.unname(home)
        return serial

    def _bind(self, serial: Serial) -> None:
        """Hold on to where an object is before it moves."""
        if serial not in self.active.homes:
            home = next(iter(self.names.homes(serial)), None)
            new = home is None or self.active.is_new_name(home)
            self.active.bind(serial, None if new else home)

    # -- what a scan found -----------------------------------------------------------------------

    def found_name(self, home: Home, serial: Serial | None, *, existed: bool) -> None:
        """A name differs from the base root: it has none of it, or, if it `existed`, another object
        or nothing lies there now. The scan has looked into the base, so its word counts before that
        of whoever changed the name meanwhile. `serial` is what the scan saw there, wherever it lies
        by now; it is bound to nothing."""
        with self.lock:
            self.active.names.setdefault(home.folder, {})[home.name] = existed
            if serial is not None:
                self.active.homes[serial] = None

    def found_content(
        self, serial: Serial, runs: Iterable[tuple[int, int]], before: int, now: int
    ) -> None:
        """A file of `now` bytes differs in these runs of blocks, (first, count), from what the base
        root has, `before` bytes."""
        with self.lock:
            for first, count in runs:
                self.active.write(serial, first * self.block_size, count * self.block_size)
            self.active.resize(serial, before, now)

    # -- eras ------------------------------------------------------------------------------------

    def freeze(self, *, uncertain: bool = False) -> BlockMap:
        """Swap; the frozen map. LockHeld while another is frozen. `uncertain`: the commit reads the
        tree some time later, as it is then, so the base of the new era is not known from here."""
        with self.lock:
            if self.frozen is not None:
                raise LockHeld("another commit has frozen the map")
            frozen = self.frozen = self.active
            self.active = BlockMap(self.block_size, frozen.era + 1, uncertain=uncertain)
            self.log = NameLog(self.names)
            return frozen

    def preserve(
        self, objects: Objects[Any], saved: SavedBlocks, patience: float = PATIENCE
    ) -> Swap[Any]:
        """Have what is frozen saved before it changes. Right after `freeze`, before any change.
        `patience`: for how many seconds whoever changes it waits for a commit that stands still."""
        assert self.frozen is not None and self.log is not None
        self.swap = Swap(self.frozen, self.log, self.lock, objects, saved, patience)
        return self.swap

    def committed(
        self, root: bytes, entered: Entered | None = None, left: Iterable[Serial] = ()
    ) -> None:
        """The commit of the frozen map is durable as `root`. `entered`: all of it but for None,
        or for a few objects that are `left`."""
        with self.lock:
            assert self.frozen is not None
            if entered is None:
                for serial in left:
                    self._leave(serial, self.frozen)
                self.active.base = root
                self.active.uncertain = False
            else:
                self._merge_back(self.frozen.without(entered), root)
            self._thaw()

    def _leave(self, serial: Serial, frozen: BlockMap) -> None:
        """An object that did not enter the new root. It is read whole next time, for there may be
        less of it in the root than there was in the one before."""
        self.active.attributes.add(serial)
        self.active.homes[serial] = None
        for home in self.names.homes(serial):
            self.active.names.setdefault(home.folder, {})[home.name] = True
        change = frozen.files.get(serial)
        if change is not None:
            self.active.files.setdefault(serial, FileChange()).merge(change)

    def rebase(self, before: bytes, root: bytes) -> bool:
        """The tree was brought from one root to another, by changes that the map has like all
        others: it is relative to that root now. What it says of names says only where to look.
        False, and nothing is done, where the map is not relative to `before`."""
        with self.lock:
            if self.frozen is not None or self.active.base != before:
                return False
            for names in self.active.names.values():
                names.update(dict.fromkeys(names, True))
            self.active.homes = dict.fromkeys(self.active.homes)
            self.active.base = root
            return True

    def failed(self) -> None:
        """The commit came to nothing: all that was frozen is active again."""
        with self.lock:
            if self.frozen is not None:
                self._merge_back(self.frozen, self.frozen.base)
                self._thaw()

    def _merge_back(self, earlier: BlockMap, base: bytes) -> None:
        earlier.merge(self.active)
        for folder, names in self.active.names.items():
            for name, existed in names.items():
                self._merge_name(earlier, Home(folder, name), existed)
        earlier.era, earlier.base = self.active.era, base
        self.active = earlier

    def _merge_name(self, merged: BlockMap, home: Home, existed: bool) -> None:
        """The earlier word on a name counts now, so what the later one said of what lies there has
        to be said otherwise: that nothing does, or that it is new though the base has the name."""
        serial = self.names.at(home)
        if existed and serial is None:
            merged.unname(home)
        elif not existed and not merged.is_new_name(home):
            if serial is None:  # not known any more: see `evicted`
                serial = self.names.new()
                self.names.add(serial, home)
            merged.bind(serial, None)

    def _thaw(self) -> None:
        if self.swap is not None:
            self.swap.end()
        self.frozen = self.log = self.swap = None
        self._drop_ended()

    # -- asking ----------------------------------------------------------------------------------

    def bound(self, serial: Serial, changes: BlockMap) -> bytes | None:
        """The path an object had in the root that `changes` - one of the two maps - is relative to;
        None for none. Call with the lock held.

        Where an object was at a swap is what the map of the later era says of it, or else where it
        is now."""
        maps = [changes] if changes is self.active else [changes, self.active]
        parts: list[bytes] = []
        while serial != TOP:
            home = next((m.homes[serial] for m in maps if serial in m.homes), _UNMOVED)
            if home is _UNMOVED:
                home = next(iter(self.names.homes(serial)), None)
                if home is not None and any(m.is_new_name(home) for m in maps):
                    return None
            if home is None:
                return None
            parts.append(home.name)
            serial = home.folder
        return b"/".join(reversed(parts))

    def maps(self) -> list[BlockMap]:
        """Those there are, the earlier one first."""
        return [self.active] if self.frozen is None else [self.frozen, self.active]

    def is_clean(self, path: bytes) -> bool:
        """Whether nothing is marked of what lies at a path, or on the way there."""
        serial: Serial | None = TOP
        with self.lock:
            for name in path.split(b"/"):
                if serial is None:
                    return True  # nobody ever looked at it
                home = Home(serial, name)
                if any(name in changes.names.get(serial, ()) for changes in self.maps()):
                    return False
                serial = self.names.at(home)
        return serial is None or not self.is_marked(serial)

    def is_marked(self, serial: Serial) -> bool:
        """Whether content or attributes of an object have changed."""
        with self.lock:
            found = self.maps()
            return any(serial in each.files or serial in each.attributes for each in found)

    def merged(self) -> BlockMap:
        """All changes since the last committed root, frozen or not, as a map of their own. Call
        with the lock held."""
        found = BlockMap(self.block_size, self.active.era, self.active.base)
        if self.frozen is not None:
            found.base = self.frozen.base
            found.merge(self.frozen)
        found.merge(self.active)
        return found

    def file_change(self, serial: Serial) -> FileChange:
        """What changed of one file since the last committed root, frozen or not; a copy."""
        found = FileChange()
        with self.lock:
            for changes in self.maps():
                change = changes.files.get(serial)
                if change is not None:
                    found.merge(change)
        return found

    def status(self, serial: Serial, block: int) -> BlockStatus:
        """Of one block; the earlier map counts, for it is what is still to be done."""
        with self.lock:
            swap, found = self.swap, BlockStatus.CLEAN
            if self.frozen is not None and block in self.frozen.files.get(serial, ()):
                found = BlockStatus.FROZEN
            elif block in self.active.files.get(serial, ()):
                found = BlockStatus.ACTIVE
        if found is BlockStatus.FROZEN and swap is not None and swap.is_captured(serial, block):
            return BlockStatus.CAPTURED
        return found


_UNMOVED = Home(TOP, b"")
