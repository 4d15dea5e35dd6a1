"""What a closure walk has before it: nodes, with what their parents say of them, and blocks.

An item's *claim* is what its node must fit. A node is visited once for each claim, so that one that
fits its first parent does not vouch for a lie of the second.
"""

from __future__ import annotations

from typing import NamedTuple

from .ids import NULL, Key, key_name
from .nodes import FANOUT, Child
from .old_folder import OldFolder


class Blocks(NamedTuple):
    """Keys of blocks, and for each the plain length that its place in a file wants, in bytes."""

    keys: list[Key]
    lengths: list[int]


class RootItem(NamedTuple):
    base: bytes | None

    def claim(self) -> bytes:
        return b""


class FolderItem(NamedTuple):
    """The directory node of a folder; `old` is the folder at the same place in the base."""

    files: int
    size: int
    old: bytes | None
    block_size: int

    def claim(self) -> bytes:
        return b"folder %d %d %d" % (self.files, self.size, self.block_size)


class PartItem(NamedTuple):
    """A node of a split folder: what its parent says of it, the name before its first, whether it
    is the last of its height, and the folder in the base."""

    child: Child
    height: int
    before: bytes
    last: bool
    old: OldFolder | None
    block_size: int

    def claim(self) -> bytes:
        child = self.child
        sums = b"%d %d %d" % (child.entries, child.files, child.size)
        return b"part %d %d %d %s %s\0%s" % (
            self.height,
            self.last,
            self.block_size,
            sums,
            child.last,
            self.before,
        )


class Held(NamedTuple):
    """What the base has at a place in a file: an index node of a level or (-1) a block, and the
    bytes from there to the end of its file."""

    identity: bytes = NULL
    level: int = -1
    size: int = 0


class IndexItem(NamedTuple):
    """An index node, and the bytes from its first block to the end of the file."""

    level: int
    size: int
    block_size: int
    old: Held

    def claim(self) -> bytes:
        return b"index %d %d %d" % (self.level, self.block_size, self.own(self.size))

    def own(self, size: int) -> int:
        """How many of `size` bytes one node of this level holds."""
        reach: int = self.block_size * FANOUT ** (self.level + 1)
        return min(size, reach)


Item = RootItem | FolderItem | PartItem | IndexItem


def misfit(key: Key, wanted: int, found: int) -> str:
    """What to say of a block that is there with another length."""
    return f"{key_name(key)[:18]} has {found} bytes where a file wants {wanted}"
