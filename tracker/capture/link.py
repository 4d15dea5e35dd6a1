"""The commit's end of its conversation with the driver, from the freeze to the end.

What is frozen stays so while the connection is there. Whoever ends without `committed` leaves the
maps as if nothing had been tried.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Final, NamedTuple

import msgspec
from pyroaring import BitMap64

from ...store.batches import batched
from ...store.errors import DriverError
from ..attached import BARRIER_SECONDS, Attachment
from ..fuse.control import MAX_DESCRIPTORS, Conversation, ask_for_parts, raw, text
from ..map_listing import runs
from ..metadata import Attributes
from .wire import GONE, FrozenName, FrozenObject, Run, SavedBlock

NAMES_AT_ONCE: Final = 400
OBJECTS_AT_ONCE: Final = MAX_DESCRIPTORS // 2


class Held(NamedTuple):
    """An object as it was at the swap, and an O_PATH descriptor of it, the caller's to close."""

    serial: int
    attributes: Attributes
    descriptor: int


class CaptureLink:
    """A freeze of an attached tree. DriverError, Conflict while there is another. Any thread;
    `close` when it has ended, well or not. `uncertain` as in `MapPair.freeze`. `hold`: changes wait
    from now on, but the maps are swapped by `swap`, and go on after `open`; both within moments."""

    def __init__(
        self, attached: Attachment, *, uncertain: bool = False, hold: bool = False
    ) -> None:
        self._path = attached.socket
        self._conversation = Conversation(attached.socket)
        try:
            how = {"uncertain": uncertain, "hold": hold}
            reply = self._conversation.ask("freeze", seconds=BARRIER_SECONDS, **how)
        except BaseException:
            self._conversation.close()
            raise
        self._is_committed = False
        self.pause: float = reply.get("pause", 0.0)
        """For how long changes had to wait, in seconds."""

    def swap(self) -> None:
        """With the changes held back: swap the maps."""
        self._conversation.ask("swap")

    def open(self) -> None:
        """Let changes go on."""
        self.pause = self._conversation.ask("open")["pause"]

    def close(self) -> None:
        """Where the commit has not ended well, all that was frozen is active again on return."""
        if not self._is_committed:
            with suppress(DriverError):
                self._conversation.ask("failed")
        self._conversation.close()

    def committed(self, root: bytes, left: Iterable[int] = ()) -> None:
        """The commit is durable, as this root, which has all that was frozen but what was `left`
        out of these serials."""
        self._conversation.ask("committed", root=root.hex(), left=[*left])
        self._is_committed = True

    # -- what is frozen --------------------------------------------------------------------------

    def objects(self) -> Iterator[FrozenObject]:
        for part in ask_for_parts(self._path, "frozen"):
            yield from msgspec.convert(part["rows"], list[FrozenObject])

    def names(self) -> Iterator[FrozenName]:
        for part in ask_for_parts(self._path, "frozen names"):
            yield from msgspec.convert(part["rows"], list[FrozenName])

    def runs(self, serial: int) -> list[Run]:
        """All changed blocks of a file."""
        parts = ask_for_parts(self._path, "frozen blocks", serial=serial)
        return [(first, count) for part in parts for first, count in part["rows"]]

    def changed_names(self, number: int) -> tuple[int, list[FrozenName]]:
        """Of the folder with this inode number, its serial, or GONE for one in which nothing was
        ever looked up; and the names that changed since the swap, with what had them then."""
        serial, rows = GONE, []
        for part in ask_for_parts(self._path, "changed names", number=number):
            serial = part["serial"]
            rows += msgspec.convert(part["rows"], list[FrozenName])
        return serial, rows

    def is_clean(self, path: bytes, number: int) -> bool:
        """Whether nothing is marked of what lies there, with this inode number, frozen or since."""
        return bool(self._conversation.ask("clean", path=text(path), number=number)["clean"])

    # -- what it was -----------------------------------------------------------------------------

    def changed(self, folder: int, names: Iterable[tuple[bytes, int]]) -> dict[bytes, int]:
        """Of names in the folder with this inode number, and what was just read under them, by
        inode number: those that are not what they were at the swap, with the serials of what had
        them, GONE for nothing. The others count as captured."""
        found: dict[bytes, int] = {}
        for some in batched(names, NAMES_AT_ONCE):
            rows = [(text(name), number) for name, number in some]
            reply = self._conversation.ask("unchanged", number=folder, names=rows)
            found |= {raw(name): serial for name, serial in reply["changed"]}
        return found

    def held(self, serials: Sequence[int]) -> list[Held]:
        """Those objects, at most `OBJECTS_AT_ONCE`. Ask once for each: later changes of their
        attributes are not kept back."""
        reply = self._conversation.ask("attributes", serials=[*serials])
        attributes = msgspec.convert(reply["rows"], list[Attributes])
        descriptors = reply.get("descriptors", [])
        return [Held(*each) for each in zip(serials, attributes, descriptors, strict=True)]

    def settle(self, read: Iterable[tuple[int, BitMap64]]) -> dict[tuple[int, int], bytes]:
        """Of blocks that were just read, by the serial of their file, those that had changed
        before, as they were at the swap. The others count as captured."""
        files = [(serial, [*runs(blocks)]) for serial, blocks in read]
        reply = self._conversation.ask("settle", files=files)
        rows = msgspec.convert(reply["rows"], list[SavedBlock])
        if not rows:
            return {}
        with ExitStack() as stack:
            (descriptor,) = reply["descriptors"]
            stack.callback(os.close, descriptor)
            found, offset = {}, 0
            for row in rows:
                found[row.serial, row.number] = os.pread(descriptor, row.length, offset)
                offset += row.length
            return found
