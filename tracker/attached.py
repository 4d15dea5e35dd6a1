"""An attached tree as commands see it: whether it is one, and what its driver says of it.

`tracker/attached` in the repository says where the driver of the tree listens, or that it ended in
order. A driver that was killed leaves the mark behind, and nobody listens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from ..store.errors import Corrupt, DriverError
from ..store.repository import Repository
from ..store.state_file import StateFile
from .block_map import FileChange
from .fuse.control import SECONDS, Reply, ask, ask_for_parts

BARRIER_SECONDS: Final = 600.0


class Attached(msgspec.Struct, frozen=True):
    """What `tracker/attached` says: since when (seconds), whether it ended in order, where the
    control socket is, and the root that the maps are relative to, as `Attachment` has it."""

    since: float
    clean: bool
    socket: str
    base: str | None = None


ATTACHED: Final = StateFile("attached", "mark of an attached tree", Attached)


@dataclass(frozen=True)
class Attachment:
    """A driver that answers: its process. `base` is the root that its maps are relative to, in hex,
    empty for none; None while they are not complete. `outsiders`: somebody may write past the
    driver, so they never are."""

    socket: Path
    process: int
    base: str | None
    outsiders: bool = False

    def status(self) -> Reply:
        """What it says of itself. It counts what changed for that."""
        return ask(self.socket, "status")

    def backing(self, *, barrier: bool = False) -> int:
        """The tree's top folder below the mount, opened for us. `barrier`: once the kernel has
        handed over what was stored through mappings, which may be gigabytes. DriverError."""
        seconds = BARRIER_SECONDS if barrier else SECONDS
        reply = ask(self.socket, "backing", seconds=seconds, barrier=barrier)
        (descriptor,) = reply["descriptors"]
        return int(descriptor)

    def file_change(self, serial: int) -> FileChange:
        """What the maps have of one file."""
        change = FileChange()
        for part in ask_for_parts(self.socket, "blocks", serial=serial):
            change.smallest = part["smallest"]
            for first, count in part["rows"]:
                change.add(first, first + count)
        return change

    def rows(self, what: str) -> Iterator[Reply]:
        """The rows of an answer that comes in parts."""
        for part in ask_for_parts(self.socket, what):
            yield from part["rows"]


def follow(attached: Attachment, before: str, root: str) -> bool:
    """Whether the maps, relative to the root `before`, are relative to this one from now on. The
    two differ in nothing that the maps have not. DriverError."""
    return bool(ask(attached.socket, "moved", before=before, root=root)["moved"])


def attachment(repository: Repository) -> Attachment | None:
    """The driver of the repository's work tree, None if there is none that answers, or nobody
    knows where."""
    try:
        mark = ATTACHED.read(repository.path / "tracker")
    except Corrupt:
        return None
    if mark is None or mark.clean:
        return None
    socket = Path(mark.socket)
    try:
        found = ask(socket, "hello")
    except DriverError:
        return None
    return Attachment(socket, found["pid"], found["base"], found["outsiders"])
