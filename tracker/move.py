"""A move: the live tree brought from one stored tree to another, in place, at the cost of what
differs. Changes that are not committed, at names that do not differ, are carried along.

Checked first (`move_check`), then noted durably in the restore log, then done in two passes: what
only the old tree has is deleted - first, so that where letter case does not count a renamed file
survives - and then what the new tree has is written, of files only the blocks that differ. All of
it is made durable; only then HEAD may move, and after it the log goes. A move that was interrupted
is done once more without the check, or backwards, and comes out the same: names that the check
found to be somebody's own are in the log.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from ..store import trees
from ..store.errors import Conflict, StorageError, storage_error
from ..store.nodes import Entry, Extras
from ..store.progress import SILENT, Progress
from ..store.quoting import quote_path
from ..store.repository import Repository
from . import restore_log
from .folder_chain import FolderChain
from .follow import follow_head
from .known import Known, own_metadata
from .links import group_path
from .live_top import scan_state
from .metadata import read_xattrs
from .move_check import Findings, check
from .move_state import FolderState
from .placing import apply_metadata, open_own_folder
from .restore_entries import EntryRestorer, Frame, signature_of
from .restore_log import Move
from .restore_plan import Options, Result
from .scan import FOLDER_FLAGS
from .scan_state import MAPPED, UNKNOWN
from .side_by_side import Met, Pair, is_folder, side_by_side
from .touched import Touched
from .unrestored import Unrestored

LISTED: Final = 5


def begin(
    repository: Repository,
    top: Path,
    move: Move,
    commit: str,
    *,
    force: bool = False,
    rescue: str = "",
    later: tuple[bytes, bytes] | None = None,
    progress: Progress = SILENT,
) -> Result:
    """Do a move, to this commit, whose log stays until `end`: the caller moves HEAD between. The
    commit lock is held. Conflict, before anything was changed, when changes that are not committed
    would be lost, with `rescue` as the hint, or would be by a `later` move between these roots;
    StorageError when something could not be done, and the log stays."""
    descriptor = _open(top)
    try:
        state = scan_state(repository, top)
        old, new = _top_of(repository, move.base), _top_of(repository, move.target)
        assert new is not None
        progress.begin("comparing")
        found = check(repository, state, descriptor, old, new)
        if later is not None:
            ends = [trees.load_root(repository.store, root).top for root in later]
            found.conflicts += check(repository, state, descriptor, *ends).conflicts
        _refuse(found, force, rescue)
        equal, spared = tuple(sorted(found.equal)), tuple(sorted(found.spared))
        move = move._replace(equal=equal, spared=spared)
        restore_log.begin(repository, restore_log.Restore(commit, (), False, (), move))
        mover = _Mover(repository, top, descriptor, move, found, progress)
        return mover.run(old, new, equal=found.equal, spared=found.spared)
    finally:
        os.close(descriptor)


def again(
    repository: Repository, top: Path, move: Move, *, back: bool, progress: Progress = SILENT
) -> Result:
    """Finish a move that was interrupted, or undo it; as `begin`."""
    descriptor = _open(top)
    try:
        old, new = _top_of(repository, move.base), _top_of(repository, move.target)
        equal, spared = set(move.equal), set(move.spared)
        mover = _Mover(repository, top, descriptor, move, Findings(), progress)
        if back:
            return mover.run(new, old, equal=equal, spared=equal | spared)
        return mover.run(old, new, equal=equal, spared=spared)
    finally:
        os.close(descriptor)


def end(repository: Repository) -> None:
    """HEAD is where the move wants it."""
    restore_log.end(repository)
    follow_head(repository)


def _open(top: Path) -> int:
    try:
        return os.open(top, FOLDER_FLAGS)
    except OSError as error:
        raise storage_error(f"opening {top}", error) from error


def _top_of(repository: Repository, root: bytes) -> Entry | None:
    return trees.load_root(repository.store, root).top if root else None


def _refuse(found: Findings, force: bool, rescue: str) -> None:
    if found.never:
        raise Conflict(
            f"in the way, and never deleted: {_names(found.never)}",
            hint="what is ignored, mounted or a repository of its own has to be moved by hand",
        )
    if found.conflicts and not force:
        raise Conflict(
            f"uncommitted changes would be lost: {_names(found.conflicts)}",
            hint=rescue,
        )


def _names(paths: Iterable[bytes]) -> str:
    listed = sorted(paths)
    names = ", ".join(quote_path(path) for path in listed[:LISTED])
    return names + (f" and {len(listed) - LISTED} more" if len(listed) > LISTED else "")


class _Mover:
    """One run of both passes."""

    def __init__(
        self,
        repository: Repository,
        top: Path,
        descriptor: int,
        move: Move,
        found: Findings,
        progress: Progress,
    ) -> None:
        self._repository = repository
        self._source = repository.store
        self._top = top
        self._descriptor = descriptor
        self._move = move
        self._found = found
        self._progress = progress
        self._state = scan_state(repository, top)
        self._entries = EntryRestorer(
            repository,
            top,
            Options(),
            unrestored=Unrestored(repository),
            progress=progress,
            on_action=lambda _action: None,
            trust=MAPPED,
            shareable=self._may_be_written,
        )
        self.result = self._entries.result
        self._folders: dict[Pair, tuple[Frame, FolderState]] = {}
        self._touched = Touched(repository, top)
        """Every name that differs and the folders of them all: also what a run before this one,
        which was interrupted, has written and did not make durable."""

    def _may_be_written(self, info: os.stat_result) -> bool:
        """Whether all names of a file are ours and differ: through another one, a write in place
        would change what is not committed."""
        return self._found.clean[info.st_ino] == info.st_nlink

    def run(
        self, old: Entry | None, new: Entry | None, *, equal: set[bytes], spared: set[bytes]
    ) -> Result:
        """The live tree from `old` to `new`. What is `equal` is not deleted, what is `spared` not
        touched."""
        self._progress.begin("writing")
        self._equal, self._spared = equal, spared
        self._new = new
        self._state.begin()
        try:
            self._delete(old, new)
            self._write(old, new)
            self._entries.finish()
            self._touched.sync()
            self._state.save(whole=False)
        except OSError as error:
            raise storage_error("moving the work tree", error) from error
        finally:
            self._entries.close()
        if self.result.broken:
            first = self.result.report.problems[0]
            raise StorageError(
                f"the {self._move.verb} is not finished: {quote_path(first.path)}: {first.what}",
                hint="run it again when that is mended; treering status says how to go back",
            )
        return self.result

    # -- what only the old tree has --------------------------------------------------------------

    def _delete(self, old: Entry | None, new: Entry | None) -> None:
        walk = side_by_side(self._source, self._descriptor, old, new, opener=open_own_folder)
        for event in walk:
            if isinstance(event, Met):
                self._doom(event)
            elif event.pair.parent is not None:
                self._empty(event.pair, event.pair.parent)

    def _doom(self, met: Met) -> None:
        if met.old is None or met.path in self._spared or met.path in self._equal:
            met.skip = True
        elif met.old.is_folder:
            met.skip = met.info is None
        else:
            met.skip = True
            if met.new is None and met.info is not None:
                self._remove(met.pair, met.name)

    def _empty(self, pair: Pair, parent: Pair) -> None:
        """A folder of the old tree goes when nothing is left in it."""
        if is_folder(pair.old) and not is_folder(pair.new) and pair.descriptor >= 0:
            try:
                os.rmdir(pair.name, dir_fd=parent.descriptor)
                self.result.deleted += 1
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    self._failed(pair.path, error)

    def _remove(self, pair: Pair, name: bytes) -> None:
        try:
            self.result.deleted += self._entries.remove(self._frame(pair), name)
        except OSError as error:
            self._failed(pair.path + name, error)

    def _failed(self, path: bytes, error: OSError) -> None:
        self.result.report.failed(path, "delete", error)
        self.result.broken += 1

    # -- what the new tree has -------------------------------------------------------------------

    def _write(self, old: Entry | None, new: Entry | None) -> None:
        queue = self._entries.queue

        def close(descriptor: int) -> None:
            queue.step(lambda: os.close(descriptor))

        walk = side_by_side(
            self._source, self._descriptor, old, new, opener=open_own_folder, closer=close
        )
        for event in walk:
            if isinstance(event, Met):
                self._put(event)
            else:
                self._finish(event.pair)

    def _put(self, met: Met) -> None:
        if met.new is None or met.path in self._spared or met.pair.descriptor < 0:
            met.skip = True
        elif met.new.is_folder:
            self._make_folder(met)
        else:
            met.skip = True
            self._put_other(met, met.new)

    def _make_folder(self, met: Met) -> None:
        frame, info = self._frame(met.pair), met.info
        if info is not None and stat.S_ISDIR(info.st_mode):
            return
        before = signature_of(info)
        if info is not None and not self._entries.replaced(frame, met.name, before):
            met.skip = True
            return
        try:
            os.mkdir(met.name, 0o700, dir_fd=frame.descriptor)
        except OSError as error:
            met.skip = True
            self._entries.failed(frame.descriptor, met.path, before, "make the folder", error)

    def _put_other(self, met: Met, new: Entry) -> None:
        frame, state = self._frame(met.pair), self._folders[met.pair][1]
        if new.is_file and new.more.group is None:
            self._touched.add(met.path)
        else:
            self._touched.add_other()
        found = state.find(met.name)
        frame.known = {} if found is None else {met.name: found}
        group = None if new.more.group is None else group_path(frame.path, new.more.group)
        if group is not None and group != met.path and not self._entries.knows_group(group):
            self._seed(group, new)
        state.places[met.name] = len(frame.signatures)
        frame.signatures.append(UNKNOWN)
        self._entries.restore(frame, new, met.info, len(frame.signatures) - 1)

    def _seed(self, group: bytes, new: Entry) -> None:
        """A new name of a file whose first name does not differ is linked to it, if that is as the
        tree has it; else it becomes a file of its own, with what it should hold."""
        parent, _, name = group.rpartition(b"/")
        with FolderChain(self._descriptor) as chain, suppress(OSError):
            folder = chain.reach(parent)
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if self._is_as(folder, group, info, new):
                self._entries.seed_group(group, info.st_ino)

    def _is_as(self, folder: int, path: bytes, info: os.stat_result, entry: Entry) -> bool:
        """Read where the state does not tell: a deleted name has moved the file's ctime."""
        with ThreadPoolExecutor(self._repository.threads, thread_name_prefix="compare") as pool:
            return Known(self._repository, self._state, pool).is_as(folder, path, info, entry)

    def _frame(self, pair: Pair) -> Frame:
        if pair not in self._folders:
            entry = pair.new or pair.old
            assert entry is not None
            frame = Frame(pair.path, entry, pair.descriptor, True, False, pair.rules, iter(()), [])
            self._folders[pair] = frame, FolderState(self._source, self._state, pair.descriptor)
        return self._folders[pair][0]

    def _finish(self, pair: Pair) -> None:
        """Queue what comes after all that is in a folder."""
        new = pair.new
        if pair.descriptor < 0 or new is None or not new.is_folder:
            self._folders.pop(pair, None)
            return
        self._touched.add(pair.path)
        frame = self._frame(pair)
        _, state = self._folders.pop(pair)

        def finish() -> None:
            try:
                self._folder_metadata(pair, new)
            except OSError as error:
                self._entries.folder_failed(pair.path[:-1], error)
            state.put(pair.old if is_folder(pair.old) else None, new, frame.signatures)

        self._entries.queue.step(finish)

    def _folder_metadata(self, pair: Pair, new: Entry) -> None:
        old, info, keep = pair.old, pair.info, self._entries.keep
        goal = replace(new, name=b".")
        carried = old is not None and old.is_folder and own_metadata(old) == own_metadata(new)
        # The owner was given the right to write in it: that is no change of his.
        if carried and info is not None and stat.S_IMODE(info.st_mode) != new.mode | 0o700:
            goal = replace(goal, mode=stat.S_IMODE(info.st_mode))
        if carried and info is not None:
            xattrs = read_xattrs(pair.descriptor, keep)
            extras = Extras(xattrs) if xattrs else None
            goal = replace(goal, uid=info.st_uid, gid=info.st_gid, extras=extras)
        note = apply_metadata(pair.descriptor, goal, keep, pair.descriptor)
        if not carried:
            self._entries.note(pair.path[:-1], note)
