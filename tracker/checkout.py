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
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from ..store import directories
from ..store.errors import storage_error
from ..store.nodes import Entry
from ..store.progress import SILENT, Progress
from ..store.repository import Repository
from .ignore import NO_RULES
from .metadata import read_xattrs
from .placing import apply_metadata, is_foreign, open_own_folder, rules_in
from .restore_entries import EntryRestorer, Frame, signature_of
from .restore_plan import Action, Options, Result
from .scan import FOLDER_FLAGS, RESERVED
from .scan_state import CLEAN, RACY, UNKNOWN, Part, ScanState, folder_signature, parts_of, row_of
from .scope import Relation
from .unrestored import Unrestored


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
        self._wanted = wanted
        self._target = target
        self._options = options
        self._state = state
        self._entries = EntryRestorer(
            repository,
            target,
            options,
            unrestored=unrestored,
            progress=progress,
            on_action=on_action,
        )
        self.result = self._entries.result

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
            self._entries.finish()
            if self._state is not None and not self._options.dry_run:
                self._state.save(whole=False)
        finally:
            self._entries.close()
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
        self, path: bytes, entry: Entry, descriptor: int, parent: Frame | None, *, fresh: bool
    ) -> Frame:
        relation = self._options.scope.relation(path[:-1]) if path else None
        inside = self._options.scope.whole or relation is Relation.INSIDE
        leaves = directories.leaves(self._source, entry.content)
        rules = parent.rules if parent else NO_RULES
        frame = Frame(path, entry, descriptor, inside, fresh, rules, leaves, [], parent)
        if descriptor >= 0 and self._state is not None:
            # Of a fresh folder, too: the number may have been that of one that was deleted.
            frame.old = self._state.rows(os.fstat(descriptor).st_ino)
        if descriptor >= 0 and not fresh:
            for part in parts_of(frame.old):
                for position, name in enumerate(part.names):
                    frame.known[name] = part, position
            frame.rules = rules_in(frame.rules, descriptor, path)
        return frame

    def _at_end(self, frame: Frame) -> bool:
        return frame.leaf is None and frame.position == len(frame.entries)

    def _advance(self, frame: Frame) -> Frame | None:
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

    def _leaf_done(self, frame: Frame) -> None:
        """Queue the state's row for a leaf behind the files in it."""
        leaf, entries, signatures = frame.leaf, frame.entries, frame.signatures
        if leaf is None or self._state is None:
            return

        def make() -> None:
            flags = bytes(RACY if item == UNKNOWN else CLEAN for item in signatures)
            part = Part(
                leaf.node,
                leaf.files,
                leaf.size,
                not directories.closed_by_rule(entries),
                any(entry.more.group for entry in entries),
                [entry.name for entry in entries],
                b"".join(signatures),
                flags if any(flags) else b"",
            )
            frame.new.append(row_of(part))

        self._entries.queue.step(make)

    def _name(self, frame: Frame, entry: Entry, position: int) -> Frame | None:
        path = frame.path + entry.name
        frame.names.add(entry.name)
        relation = Relation.INSIDE if frame.inside else self._options.scope.relation(path)
        if relation is Relation.OUTSIDE:
            return None
        if entry.name.lower() == RESERVED:
            self.result.report.problem(path, "not restored: the name is reserved")
            return None
        # Who puts something into a folder that we have just made is met when it is in the way.
        info = None if frame.fresh else self._stat(frame, entry.name)
        if entry.is_folder:
            frame.signatures[position] = folder_signature(entry)
            return self._folder(frame, entry, info)
        if relation is Relation.INSIDE:
            self._entries.restore(frame, entry, info, position)
        return None

    def _stat(self, frame: Frame, name: bytes) -> os.stat_result | None:
        if frame.descriptor < 0:
            return None
        try:
            return os.stat(name, dir_fd=frame.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    # -- folders ---------------------------------------------------------------------------------

    def _folder(self, frame: Frame, entry: Entry, info: os.stat_result | None) -> Frame | None:
        path = frame.path + entry.name
        dry, before = self._options.dry_run, signature_of(info)
        if info is not None and not stat.S_ISDIR(info.st_mode):
            if not self._entries.replaced(frame, entry.name, before):
                return None
            info = None
        if info is not None and info.st_dev != self._device:
            self.result.report.problem(path, "not restored: a mount point")
            return None
        fresh = info is None
        try:
            if fresh:
                self._entries.act("create", path + b"/")
                if dry:
                    return self._frame(path + b"/", entry, -1, frame, fresh=True)
                os.mkdir(entry.name, 0o700, dir_fd=frame.descriptor)
            if dry:
                descriptor = os.open(entry.name, FOLDER_FLAGS, dir_fd=frame.descriptor)
            else:
                descriptor = open_own_folder(frame.descriptor, entry.name)
        except OSError as error:
            self._entries.failed(frame.descriptor, path, before, "restore the folder", error)
            return None
        return self._frame(path + b"/", entry, descriptor, frame, fresh=fresh)

    def _leave(self, frame: Frame) -> None:
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

        self._entries.queue.step(finish)

    def _folder_metadata(self, frame: Frame) -> None:
        entry = frame.entry
        info = os.fstat(frame.descriptor)
        live = (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns)
        wanted = (entry.mode, entry.uid, entry.gid, entry.mtime_ns)
        keep = self._entries.keep
        if live == wanted and read_xattrs(frame.descriptor, keep) == entry.more.xattrs:
            return
        self._entries.act("metadata", frame.path)
        if self._options.dry_run:
            return
        try:
            note = apply_metadata(
                frame.descriptor, replace(entry, name=b"."), keep, frame.descriptor
            )
        except OSError as error:
            self._entries.folder_failed(frame.path[:-1], error)
            return
        self._entries.note(frame.path[:-1], note)

    def _delete_rest(self, frame: Frame) -> None:
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
            self._entries.act("delete", path)
            try:
                self.result.deleted += self._entries.remove(frame, name)
            except OSError as error:
                self.result.report.failed(path, "delete", error)


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)
