"""One block map: what changed in a work tree during one era.

Files and folders go by the tracker's *serial*, which says nothing of where they lie. Of a file the
map holds the numbers of changed blocks and the smallest size it had; of a folder the names that
changed; of both, whether attributes did. Where an object's name changed it holds the *base
binding*: the name the object had in the base root, or that it had none. An object without an entry
there is bound where it lies: see `name_table`.

A map may say too much, never too little: whoever reads it looks at what is marked, and what is as
it was adds nothing. Not thread-safe; `map_pair` guards it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, NewType

from pyroaring import BitMap64

Serial = NewType("Serial", int)
TOP: Final = Serial(1)
"""The top folder of the work tree."""
LOW_BLOCKS: Final = 60


class Home(NamedTuple):
    """A name in a folder."""

    folder: Serial
    name: bytes


class FileChange:
    """The changed blocks of a file. `smallest`: the smallest size in bytes that the file had while
    it changed, None when no size change was seen. What the base has from there on is no longer in
    the file, written or not.

    A bitmap takes 444 bytes even if it has one block, and most files are small: while there are
    only low numbers, they are the bits of an integer."""

    __slots__ = ("_high", "_low", "smallest")

    def __init__(self, smallest: int | None = None) -> None:
        self._low = 0
        self._high: BitMap64 | None = None
        self.smallest = smallest

    def add(self, first: int, end: int) -> None:
        """Blocks from `first` on, up to but not `end`, have changed."""
        if self._high is not None:
            self._high.add_range(first, end)
        elif end <= LOW_BLOCKS:
            self._low |= (1 << end) - (1 << first)
        else:
            self._high = self.blocks()
            self._high.add_range(first, end)

    def reach(self, size: int) -> None:
        self.smallest = size if self.smallest is None else min(self.smallest, size)

    def merge(self, other: FileChange) -> None:
        if self._high is None and other._high is None:
            self._low |= other._low
        else:
            self._high = self.blocks() | other.blocks()
        if other.smallest is not None:
            self.reach(other.smallest)

    def blocks(self) -> BitMap64:
        """Their numbers; a copy."""
        if self._high is not None:
            return self._high.copy()
        low = self._low
        return BitMap64(number for number in range(low.bit_length()) if low >> number & 1)

    def __len__(self) -> int:
        return len(self._high) if self._high is not None else self._low.bit_count()

    def __contains__(self, block: int) -> bool:
        return block in self._high if self._high is not None else bool(self._low >> block & 1)

    def differing(self, block_size: int, base_size: int, size: int) -> BitMap64:
        """The blocks of the file, `size` bytes long now and `base_size` in the base root, that
        differ from the base, or may. One beyond the base's last that is not among them is a
        hole."""
        blocks = self.blocks()
        in_base, now = -(-base_size // block_size), -(-size // block_size)
        if self.smallest is not None and self.smallest < base_size:
            blocks.add_range(self.smallest // block_size, in_base)
        blocks.remove_range(now, 1 << 63)
        return blocks


@dataclass(eq=False)
class BlockMap:
    """Sizes and offsets in bytes. `base` is the root that the changes are relative to, as its id in
    hex, empty for none. `names` are the changed names of each folder, and whether the base has
    anything under them. `uncertain`: what the base will have is not known, so it may have all of
    them, and what moves is bound to nothing."""

    block_size: int
    era: int = 0
    base: bytes = b""
    files: dict[Serial, FileChange] = field(default_factory=dict)
    names: dict[Serial, dict[bytes, bool]] = field(default_factory=dict)
    attributes: set[Serial] = field(default_factory=set)
    homes: dict[Serial, Home | None] = field(default_factory=dict)
    uncertain: bool = False

    def __bool__(self) -> bool:
        return bool(self.files or self.names or self.attributes)

    # -- marking ---------------------------------------------------------------------------------

    def write(self, serial: Serial, offset: int, length: int) -> None:
        """These bytes of a file may have changed. Its size is told to `resize`."""
        if length > 0:
            first, last = offset // self.block_size, (offset + length - 1) // self.block_size
            self._file(serial).add(first, last + 1)

    def resize(self, serial: Serial, before: int, after: int) -> None:
        """A file changed its size. The block where the smaller one ends has another length, thus
        another id."""
        if before == after:
            return
        change = self._file(serial)
        smaller = min(before, after)
        block = smaller // self.block_size
        change.add(block, block + 1)
        change.reach(smaller)

    def touch(self, serial: Serial) -> None:
        """Attributes changed: mode, owner, times, xattrs."""
        self.attributes.add(serial)

    def rename(self, home: Home, *, existed: bool) -> None:
        """The folder has another object under this name. `existed`: it had one just before; the
        first word counts."""
        existed = existed or self.uncertain
        self.names.setdefault(home.folder, {}).setdefault(home.name, existed)

    def unname(self, home: Home) -> None:
        """A name is gone. Of one that the base has not, nothing is left but that its folder has new
        times."""
        names = self.names.setdefault(home.folder, {})
        if names.setdefault(home.name, True) is False:
            del names[home.name]

    def bind(self, serial: Serial, home: Home | None) -> None:
        """Where an object was in the base root, told before it moves; the first word counts."""
        self.homes.setdefault(serial, None if self.uncertain else home)

    def forget(self, serial: Serial, *, folder: bool) -> None:
        """An object is gone for good: no name, nobody has it open. What was moved out of a folder
        before is still bound by way of it."""
        self.files.pop(serial, None)
        self.names.pop(serial, None)
        self.attributes.discard(serial)
        if not folder:
            self.homes.pop(serial, None)

    def _file(self, serial: Serial) -> FileChange:
        change = self.files.get(serial)
        if change is None:
            change = self.files[serial] = FileChange()
        return change

    # -- asking ----------------------------------------------------------------------------------

    def changed_blocks(self, serial: Serial, base_size: int, size: int) -> BitMap64:
        """As `FileChange.differing`."""
        change = self.files.get(serial)
        return change.differing(self.block_size, base_size, size) if change else BitMap64()

    def speaks_of(self, serial: Serial) -> bool:
        """Whether there is anything on an object."""
        return (
            serial in self.homes
            or serial in self.files
            or serial in self.names
            or serial in self.attributes
        )

    def is_new_name(self, home: Home) -> bool:
        """Whether a name is marked that the base has not."""
        return self.names.get(home.folder, {}).get(home.name) is False

    def changed(self) -> set[Serial]:
        """All objects that something is marked of."""
        return self.files.keys() | self.names.keys() | self.attributes

    # -- two maps --------------------------------------------------------------------------------

    def merge(self, later: BlockMap) -> None:
        """Take over what changed in the era after this one. Where an object was when that era began
        is where it was all through this one, unless it moved here."""
        for serial, change in later.files.items():
            self._file(serial).merge(change)
        for folder, names in later.names.items():
            for name, existed in names.items():
                self.rename(Home(folder, name), existed=existed)
        self.attributes |= later.attributes
        for serial, home in later.homes.items():
            self.bind(serial, home)

    def without(self, entered: Entered) -> BlockMap:
        """What is left when some of it has entered a root: a map relative to that root.

        An object that entered is bound to the name it entered by. One that did not, and whose old
        name did, has lost that: it is bound to nothing, which costs reading it whole."""
        left = BlockMap(self.block_size, self.era, self.base)
        left.files = {
            serial: change for serial, change in self.files.items() if serial not in entered.files
        }
        for folder, names in self.names.items():
            gone = entered.names.get(folder, ())
            rest = {name: existed for name, existed in names.items() if name not in gone}
            if rest or not gone:
                left.names[folder] = rest
        left.attributes = self.attributes - entered.attributes
        for serial, home in self.homes.items():
            if home is not None and home.name in entered.names.get(home.folder, ()):
                home = None
            left.homes[serial] = entered.placed.get(serial, home)
        return left


@dataclass(eq=False)
class Entered:
    """What of a frozen map a new root holds: files with all their changed blocks, names of folders,
    attributes; `placed`: a name by which it holds an object, for those that moved."""

    files: set[Serial] = field(default_factory=set)
    names: dict[Serial, set[bytes]] = field(default_factory=dict)
    attributes: set[Serial] = field(default_factory=set)
    placed: dict[Serial, Home] = field(default_factory=dict)

    def add_names(self, folder: Serial, names: Iterable[bytes]) -> None:
        self.names.setdefault(folder, set()).update(names)
