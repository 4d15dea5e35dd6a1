"""What a restore does to one name: a file, a special file or a hard link.

Files go to the workers through the queue, and so do links, behind the file they name; special files
are made at once. The walk over folders is in `checkout`. Used by the one thread that drives the
restore.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..store import content, directories
from ..store.content import block_count
from ..store.nodes import Child, Entry, EntryKind
from ..store.progress import Progress
from ..store.repository import Repository
from .file_writer import FileWriter
from .ignore import IgnoreRules
from .links import group_path
from .metadata import KINDS, XattrFilter, at, read_xattrs
from .placing import REFUSED, apply_metadata, make_link, make_special, remove
from .restore_plan import Action, Options, Result, What
from .restore_queue import Place, RestoreQueue
from .scan_state import CLEAN, UNKNOWN, Part, Row, file_signature
from .small_files import Change, FileTask, Written
from .snapshot import xattr_filter
from .unrestored import Note, Unrestored

NOTES: Final = 1000


@dataclass(eq=False)
class Frame:
    """A folder being restored. `descriptor` is -1 where a dry run finds none."""

    path: bytes
    entry: Entry
    descriptor: int
    inside: bool
    fresh: bool
    rules: IgnoreRules
    leaves: Iterator[Child]
    old: list[Row]
    parent: Frame | None = None
    known: dict[bytes, tuple[Part, int]] = field(default_factory=dict)
    new: list[Row] = field(default_factory=list)
    names: set[bytes] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    position: int = 0
    leaf: Child | None = None
    signatures: list[bytes] = field(default_factory=list)


def signature_of(info: os.stat_result | None) -> bytes:
    """Empty for nothing there."""
    return file_signature(info) if info is not None else b""


def _signature_at(folder: int, name: bytes) -> bytes:
    try:
        return signature_of(os.stat(name, dir_fd=folder, follow_symlinks=False))
    except FileNotFoundError:
        return b""
    except OSError:
        return UNKNOWN


class EntryRestorer:
    """Brings single names to their entries: what is no folder at once or through the queue, and of
    folders what they have in common with it. `result` is what was done so far. `trust`: the highest
    doubt under which the state vouches for a file; `shareable`: whether one of several names may be
    written in place."""

    def __init__(
        self,
        repository: Repository,
        target: Path,
        options: Options,
        *,
        unrestored: Unrestored | None,
        progress: Progress,
        on_action: Callable[[Action], None],
        trust: int = CLEAN,
        shareable: Callable[[os.stat_result], bool] = lambda _info: True,
    ) -> None:
        self._trust = trust
        self._shareable = shareable
        self._source = repository.store
        self._block_size = repository.block_size
        self._target = target
        self._options = options
        self._unrestored = unrestored
        self._on_action = on_action
        self.keep: XattrFilter = xattr_filter(repository)
        self._writer = FileWriter(repository, self.keep, sparse=options.sparse, progress=progress)
        self.queue = RestoreQueue(self._writer, repository.block_size, self._written, progress)
        self._groups: dict[bytes, tuple[bytes, int]] = {}
        self._inodes: dict[int, bytes] = {}
        self._failed_groups: set[bytes] = set()
        self._notes: list[tuple[bytes, Note | None]] = []
        self.result = Result()

    def finish(self) -> None:
        """Do all that is queued."""
        self.queue.finish()
        self._flush_notes()

    def close(self) -> None:
        self._writer.close()

    def restore(
        self, frame: Frame, entry: Entry, info: os.stat_result | None, position: int
    ) -> None:
        """Bring a name that is to be no folder to its entry; `info`: what is there."""
        before = signature_of(info)
        if info is not None and KINDS.get(stat.S_IFMT(info.st_mode)) != entry.kind:
            if not self.replaced(frame, entry.name, before):
                return
            info = None
        group = None
        if entry.more.group is not None:
            group = group_path(frame.path, entry.more.group)
        if info is not None and info.st_nlink > 1 and not self._may_share(group, info):
            # Another name of this file is to stay as it is, or will be restored on its own.
            if not self.replaced(frame, entry.name, before):
                return
            info = None
        if group is not None and self._link(frame, entry, group, info, position, before):
            return
        if entry.kind == EntryKind.FILE:
            self._file(frame, entry, info, position, before)
        else:
            self._special(frame, entry, info, position, before)

    def act(self, what: What, path: bytes) -> None:
        self._on_action(Action(what, path))

    def replaced(self, frame: Frame, name: bytes, before: bytes) -> bool:
        """Delete what is in the way of an entry; False where it could not be, which is said."""
        path = frame.path + name
        self.act("replace", path)
        try:
            if self.remove(frame, name):
                return True
        except OSError as error:
            self.failed(frame.descriptor, path, before, "replace", error)
            return False
        what = "not restored: in its place, a folder holds what is never deleted"
        self.result.broken += 1
        self.result.report.problem(path, what)
        return False

    def remove(self, frame: Frame, name: bytes) -> bool:
        """Whether the name is free now. OSError where it cannot be deleted."""
        if self._options.dry_run or frame.descriptor < 0:
            return True
        return remove(frame.descriptor, name, frame.path + name, frame.rules)

    # -- files -----------------------------------------------------------------------------------

    def _known(self, frame: Frame, name: bytes, info: os.stat_result) -> Entry | None:
        """The stored entry of a live file, when the state vouches for it."""
        found = frame.known.get(name)
        if found is None:
            return None
        part, position = found
        if part.signature(position) != file_signature(info) or part.flag(position) > self._trust:
            return None
        leaf = directories.load_leaf(self._source, part.leaf)
        return leaf.entries[position]

    def _file(
        self,
        frame: Frame,
        entry: Entry,
        info: os.stat_result | None,
        position: int,
        before: bytes,
    ) -> None:
        path = frame.path + entry.name
        changes: list[Change] | None = None
        if info is None:
            self.act("create", path)
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
            self.act("update" if changes is None or changes else "metadata", path)
        if self._options.dry_run:
            return
        task = FileTask(frame.descriptor, path, entry, info is not None, changes, before)
        self.queue.file(task, (frame.signatures, position))

    def _compare(self, frame: Frame, entry: Entry, info: os.stat_result) -> None:
        """Say in a dry run what would be done to a file of which only reading tells."""
        path = frame.path + entry.name
        try:
            if self._writer.content_differs(frame.descriptor, entry):
                self.act("update", path)
            elif self._metadata_differs(frame.descriptor, entry, info):
                self.act("metadata", path)
        except OSError as error:
            self.result.report.failed(path, "read", error)

    def _metadata_differs(self, folder: int, entry: Entry, info: os.stat_result) -> bool:
        mode = entry.mode if entry.kind == EntryKind.SYMLINK else stat.S_IMODE(info.st_mode)
        live = (mode, info.st_uid, info.st_gid, info.st_mtime_ns)
        if live != (entry.mode, entry.uid, entry.gid, entry.mtime_ns):
            return True
        return read_xattrs(at(folder, entry.name), self.keep) != entry.more.xattrs

    def _changes(self, known: Entry, entry: Entry) -> list[Change]:
        size = self._block_size
        blocks = block_count(entry.size, size)
        before = known.content, block_count(known.size, size)
        found = content.differences(self._source, before, (entry.content, blocks))
        return [(item.number, item.new) for item in found if item.number < blocks]

    def _written(self, task: FileTask, place: Place, written: Written) -> None:
        if written.failure is not None:
            self._not_written(task, written.failure.os_error(), refused=written.refused)
            return
        place[0][place[1]] = written.signature
        self.result.files += written.size > 0 or not task.exists
        self.result.size += written.size
        self.note(task.path, written.note)

    def _not_written(self, task: FileTask, error: OSError, *, refused: bool) -> None:
        if task.entry.more.group is not None:
            self._failed_groups.add(task.path)
        if refused:
            self.result.report.failed(task.path, "restore the metadata of", error)
        else:
            self.failed(task.folder, task.path, task.before, "restore", error, written=True)

    def _special(
        self,
        frame: Frame,
        entry: Entry,
        info: os.stat_result | None,
        position: int,
        before: bytes,
    ) -> None:
        path = frame.path + entry.name
        if info is not None and not self._special_fits(frame.descriptor, entry, info):
            if not self.replaced(frame, entry.name, before):
                return
            info = None
        elif info is None:
            self.act("create", path)
        elif self._metadata_differs(frame.descriptor, entry, info):
            self.act("metadata", path)
        if self._options.dry_run:
            return
        try:
            if info is None:
                make_special(frame.descriptor, entry)
                self.result.files += 1
            note = apply_metadata(frame.descriptor, entry, self.keep)
            live = os.stat(entry.name, dir_fd=frame.descriptor, follow_symlinks=False)
        except OSError as error:
            self.failed(frame.descriptor, path, before, "restore", error)
            return
        frame.signatures[position] = file_signature(live)
        self.note(path, note)

    def _special_fits(self, folder: int, entry: Entry, info: os.stat_result) -> bool:
        if entry.kind == EntryKind.SYMLINK:
            return os.readlink(entry.name, dir_fd=folder) == entry.more.target
        return entry.kind == EntryKind.FIFO or info.st_rdev == entry.more.device

    # -- hard links ------------------------------------------------------------------------------

    def knows_group(self, group: bytes) -> bool:
        """Whether a name of this hard-link group was met."""
        return group in self._groups

    def seed_group(self, group: bytes, inode: int) -> None:
        """Link the names of a group to a file that stays as it is, at the group's own path."""
        self._groups[group] = group, inode

    def _may_share(self, group: bytes | None, info: os.stat_result) -> bool:
        """Whether a live file of several names may be written, or kept, as one of this group: the
        first that meets it has it."""
        if group is None or not self._shareable(info):
            return False
        return self._inodes.setdefault(info.st_ino, group) == group

    def _link(
        self,
        frame: Frame,
        entry: Entry,
        group: bytes,
        info: os.stat_result | None,
        position: int,
        before: bytes,
    ) -> bool:
        """Queue a link to the name of the group that was restored first; False for that one."""
        path = frame.path + entry.name
        first, inode = self._groups.setdefault(group, (path, info.st_ino if info else 0))
        if first == path:
            return False
        signatures = frame.signatures

        def link() -> None:
            try:
                found, made = make_link(self._target, first, frame.descriptor, entry.name)
            except OSError as error:
                self.failed(frame.descriptor, path, before, "link", error)
                return
            self.result.files += made
            if first not in self._failed_groups:
                signatures[position] = found

        if info is None or info.st_ino != inode:
            self.act("link", path)
        if not self._options.dry_run:
            self.queue.step(link)
        return True

    # -- what could not be restored --------------------------------------------------------------

    def failed(
        self,
        folder: int,
        path: bytes,
        before: bytes,
        action: str,
        error: OSError,
        *,
        written: bool = False,
    ) -> None:
        """Say what failed at a path, and note it if it is half restored now. `before`: the
        signature of what was there; `written`: it was the content of a file."""
        self.result.report.failed(path, action, error)
        self.result.broken += error.errno not in REFUSED
        name = path.rsplit(b"/", 1)[-1]
        if self._is_half(path, _signature_at(folder, name) != before, error, written=written):
            self.result.left_half(path)

    def folder_failed(self, path: bytes, error: OSError) -> None:
        """Say that a folder, restored otherwise, did not get its own metadata."""
        self.result.report.failed(path or b".", "restore the metadata of", error)
        if error.errno not in REFUSED:
            self.result.broken += 1
            self.result.left_half(path)

    def _is_half(self, path: bytes, moved: bool, error: OSError, *, written: bool) -> bool:
        earlier = self._options.earlier
        if error.errno in REFUSED and not (written and moved):
            # Trying again would not help, so what is there may be kept; unless an earlier restore
            # is known to have left it so.
            return earlier is not None and earlier.left(path)
        if earlier is None:
            return moved
        return moved or earlier.failed is None or earlier.left(path)

    def note(self, path: bytes, note: Note | None) -> None:
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
