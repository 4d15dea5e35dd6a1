"""What is no folder, as entries: files with their content, and the rest by attributes alone.

Names are not set here: an object may have several.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

from ...store.batches import batched
from ...store.block_store import BlockStore
from ...store.content import IndexBuilder, block_count
from ...store.content_edit import edited_content
from ...store.ids import ID_LENGTH, NULL, NodeId
from ...store.nodes import Entry
from ...store.object_writer import ObjectWriter
from ..block_map import FileChange
from ..fuse.guard import descriptor_path
from ..fuse.live_objects import READING
from ..metadata import Attributes, Stat, XattrFilter, make_entry, symlink_entry
from .blocks import BlockCapture, Captured, Wanted
from .link import OBJECTS_AT_ONCE, CaptureLink, Held
from .wire import FrozenObject

CHANGES_AT_ONCE: Final = 1 << 16
"""Block ids that are held in memory before they are worked into a content."""


class Changed(NamedTuple):
    """What the base has, what it is now, and its stat at the swap."""

    found: FrozenObject
    before: Entry
    entry: Entry
    info: Stat


class FileEntries:
    """Used by one thread. `left` are serials of what could not be read, with the error."""

    def __init__(
        self,
        link: CaptureLink,
        blocks: BlockCapture,
        store: BlockStore,
        writer: ObjectWriter,
        block_size: int,
        keep: XattrFilter,
    ) -> None:
        self._link = link
        self._blocks = blocks
        self._store = store
        self._writer = writer
        self._block_size = block_size
        self._keep = keep
        self.left: dict[int, OSError] = {}

    def changed(self, objects: Iterable[tuple[FrozenObject, Entry]]) -> Iterator[Changed]:
        """Of objects that the base has, with what it has: the entries that come of it. Without
        those that could not be read."""
        for some in batched(objects, OBJECTS_AT_ONCE):
            held = self._link.held([found.serial for found, _ in some])
            with ExitStack() as stack:
                for each in held:
                    stack.callback(os.close, each.descriptor)
                yield from self._changed(some, held, stack)

    def _changed(
        self, objects: Sequence[tuple[FrozenObject, Entry]], held: Sequence[Held], stack: ExitStack
    ) -> Iterator[Changed]:
        wanted, edits = [], {}
        for (found, before), each in zip(objects, held, strict=True):
            info = each.attributes.info
            content = before.content if before.is_file else NULL
            if stat.S_ISREG(info.st_mode):
                sizes = before.size if before.is_file else 0, info.st_size
                counts = [block_count(size, self._block_size) for size in sizes]
                edits[found.serial] = _Edit(self._store, self._writer, content, *counts)
                blocks = self._change(found).differing(self._block_size, *sizes)
                if blocks:
                    descriptor = self._open(each, stack)
                    if descriptor is not None:
                        wanted.append(Wanted(found.serial, descriptor, info.st_size, blocks))
        self._take(wanted, edits)
        for (found, before), each in zip(objects, held, strict=True):
            if each.serial not in self.left:
                edited = edits.get(each.serial)
                content = edited.finish() if edited is not None else NULL
                entry = self.entry(each.attributes, content)
                yield Changed(found, before, entry, each.attributes.info)

    def _change(self, found: FrozenObject) -> FileChange:
        change = FileChange(found.smallest)
        spans = found.runs if found.runs or not found.blocks else self._link.runs(found.serial)
        for first, count in spans:
            change.add(first, first + count)
        return change

    def _take(self, wanted: Sequence[Wanted], edits: dict[int, _Edit]) -> None:
        for serial, pieces in groupby(self._blocks.capture(wanted), itemgetter(0)):
            for piece in pieces:
                if piece.error is not None:
                    self.left[serial] = piece.error
                edits[serial].add(piece)

    def _open(self, each: Held, stack: ExitStack) -> int | None:
        try:
            descriptor = os.open(descriptor_path(each.descriptor), READING)
        except OSError as error:
            self.left[each.serial] = error
            return None
        stack.callback(os.close, descriptor)
        return descriptor

    def new(self, held: Held) -> Entry | None:
        """The entry of something that the base has not; None where it could not be read."""
        info = held.attributes.info
        if not stat.S_ISREG(info.st_mode):
            return self.entry(held.attributes, NULL)
        builder = IndexBuilder(self._writer.put_node)
        count = block_count(info.st_size, self._block_size)
        with ExitStack() as stack:
            descriptor = self._open(held, stack) if count else None
            if count and descriptor is None:
                return None
            if descriptor is not None:
                change = FileChange()
                change.add(0, count)
                wanted = Wanted(held.serial, descriptor, info.st_size, change.blocks())
                for piece in self._blocks.capture([wanted]):
                    if piece.error is not None:
                        self.left[held.serial] = piece.error
                    builder.add(piece.ids)
        if held.serial in self.left:
            return None
        return self.entry(held.attributes, builder.finish())

    def entry(self, attributes: Attributes, content: bytes) -> Entry:
        """An entry without a name, of what is no folder."""
        xattrs = attributes.kept(self._keep)
        if attributes.target is not None:
            return symlink_entry(b"", attributes.info, attributes.target, xattrs)
        return make_entry(b"", attributes.info, content=content, xattrs=xattrs)


class _Edit:
    """A content under way from what the base has to what it is, of so many blocks before and now.
    What is worked in goes to the writer, which need not give it back, so the nodes of the last
    round are held."""

    def __init__(
        self, store: BlockStore, writer: ObjectWriter, content: bytes, before: int, now: int
    ) -> None:
        self._store = store
        self._writer = writer
        self._content = content
        self._counts = before, now
        self._changes: list[tuple[int, bytes]] = []
        self._nodes: dict[bytes, bytes] = {}
        self._made: dict[bytes, bytes] = {}

    def add(self, piece: Captured) -> None:
        ids = piece.ids
        for place in range(len(ids) // ID_LENGTH):
            identity = ids[place * ID_LENGTH : (place + 1) * ID_LENGTH]
            self._changes.append((piece.first + place, identity))
        if len(self._changes) >= CHANGES_AT_ONCE:
            self._work_in()

    def finish(self) -> bytes:
        before, after = self._counts
        if self._changes or before != after:
            self._work_in()
        return self._content

    def _work_in(self) -> None:
        self._nodes, self._made = self._made, {}
        self._content = edited_content(
            self, self._put_node, self._content, self._counts, self._changes
        )
        self._counts = self._counts[1], self._counts[1]
        self._changes = []

    def node(self, identity: bytes) -> bytes:
        found = self._nodes.get(identity)
        return found if found is not None else self._store.node(identity)

    def _put_node(self, plain: bytes) -> NodeId:
        identity = self._writer.put_node(plain)
        self._made[identity] = plain
        return identity
