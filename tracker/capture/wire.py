"""What driver and commit say to each other of a frozen map. Names and paths are as messages have
them; objects go by serial, or by their inode number where only that is known."""

from __future__ import annotations

from typing import Final

import msgspec

GONE: Final = -1
"""In the place of a serial: nothing was there."""
UNSEEN: Final = 0
"""Something new, of which the driver has no more than the name."""
MAX_RUNS: Final = 500
"""Of one file, in its row."""

Run = tuple[int, int]
"""(first block, count)"""


class FrozenObject(msgspec.Struct, array_like=True, frozen=True):
    """Something that the base root has, of which anything changed, or that is on the way to that.
    `homes` are its names at the swap, as (folder, name). `bound`: its path in the base, None if
    that follows from where it lay. `kind` is the file type; 0, and so is `number`, of what is gone
    and was only on the way. `blocks` says how many changed, `runs`
    which, if they are not too many; `smallest` is the smallest size that the file had."""

    serial: int
    number: int
    kind: int
    homes: tuple[tuple[int, str], ...]
    bound: str | None = None
    attributes: bool = False
    smallest: int | None = None
    blocks: int = 0
    runs: tuple[Run, ...] = ()


class FrozenName(msgspec.Struct, array_like=True, frozen=True):
    """A name of a folder that changed before the swap, or since, and what had it at the swap.
    `bound`: the base root has that object."""

    folder: int
    name: str
    serial: int
    number: int = 0
    kind: int = 0
    bound: bool = False


class FileRuns(msgspec.Struct, array_like=True, frozen=True):
    """Some blocks of a file."""

    serial: int
    runs: tuple[Run, ...]


class SavedBlock(msgspec.Struct, array_like=True, frozen=True):
    """A block that was saved, `length` bytes of what comes along."""

    serial: int
    number: int
    length: int
