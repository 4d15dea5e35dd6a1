"""A live tree in memory whose changes are told to a map pair, as the driver does; and a tree made
anew from a base and a map alone, reading nothing of the live tree but what is marked. A block that
is not marked is the one that was stored, as long as it was then."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from treering.tracker.block_map import TOP, BlockMap, Home, Serial
from treering.tracker.map_pair import MapPair
from treering.tracker.name_log import NameLog
from treering.tracker.swap import Swap

BLOCK = 4


class File(NamedTuple):
    attributes: int
    content: bytes


class Folder(NamedTuple):
    attributes: int
    inside: dict[bytes, Value]


Value = File | Folder


@dataclass(eq=False)
class Live:
    """A file or, with `inside`, a folder."""

    serial: Serial
    attributes: int = 0
    content: bytes = b""
    inside: dict[bytes, Live] | None = None
    names: int = 0

    def value(self) -> Value:
        if self.inside is None:
            return File(self.attributes, self.content)
        return Folder(self.attributes, {n: x.value() for n, x in self.inside.items()})

    def below(self) -> Iterator[Live]:
        yield self
        for child in (self.inside or {}).values():
            yield from child.below()


@dataclass
class TrackedTree:
    """Names are of one byte; the caller picks objects and folders that are there."""

    pair: MapPair = field(default_factory=lambda: MapPair(BLOCK))
    top: Live = field(default_factory=lambda: Live(TOP, inside={}))
    made: int = 0
    all: dict[Serial, Live] = field(default_factory=dict)
    """Also what has no name any more."""

    def __post_init__(self) -> None:
        self.all[TOP] = self.top

    def folders(self) -> list[Live]:
        return [x for x in self.top.below() if x.inside is not None]

    def files(self) -> list[Live]:
        """Each once, also one with several names."""
        return list(dict.fromkeys(x for x in self.top.below() if x.inside is None))

    def by_serial(self) -> dict[Serial, Live]:
        return {x.serial: x for x in self.top.below()}

    def make(self, folder: Live, name: bytes, *, is_folder: bool) -> None:
        assert folder.inside is not None
        if name in folder.inside:
            return
        serial = self.pair.made(Home(folder.serial, name))
        self.made += 1000  # so that no two are the same
        inside: dict[bytes, Live] | None = {} if is_folder else None
        folder.inside[name] = self.all[serial] = Live(serial, self.made, inside=inside, names=1)

    def write(self, file: Live, offset: int, data: bytes) -> None:
        self.pair.wrote(file.serial, offset, len(data), len(file.content))
        if data:
            grown = file.content.ljust(offset, b"\0")
            file.content = grown[:offset] + data + grown[offset + len(data) :]

    def truncate(self, file: Live, size: int) -> None:
        self.pair.resized(file.serial, len(file.content), size)
        file.content = file.content[:size].ljust(size, b"\0")

    def touch(self, what: Live) -> None:
        self.pair.touched(what.serial)
        what.attributes += 1

    def link(self, file: Live, folder: Live, name: bytes) -> None:
        assert folder.inside is not None
        if name in folder.inside:
            return
        self.pair.linked(file.serial, Home(folder.serial, name))
        folder.inside[name] = file
        file.names += 1

    def remove(self, folder: Live, name: bytes) -> None:
        assert folder.inside is not None
        gone = folder.inside[name]
        if gone.inside:
            return
        self.pair.unlinked(Home(folder.serial, name))
        del folder.inside[name]
        self._lost_name(gone)

    def _lost_name(self, gone: Live) -> None:
        gone.names -= 1
        if not gone.names:
            self.pair.ended(gone.serial, folder=gone.inside is not None)

    def rename(self, folder: Live, name: bytes, into: Live, new: bytes) -> None:
        assert folder.inside is not None and into.inside is not None
        moved, there = folder.inside[name], into.inside.get(new)
        if moved is there or into in moved.below():
            return
        if there is not None and (there.inside or (there.inside is None) != (moved.inside is None)):
            return
        self.pair.renamed(Home(folder.serial, name), Home(into.serial, new))
        del folder.inside[name]
        into.inside[new] = moved
        if there is not None:
            self._lost_name(there)

    def exchange(self, folder: Live, name: bytes, into: Live, new: bytes) -> None:
        assert folder.inside is not None and into.inside is not None
        one, other = folder.inside[name], into.inside[new]
        if one is other or into in one.below() or folder in other.below():
            return
        self.pair.exchanged(Home(folder.serial, name), Home(into.serial, new))
        folder.inside[name], into.inside[new] = other, one


def look_up(value: Value, path: bytes | None) -> Value | None:
    if path is None:
        return None
    found: Value | None = value
    for name in path.split(b"/") if path else []:
        found = found.inside.get(name) if isinstance(found, Folder) else None
    return found


@dataclass
class Assembled:
    """The tree that a base and a map make. `read` counts live blocks, `whole` the objects that
    were read whole."""

    tree: TrackedTree
    changes: BlockMap
    base: Value
    read: dict[Serial, set[int]] = field(default_factory=dict)
    whole: set[Serial] = field(default_factory=set)

    def value(self) -> Value:
        self._live = self.tree.by_serial()
        return self._of(TOP)

    def _of(self, serial: Serial) -> Value:
        live = self._live[serial]
        before = look_up(self.base, self.tree.pair.bound(serial, self.changes))
        if before is None or isinstance(before, Folder) != (live.inside is not None):
            self.whole |= {x.serial for x in live.below()}
            return live.value()
        marked = serial in self.changes.attributes
        attributes = live.attributes if marked else before.attributes
        if isinstance(before, Folder):
            return Folder(attributes, dict(self._inside(serial, before)))
        return File(attributes, self._content(live, before))

    def _inside(self, serial: Serial, before: Folder) -> Iterator[tuple[bytes, Value]]:
        changed = self.changes.names.get(serial, {})
        for name in before.inside.keys() | changed.keys():
            child = self.tree.pair.names.at(Home(serial, name))
            if child is not None:
                yield name, self._of(child)
            elif name not in changed:
                yield name, before.inside[name]

    def _content(self, live: Live, before: File) -> bytes:
        change = self.changes.files.get(live.serial)
        if change is None:
            return before.content
        size = len(live.content) if change.smallest is not None else len(before.content)
        marked = self.changes.changed_blocks(live.serial, len(before.content), size)
        self.read[live.serial] = set(marked)
        stored, now = _blocks(before.content), _blocks(live.content)
        found = []
        for number in range(-(-size // BLOCK)):
            if number in marked:
                found.append(now[number])
            else:
                hole = bytes(min(BLOCK, size - number * BLOCK))
                found.append(stored[number] if number < len(stored) else hole)
        return b"".join(found)


def _blocks(content: bytes) -> list[bytes]:
    return [content[start : start + BLOCK] for start in range(0, len(content), BLOCK)]


class Looked(NamedTuple):
    """What a commit records of an object besides content and names."""

    attributes: int
    size: int
    is_folder: bool


class FileCopy(NamedTuple):
    """A file as it was."""

    content: bytes

    def read(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length]

    def close(self) -> None:
        pass


@dataclass
class Objects:
    """The live objects of a tree, for a swap. `reads` counts blocks. `broken`: the disk is.
    `copies`: files may be copied at no cost."""

    tree: TrackedTree
    reads: int = 0
    broken: bool = False
    copies: bool = False
    copied_files: int = 0

    def read(self, serial: Serial, offset: int, length: int) -> bytes:
        self.reads += 1
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self.tree.all[serial].content[offset : offset + length]

    def copied(self, serial: Serial) -> FileCopy | None:
        if not self.copies:
            return None
        self.copied_files += 1
        return FileCopy(self.tree.all[serial].content)

    def attributes(self, serial: Serial) -> Looked:
        live = self.tree.all[serial]
        return Looked(live.attributes, len(live.content), live.inside is not None)


@dataclass
class Captured:
    """The tree as it stood at a swap, from the base, what is frozen, and the live objects, in any
    order, while they go on changing."""

    tree: TrackedTree
    swap: Swap[Looked]
    log: NameLog
    frozen: BlockMap
    base: Value
    blocks: dict[tuple[Serial, int], bytes] = field(default_factory=dict)
    looked: dict[Serial, Looked] = field(default_factory=dict)

    def look(self, serial: Serial) -> Looked:
        """An object's attributes: a commit asks once."""
        if serial not in self.looked:
            self.looked[serial] = self.swap.attributes(serial)
        return self.looked[serial]

    def take(self, serial: Serial, numbers: Iterable[int]) -> None:
        """Capture some blocks of a file, as a commit does: read, then ask."""
        objects = Objects(self.tree)
        self.look(serial)
        numbers = [number for number in numbers if (serial, number) not in self.blocks]
        read = {number: objects.read(serial, number * BLOCK, BLOCK) for number in numbers}
        for number, data in {**read, **self.swap.settle(serial, numbers)}.items():
            self.blocks[serial, number] = data

    def value(self) -> Value:
        return self._of(TOP, self.base)

    def _of(self, serial: Serial, before: Value | None) -> Value:
        looked = self.look(serial)
        if isinstance(before, Folder) != looked.is_folder:
            before = None
        marked = before is None or serial in self.frozen.attributes
        attributes = looked.attributes if marked or before is None else before.attributes
        if looked.is_folder:
            folder = before if isinstance(before, Folder) else None
            return Folder(attributes, dict(self._inside(serial, folder)))
        return File(attributes, self._content(serial, looked.size, before))

    def _inside(self, serial: Serial, before: Folder | None) -> Iterator[tuple[bytes, Value]]:
        changed = self.frozen.names.get(serial, {})
        for name in self._names(serial, before):
            child = self.log.at(Home(serial, name))
            if child is None:
                child = self._listed(serial, name)
            if child is not None:
                path = self._base_path(child) if before is not None or changed else None
                yield name, self._of(child, look_up(self.base, path))
            elif before is not None and name not in changed and name in before.inside:
                yield name, before.inside[name]

    def _names(self, serial: Serial, before: Folder | None) -> set[bytes]:
        """Of a folder of the base, those it had and those that changed; of a new one, what is there
        now but for what has changed since."""
        if before is not None:
            return before.inside.keys() | self.frozen.names.get(serial, {}).keys()
        later = self.log.changed(serial)
        now = self.tree.all[serial].inside or {}
        return {n for n in now if n not in later} | {n for n, was in later.items() if was}

    def _listed(self, serial: Serial, name: bytes) -> Serial | None:
        if name in self.log.changed(serial):
            return None
        live = (self.tree.all[serial].inside or {}).get(name)
        return live.serial if live is not None else None

    def _base_path(self, serial: Serial) -> bytes | None:
        return self.tree.pair.bound(serial, self.frozen)

    def _content(self, serial: Serial, size: int, before: Value | None) -> bytes:
        if isinstance(before, File) and serial not in self.frozen.files:
            return before.content
        stored = _blocks(before.content) if isinstance(before, File) else []
        count = -(-size // BLOCK)
        wanted = self.swap.frozen_blocks(serial, count)
        if before is None:
            wanted.add_range(0, count)
        self.take(serial, wanted)
        found = []
        for number in range(count):
            length = min(BLOCK, size - number * BLOCK)
            if number in wanted:
                found.append(self.blocks[serial, number][:length].ljust(length, b"\0"))
            else:
                found.append(stored[number] if number < len(stored) else bytes(length))
        return b"".join(found)
