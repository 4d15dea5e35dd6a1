"""Builds a root from the live tree: the consumer of the walk.

The walk runs ahead, and hands changed files to the reader as it meets them; the events wait in a
queue until what they need has been read, so that folders are built in order while the workers are
never idle. An unchanged leaf is taken over by its id; of a changed one the entries that still fit
come from the stored leaf. Bounded by the queue, whatever the size of the tree.
"""

from __future__ import annotations

import errno
import stat
from collections import deque
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from ..store import directories, trees
from ..store.content import NodeSource
from ..store.directories import DirectoryBuilder, Folder, with_folder
from ..store.errors import NotFound
from ..store.nodes import Entry, Extras
from ..store.object_writer import ObjectWriter
from ..store.progress import SILENT, Progress
from .block_reader import unchanged
from .frame import Frame
from .links import LinkTable
from .metadata import (
    StatLike,
    XattrFilter,
    at,
    folder_entry,
    make_entry,
    read_xattrs,
    special_entry,
)
from .reading import GONE, REPLACED, FileReader, ReadFile, Ticket
from .report import Report
from .scan import Closed, Event, Filled, Group, LiveFolder, Opened, Slot, Walk
from .scan_state import (
    CLEAN,
    RACY,
    UNKNOWN,
    Part,
    ScanState,
    doubt,
    file_signature,
    folder_signature,
)
from .scope import EVERYTHING, Relation, Scope
from .unrestored import Unrestored

MAX_UNREDEEMED: Final = 4096
MAX_QUEUED: Final = 512
MAX_ROWS: Final = 256
MAX_SAME_INODE: Final = 4096


@dataclass
class Totals:
    """What the build read: regions of data in the changed files and the bytes in them."""

    files: int = 0
    regions: int = 0
    data: int = 0


@dataclass(frozen=True)
class Context:
    """What a build works with. `base` is the top folder's entry in HEAD, if there is one;
    `granularity` is of the file system's time stamps, in ns."""

    source: NodeSource
    writer: ObjectWriter
    reader: FileReader
    state: ScanState
    links: LinkTable
    unrestored: Unrestored
    report: Report
    keep: XattrFilter
    base: Entry | None
    granularity: int
    scope: Scope = EVERYTHING
    progress: Progress = SILENT


