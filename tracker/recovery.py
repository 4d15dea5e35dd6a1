"""After a crash: where to look again, by what the change journals say.

The journals of all eras that no commit ended count together. Suspects are gathered by object; an
object is known by its file handle, or by its path where the file system has no handles. A journal
that is damaged, or that was too full to say more, makes the whole tree suspect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pyroaring import BitMap64

from ..store.errors import Corrupt
from .journal import read_journals
from .journal_records import EXTENT, Look, Suspect

Identity = tuple[int, bytes]
"""The type and bytes of a file handle; 0 and a path where there are no handles."""


@dataclass(eq=False)
class SuspectObject:
    """`path` is the last that the journals have. `extents` are numbers of 16 MiB of a file that may
    have changed; `beyond`: also everything from this one on, None for nothing. `names`: of a
    folder."""

    path: bytes
    extents: set[int] = field(default_factory=set)
    beyond: int | None = None
    names: bool = False
    attributes: bool = False

    def add(self, suspect: Suspect) -> None:
        self.path = suspect.path
        match suspect.look:
            case Look.EXTENT:
                self.extents.add(suspect.extent)
            case Look.SIZE:
                known = suspect.extent if self.beyond is None else self.beyond
                self.beyond = min(known, suspect.extent)
            case Look.NAMES:
                self.names = True
            case Look.ATTRIBUTES:
                self.attributes = True

    def blocks(self, size: int, block_size: int) -> BitMap64:
        """The blocks of a file of `size` bytes that may have changed."""
        found = BitMap64()
        count = -(-size // block_size)
        for extent in self.extents:
            first = extent * EXTENT // block_size
            found.add_range(first, min(count, (extent + 1) * EXTENT // block_size))
        if self.beyond is not None:
            found.add_range(self.beyond * EXTENT // block_size, count)
        return found


@dataclass(eq=False)
class Recovery:
    """`everywhere`: the whole tree is suspect, and what `objects` has is not all."""

    everywhere: bool = False
    objects: dict[Identity, SuspectObject] = field(default_factory=dict)

    def add(self, suspect: Suspect) -> None:
        if suspect.look == Look.EVERYWHERE:
            self.everywhere = True
            return
        identity = (suspect.handle_type, suspect.handle) if suspect.handle else (0, suspect.path)
        found = self.objects.get(identity)
        if found is None:
            found = self.objects[identity] = SuspectObject(suspect.path)
        found.add(suspect)


def recover(folder: Path) -> Recovery:
    """What the journals in a folder say. StorageError when one cannot be read."""
    found = Recovery()
    try:
        for file in read_journals(folder):
            found.everywhere = found.everywhere or not file.whole
            for suspect in file.suspects:
                found.add(suspect)
    except Corrupt:
        found.everywhere = True
    return found
