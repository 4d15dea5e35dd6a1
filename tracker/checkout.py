"""Restore: brings a folder on disk to a stored tree, or part of it.

Walks the wanted tree folder by folder with the live one beside it, by open descriptors with
O_NOFOLLOW, so that no symlink planted on the way leads out. Only what differs is written: what the
state of the scan vouches for is compared by id, the rest by reading. Work goes through one queue
in order - files to the workers in batches, then hard links, then each folder's own metadata after
all that is in it - so that memory is bounded by the queue. Every step is also an `Action`, and a
dry run is the same walk that stops there.

In place, the state of the scan is brought up to date on the way, so that what was restored is not
read again by the next commit.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from ..store import content, directories
from ..store.content import block_count
from ..store.errors import storage_error
from ..store.nodes import Child, Entry, EntryKind
from ..store.progress import SILENT, Progress
from ..store.repository import Repository
from .file_writer import Change, FileTask, FileWriter, Written
from .ignore import NO_RULES, IgnoreRules
from .links import group_path
from .metadata import KINDS, XattrFilter, at, read_xattrs
from .placing import (
    apply_metadata,
    is_foreign,
    make_link,
    make_special,
    open_own_folder,
    remove,
    rules_in,
)
from .restore_plan import Action, Options, Result, What
from .restore_queue import Place, RestoreQueue
from .scan import FOLDER_FLAGS, RESERVED
from .scan_state import CLEAN, RACY, UNKNOWN, Part, ScanState, file_signature, folder_signature
from .scope import Relation
from .snapshot import xattr_filter
from .unrestored import Note, Unrestored

NOTES: Final = 1000


@dataclass(eq=False)
class _Frame:
    """A folder being restored. `descriptor` is -1 where a dry run finds none."""

    path: bytes
    entry: Entry
    descriptor: int
    inside: bool
    fresh: bool
    rules: IgnoreRules
    leaves: Iterator[Child]
    old: list[Part]
    parent: _Frame | None = None
    known: dict[bytes, tuple[Part, int]] = field(default_factory=dict)
    new: list[Part] = field(default_factory=list)
    names: set[bytes] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    position: int = 0
    leaf: Child | None = None
    signatures: list[bytes] = field(default_factory=list)


class Restorer:
    """One restore of a folder entry to `target`. `state` and `unrestored` are given in place and
    for a clone, None for another target. `run` may be called once."""

    def __init__(
        self,
        repository: Repository,
        wanted: Entry,
        target: Path,
        options: Options,
        *,
        state: ScanState | None = None,
        unrestored: Unrestored | None = None,
        progress: Progress = SILENT,
        on_action: Callable[[Action], None] = lambda _action: None,
    ) -> None:
        self._source = repository.store
        self._block_size = repository.block_size
        self._wanted = wanted
        self._target = target
        self._options = options
        self._state = state
        self._unrestored = unrestored
        self._on_action = on_action
        self._keep: XattrFilter = xattr_filter(repository)
        self._writer = FileWriter(
            repository.store,
            repository.block_size,
            self._keep,
            sparse=options.sparse,
            threads=repository.threads,
            progress=progress,
        )
        self._queue = RestoreQueue(self._writer, repository.block_size, self._written)
        self._groups: dict[bytes, tuple[bytes, int]] = {}
        self._inodes: dict[int, bytes] = {}
        self._notes: list[tuple[bytes, Note | None]] = []
        self.result = Result()

    def run(self) -> Result:
        descriptor = self._open_target()
        self._device = os.fstat(descriptor).st_dev if descriptor >= 0 else 0
        if self._state is not None and not self._options.dry_run:
            self._state.begin()
        top = self._frame(b"", self._wanted, descriptor, None, fresh=descriptor < 0)
        frames = [top]
        try:
            while frames:
                below = self._advance(frames[-1])
                if below is not None:
                    frames.append(below)
                elif self._at_end(frames[-1]):
                    self._leave(frames.pop())
            self._queue.finish()
            self._flush_notes()
            if self._state is not None and not self._options.dry_run:
                self._state.save(whole=False)
        finally:
            self._writer.close()
            for frame in frames:
                _close(frame.descriptor)
        return self.result

    def _open_target(self) -> int:
        """The open top folder; -1 where a dry run finds none."""
        try:
            return os.open(self._target, FOLDER_FLAGS)
        except FileNotFoundError:
            if self._options.dry_run:
                return -1
            raise
        except OSError as error:
            raise storage_error(f"opening {self._target}", error) from error

    # -- the walk --------------------------------------------------------------------------------

    def _frame(
        self, path: bytes, entry: Entry, descriptor: int, parent: _Frame | None, *, fresh: bool
    ) -> _Frame:
        relation = self._options.scope.relation(path[:-1]) if path else None
        inside = self._options.scope.whole or relation is Relation.INSIDE
        leaves = directories.leaves(self._source, entry.content)
        rules = parent.rules if parent else NO_RULES
        frame = _Frame(path, entry, descriptor, inside, fresh, rules, leaves, [], parent)
        if descriptor >= 0 and not fresh:
            if self._state is not None:
                frame.old = self._state.parts(os.fstat(descriptor).st_ino)
                for part in frame.old:
                    for position, name in enumerate(part.names):
                        frame.known[name] = part, position
            frame.rules = rules_in(frame.rules, descriptor, path)
        return frame

    def _at_end(self, frame: _Frame) -> bool:
        return frame.leaf is None and frame.position == len(frame.entries)

    def _advance(self, frame: _Frame) -> _Frame | None:
        """Handle names of a folder up to its next folder, which is returned, or its end."""
        while True:
            if frame.position == len(frame.entries):
                self._leaf_done(frame)
                frame.leaf = next(frame.leaves, None)
                frame.position = 0
                frame.entries = []
                if frame.leaf is None:
                    return None
                node = directories.load_leaf(self._source, frame.leaf.node)
                frame.entries = list(node.entries)
                frame.signatures = [UNKNOWN] * len(node.entries)
            entry = frame.entries[frame.position]
            frame.position += 1
            below = self._name(frame, entry, frame.position - 1)
            if below is not None:
                return below

    def _leaf_done(self, frame: _Frame) -> None:
        """Queue the state's row for a leaf behind the files in it."""
        leaf, entries, signatures = frame.leaf, frame.entries, frame.signatures
        if leaf is None or self._state is None:
            return

        def make() -> None:
            flags = bytes(RACY if item == UNKNOWN else CLEAN for item in signatures)
            frame.new.append(
                Part(
                    leaf.node,
                    leaf.files,
                    leaf.size,
                    not directories.closed_by_rule(entries),
                    any(entry.more.group for entry in entries),
                    [entry.name for entry in entries],
                    b"".join(signatures),
                    flags if any(flags) else b"",
                )
            )

        self._queue.step(make)

    def _name(self, frame: _Frame, entry: Entry, position: int) -> _Frame | None:
        path = frame.path + entry.name
        frame.names.add(entry.name)
        relation = Relation.INSIDE if frame.inside else self._options.scope.relation(path)
        if relation is Relation.OUTSIDE:
            return None
        if entry.name.lower() == RESERVED:
            self.result.report.problem(path, "not restored: the name is reserved")
            return None
        info = self._stat(frame, entry.name)
        if entry.is_folder:
            frame.signatures[position] = folder_signature(entry)
            return self._folder(frame, entry, info)
        if relation is Relation.ABOVE:
            return None
        if info is not None and KINDS.get(stat.S_IFMT(info.st_mode)) != entry.kind:
            self._act("replace", path)
            if not self._remove(frame, entry.name):
                what = "not restored: in its place, a folder holds what is never deleted"
                self.result.report.problem(path, what)
                return None
            info = None
        group = None
        if entry.more.group is not None:
            group = group_path(frame.path, entry.more.group)
        if info is not None and info.st_nlink > 1 and not self._may_share(group, info.st_ino):
            # Another name of this file is to stay as it is, or will be restored on its own.
            self._act("replace", path)
            self._remove(frame, entry.name)
            info = None
        if group is not None and self._link(frame, entry, group, info, position):
            return None
        if entry.kind == EntryKind.FILE:
            self._file(frame, entry, info, position)
        else:
            self._special(frame, entry, info, position)
        return None

    def _stat(self, frame: _Frame, name: bytes) -> os.stat_result | None:
        if frame.descriptor < 0:
            return None
        try:
            return os.stat(name, dir_fd=frame.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _act(self, what: What, path: bytes) -> None:
        self._on_action(Action(what, path))

    # -- folders ---------------------------------------------------------------------------------

    def _folder(self, frame: _Frame, entry: Entry, info: os.stat_result | None) -> _Frame | None:
        path = frame.path + entry.name
        dry = self._options.dry_run
        if info is not None and not stat.S_ISDIR(info.st_mode):
            self._act("replace", path)
            self._remove(frame, entry.name)
            info = None
        if info is not None and info.st_dev != self._device:
            self.result.report.problem(path, "not restored: a mount point")
            return None
        fresh = info is None
        try:
            if fresh:
                self._act("create", path + b"/")
                if dry:
                    return self._frame(path + b"/", entry, -1, frame, fresh=True)
                os.mkdir(entry.name, 0o700, dir_fd=frame.descriptor)
            if dry:
                descriptor = os.open(entry.name, FOLDER_FLAGS, dir_fd=frame.descriptor)
            else:
                descriptor = open_own_folder(frame.descriptor, entry.name)
        except OSError as error:
            self.result.report.failed(path, "restore the folder", error)
            return None
        return self._frame(path + b"/", entry, descriptor, frame, fresh=fresh)

    def _leave(self, frame: _Frame) -> None:
        """Queue what comes after all that is in the folder: deletions, then its own metadata."""

        def finish() -> None:
            try:
                if self._options.delete and frame.inside:
                    self._delete_rest(frame)
                if (frame.inside or frame.fresh) and frame.descriptor >= 0:
                    self._folder_metadata(frame)
                if self._state is not None and not self._options.dry_run:
                    inode = os.fstat(frame.descriptor).st_ino
                    self._state.put(inode, frame.old, frame.new)
            finally:
                _close(frame.descriptor)

        self._queue.step(finish)

    def _folder_metadata(self, frame: _Frame) -> None:
        entry = frame.entry
        info = os.fstat(frame.descriptor)
        live = (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns)
        wanted = (entry.mode, entry.uid, entry.gid, entry.mtime_ns)
        if live == wanted and read_xattrs(frame.descriptor, self._keep) == entry.more.xattrs:
            return
        self._act("metadata", frame.path)
        if self._options.dry_run:
            return
        try:
            note = apply_metadata(
                frame.descriptor, replace(entry, name=b"."), self._keep, frame.descriptor
            )
        except OSError as error:
            self.result.report.failed(frame.path, "restore the metadata of", error)
            return
        self._note(frame.path[:-1], note)

    def _delete_rest(self, frame: _Frame) -> None:
        if frame.descriptor < 0:
            return
        names = {os.fsencode(name) for name in os.listdir(frame.descriptor)} - frame.names
        for name in sorted(names):
            path = frame.path + name
            info = self._stat(frame, name)
            if info is None or name.lower() == RESERVED:
                continue
            is_folder = stat.S_ISDIR(info.st_mode)
            if frame.rules and frame.rules.excludes(path, is_folder):
                continue
            if is_folder and is_foreign(frame.descriptor, name, info, self._device):
                continue
            self._act("delete", path)
            self.result.deleted += self._remove(frame, name)

    def _remove(self, frame: _Frame, name: bytes) -> bool:
        """Whether the name is free now."""
        if self._options.dry_run or frame.descriptor < 0:
            return True
        return remove(frame.descriptor, name, frame.path + name, frame.rules)

    # -- files -----------------------------------------------------------------------------------

    def _known(self, frame: _Frame, name: bytes, info: os.stat_result) -> Entry | None:
        """The stored entry of a live file, when the state vouches for it."""
        found = frame.known.get(name)
        if found is None:
            return None
        part, position = found
        if part.signature(position) != file_signature(info) or part.flag(position) != CLEAN:
            return None
        leaf = directories.load_leaf(self._source, part.leaf)
        return leaf.entries[position]

    def _file(
        self, frame: _Frame, entry: Entry, info: os.stat_result | None, position: int
    ) -> None:
        path = frame.path + entry.name
        changes: list[Change] | None = None
        if info is None:
            self._act("create", path)
        else:
            known = self._known(frame, entry.name, info)
            if known is not None:
                if known == entry:
                    frame.signatures[position] = file_signature(info)
                    return
                changes = self._changes(known, entry)
            elif self._options.dry_run:
                self._compare(frame, entry, info)
                return
            self._act("update" if changes is None or changes else "metadata", path)
        if self._options.dry_run:
            return
        task = FileTask(frame.descriptor, path, entry, info is not None, changes)
        self._queue.file(task, (frame.signatures, position))

    def _compare(self, frame: _Frame, entry: Entry, info: os.stat_result) -> None:
        """Say in a dry run what would be done to a file of which only reading tells."""
        path = frame.path + entry.name
        try:
            if self._writer.content_differs(frame.descriptor, entry):
                self._act("update", path)
            elif self._metadata_differs(frame.descriptor, entry, info):
                self._act("metadata", path)
        except OSError as error:
            self.result.report.failed(path, "read", error)

    def _metadata_differs(self, folder: int, entry: Entry, info: os.stat_result) -> bool:
        mode = entry.mode if entry.kind == EntryKind.SYMLINK else stat.S_IMODE(info.st_mode)
        live = (mode, info.st_uid, info.st_gid, info.st_mtime_ns)
        if live != (entry.mode, entry.uid, entry.gid, entry.mtime_ns):
            return True
        return read_xattrs(at(folder, entry.name), self._keep) != entry.more.xattrs

    def _changes(self, known: Entry, entry: Entry) -> list[Change]:
        size = self._block_size
        blocks = block_count(entry.size, size)
        before = known.content, block_count(known.size, size)
        found = content.differences(self._source, before, (entry.content, blocks))
        return [(item.number, item.new) for item in found if item.number < blocks]

    def _written(self, task: FileTask, place: Place, written: Written) -> None:
        if written.error is not None:
            self.result.report.failed(task.path, "restore", written.error)
            return
        place[0][place[1]] = written.signature
        self.result.files += written.size > 0 or not task.exists
        self.result.size += written.size
        self._note(task.path, written.note)

    def _special(
        self, frame: _Frame, entry: Entry, info: os.stat_result | None, position: int
    ) -> None:
        path = frame.path + entry.name
        if info is not None and not self._special_fits(frame.descriptor, entry, info):
            self._act("replace", path)
            self._remove(frame, entry.name)
            info = None
        elif info is None:
            self._act("create", path)
        elif self._metadata_differs(frame.descriptor, entry, info):
            self._act("metadata", path)
        if self._options.dry_run:
            return
        try:
            if info is None:
                make_special(frame.descriptor, entry)
                self.result.files += 1
            note = apply_metadata(frame.descriptor, entry, self._keep)
            live = os.stat(entry.name, dir_fd=frame.descriptor, follow_symlinks=False)
        except OSError as error:
            self.result.report.failed(path, "restore", error)
            return
        frame.signatures[position] = file_signature(live)
        self._note(path, note)

    def _special_fits(self, folder: int, entry: Entry, info: os.stat_result) -> bool:
        if entry.kind == EntryKind.SYMLINK:
            return os.readlink(entry.name, dir_fd=folder) == entry.more.target
        return entry.kind == EntryKind.FIFO or info.st_rdev == entry.more.device

    # -- hard links ------------------------------------------------------------------------------

    def _may_share(self, group: bytes | None, inode: int) -> bool:
        """Whether a live file of several names may be written, or kept, as one of this group: the
        first that meets it has it."""
        return group is not None and self._inodes.setdefault(inode, group) == group

    def _link(
        self,
        frame: _Frame,
        entry: Entry,
        group: bytes,
        info: os.stat_result | None,
        position: int,
    ) -> bool:
        """Queue a link to the name of the group that was restored first; False for that one."""
        path = frame.path + entry.name
        first, inode = self._groups.setdefault(group, (path, info.st_ino if info else 0))
        if first == path:
            return False
        signatures = frame.signatures

        def link() -> None:
            try:
                signatures[position], made = make_link(
                    self._target, first, frame.descriptor, entry.name
                )
                self.result.files += made
            except OSError as error:
                self.result.report.failed(path, "link", error)

        if info is None or info.st_ino != inode:
            self._act("link", path)
        if not self._options.dry_run:
            self._queue.step(link)
        return True

    # -- what could not be restored --------------------------------------------------------------

    def _note(self, path: bytes, note: Note | None) -> None:
        if note is not None and (note.live_uid, note.live_gid) != (note.uid, note.gid):
            self.result.unowned += 1
        if self._unrestored is not None:
            self._notes.append((path, note))
            if len(self._notes) >= NOTES:
                self._flush_notes()

    def _flush_notes(self) -> None:
        if self._unrestored is not None and self._notes:
            self._unrestored.record(self._notes)
        self._notes = []


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)