class TreeBuilder:
    """One build. `run` may be called once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._frames: list[Frame] = []
        self._entries: dict[LiveFolder, tuple[Entry, bytes]] = {}
        self._same_inode: dict[int, ReadFile] = {}
        self.totals = Totals()
        self.owners: tuple[set[int], set[int]] = (set(), set())

    def run(self, top: int) -> Entry:
        """The entry of the top folder, open as `top`; its name is empty."""
        context = self._context
        walk = Walk(
            top,
            context.state,
            context.report,
            keep=context.keep,
            on_file=self._submit,
            scope=context.scope,
            trust=CLEAN,
            names_before=self._names_before,
        )
        queue: deque[Event] = deque()
        events = walk.events()
        more = True
        try:
            while more or queue:
                while more and self._room(queue):
                    event = next(events, None)
                    if event is None:
                        more = False
                    else:
                        queue.append(event)
                if queue:
                    self._handle(queue.popleft())
        finally:
            for event in queue:
                if isinstance(event, Opened):
                    event.folder.close()
            for frame in self._frames:
                frame.live.close()
        ((entry, _),) = self._entries.values()
        return entry

    def _room(self, queue: deque[Event]) -> bool:
        return not queue or (
            len(queue) < MAX_QUEUED and self._context.reader.unredeemed < MAX_UNREDEEMED
        )

    def _submit(self, folder: LiveFolder, slot: Slot) -> Ticket:
        assert slot.info is not None
        return self._context.reader.submit(folder.descriptor, slot.name, slot.info.st_size)

    def _handle(self, event: Event) -> None:
        match event:
            case Opened(folder):
                self._frames.append(Frame(folder, self._context.writer))
            case Filled(group):
                self._redeem(group)
            case Group():
                self._group(self._frames[-1], event)
                self._put_early(self._frames[-1])
            case Closed(folder):
                self._close(self._frames.pop())

    def _put_early(self, frame: Frame) -> None:
        """Of a large folder, whose rows are not to gather in memory. Not on the way to a scope:
        there it may turn out that no row is whole."""
        if len(frame.rows) >= MAX_ROWS and frame.live.inside:
            self._context.state.put_some(frame.live.info.st_ino, frame.before, frame.rows)
            frame.rows = []

    def _names_before(self, path: bytes) -> list[bytes]:
        """The names that HEAD has in a folder."""
        folder = self._before(path)
        if folder is None or not folder.is_folder:
            return []
        return [entry.name for entry in directories.entries(self._context.source, folder.content)]

    def _before(self, path: bytes) -> Entry | None:
        """What HEAD has at a path. Looked up only where it is needed: it reads a node a level."""
        if self._context.base is None:
            return None
        try:
            return trees.lookup(self._context.source, self._context.base, path)
        except NotFound:
            return None

    def _redeem(self, group: Group) -> None:
        """Take what was read, in the order in which it was handed in."""
        result = self._context.reader.result
        linked = []
        for slot in group.slots:
            if slot.ticket is not None:
                slot.ticket = result(slot.ticket)  # type: ignore[arg-type]
            info = slot.info
            if info is not None and info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                linked.append((info.st_ino, info.st_nlink, slot.name))
        if linked:
            self._context.links.presume(group.folder.path, linked)

    # -- groups ----------------------------------------------------------------------------------

    def _group(self, frame: Frame, group: Group) -> None:
        part = group.part
        if part is not None and self._reusable(frame, group, part):
            for slot in group.slots:
                if slot.folder is not None:
                    del self._entries[slot.folder]
            frame.reused[part.leaf] = part
            frame.builder.add_leaf(part.child(), final=part.final)
            return
        kept = self._kept_entries(group)
        for slot in group.slots:
            self._slot(frame, group, slot, kept)

    def _reusable(self, frame: Frame, group: Group, part: Part) -> bool:
        if not group.same or part.linked or not frame.builder.at_boundary:
            return False
        if part.final and group.more:
            return False
        for position, slot in enumerate(group.slots):
            if slot.kept == position:
                continue
            if slot.folder is None:
                return False
            if self._entries[slot.folder][1] != part.signature(position):
                return False
        return True

    def _kept_entries(self, group: Group) -> dict[bytes, Entry]:
        if group.part is None or all(slot.kept < 0 for slot in group.slots):
            return {}
        leaf = directories.load_leaf(self._context.source, group.part.leaf)
        return {entry.name: entry for entry in leaf.entries}

    def _slot(self, frame: Frame, group: Group, slot: Slot, kept: dict[bytes, Entry]) -> None:
        if slot.outside or slot.failed:
            self._as_before(frame, slot)
        elif slot.folder is not None:
            entry, signature = self._entries.pop(slot.folder)
            frame.add(entry, signature, CLEAN, False)
        elif slot.info is not None:
            if slot.kept >= 0 and group.part is not None:
                entry = kept[slot.name]
                signature = group.part.signature(slot.kept)
                flag = group.part.flag(slot.kept)
                self._add_file(frame, entry, slot.info, signature, flag)
            elif slot.ticket is not None:
                self._read_file(frame, slot)
            else:
                self._special(frame, slot)

    def _as_before(self, frame: Frame, slot: Slot) -> None:
        """What is out of scope or cannot be read stays as HEAD has it."""
        frame.complete = frame.complete and not slot.outside
        path = frame.live.path + slot.name
        entry = self._before(path)
        if entry is not None and slot.outside:
            entry = self._pruned(entry, path)
        if entry is not None:
            frame.add(entry, UNKNOWN, RACY, bool(entry.more.group))
            self._context.links.keep_outside([frame.live.path + slot.name])

    def _pruned(self, entry: Entry, path: bytes) -> Entry:
        """An entry of HEAD less what the scope says is gone: for a folder on the way to the scope
        that is no longer on disk."""
        relation = self._context.scope.relation(path)
        if relation is Relation.OUTSIDE or not entry.is_folder:
            return entry
        builder = DirectoryBuilder(self._context.writer.put_node)
        for below in directories.entries(self._context.source, entry.content):
            name = path + b"/" + below.name
            if self._context.scope.relation(name) is not Relation.INSIDE:
                builder.add(self._pruned(below, name))
        return with_folder(entry, builder.finish())

    # -- files -----------------------------------------------------------------------------------

    def _read_file(self, frame: Frame, slot: Slot) -> None:
        result = slot.ticket
        assert isinstance(result, ReadFile | OSError)
        path = frame.live.path + slot.name
        if isinstance(result, OSError):
            self._not_read(frame, slot, result)
            return
        if result.info.st_nlink > 1:
            result = self._one_of_many(result)
        if not result.stable:
            self._context.report.problem(path, "changed while it was read: its last read is stored")
        self.totals.files += 1
        self.totals.regions += result.regions
        self.totals.data += result.data
        entry = make_entry(slot.name, result.info, content=result.content, xattrs=result.xattrs)
        entry = self._context.unrestored.apply(path, entry)
        flag = doubt(result.info, result.read_at_ns, self._context.granularity)
        if not result.stable:
            flag = RACY
        self._add_file(frame, entry, result.info, file_signature(result.info), flag)

    def _one_of_many(self, result: ReadFile) -> ReadFile:
        """All names of one file get what was read of it first."""
        inode = result.info.st_ino
        first = self._same_inode.get(inode)
        if first is not None and unchanged(first.info, result.info):
            return first
        if len(self._same_inode) >= MAX_SAME_INODE:
            self._same_inode.clear()
        self._same_inode[inode] = result
        return result

    def _not_read(self, frame: Frame, slot: Slot, error: OSError) -> None:
        if error.errno in GONE:
            return
        path = frame.live.path + slot.name
        if error.errno in REPLACED:
            error = OSError(error.errno, "replaced by something else meanwhile")
        self._context.report.failed(path, "read", error)
        self._as_before(frame, slot)

    def _special(self, frame: Frame, slot: Slot) -> None:
        """Symlinks, fifos, devices, and folders whose inside is left out."""
        assert slot.info is not None
        folder, info = frame.live.descriptor, slot.info
        try:
            if stat.S_ISDIR(info.st_mode):
                xattrs = read_xattrs(at(folder, slot.name), self._context.keep)
                hollow = DirectoryBuilder(self._context.writer.put_node).finish()
                entry = folder_entry(slot.name, info, xattrs, *hollow)
                frame.add(entry, UNKNOWN, RACY, False)
                return
            entry = special_entry(folder, slot.name, info, self._context.keep)
        except OSError as error:
            if error.errno == errno.EINVAL:
                error = OSError(errno.ENXIO, "replaced by something else meanwhile")
            self._not_read(frame, slot, error)
            return
        entry = self._context.unrestored.apply(frame.live.path + slot.name, entry)
        self._add_file(frame, entry, info, file_signature(info), CLEAN)

    def _add_file(
        self, frame: Frame, entry: Entry, info: StatLike, signature: bytes, flag: int
    ) -> None:
        """Add an entry that is no folder, with the hard-link group that is expected for it."""
        linked = info.st_nlink > 1
        group = None
        if linked:
            path = frame.live.path + entry.name
            group = self._context.links.expected(path)
            self._context.links.meet(path, info.st_ino, group)
        if group != entry.more.group:
            entry = with_group(entry, group)
        self._owner(entry)
        frame.add(entry, signature, flag, linked)

    def _owner(self, entry: Entry) -> None:
        self.owners[0].add(entry.uid)
        self.owners[1].add(entry.gid)

    # -- folders ---------------------------------------------------------------------------------

    def _close(self, frame: Frame) -> None:
        live = frame.live
        folder = frame.builder.finish()
        entry = self._folder_entry(frame, folder)
        self._owner(entry)
        if frame.complete:
            state = self._context.state
            state.put_some(live.info.st_ino, frame.before, frame.rows)
            state.end_folder(live.info.st_ino, frame.before, fresh=not live.rows)
        self._entries[live] = entry, folder_signature(entry)
        live.close()

    def _folder_entry(self, frame: Frame, folder: Folder) -> Entry:
        live = frame.live
        before = self._before(live.path) if not live.inside else None
        if before is not None and before.is_folder:
            return with_folder(before, folder)
        entry = folder_entry(live.name, live.info, live.xattrs, *folder)
        return self._context.unrestored.apply(live.path[:-1], entry)


def with_group(entry: Entry, group: tuple[int, bytes] | None) -> Entry:
    """The entry as a member of this hard-link group, or of none."""
    extras = replace(entry.more, group=group)
    return replace(entry, extras=None if extras == Extras() else extras)
