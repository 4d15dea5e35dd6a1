"""What stands in the way of moving the work tree from one stored tree to another.

Looks at each name that differs and changes nothing. A live name that is as the old tree has it may
go, one that is as the new tree has it may stay, and one that is not there is no loss. Anything else
is a change that is not committed: a conflict, which force may override; what is ignored, mounted or
a repository of its own is never deleted, so where it would have to go force does not help either.
Changes at names that do not differ are not looked at: they are carried along.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ..store.errors import storage_error
from ..store.nodes import Entry
from ..store.quoting import quote_path
from ..store.repository import Repository
from .known import Known, is_alike, own_metadata
from .placing import is_foreign
from .scan import RESERVED
from .scan_state import ScanState
from .side_by_side import Left, Met, Pair, is_folder, open_folder, side_by_side


@dataclass
class Findings:
    """`conflicts` are lost by a move, `never` cannot go. `equal` stand uncommitted as the target
    has them, `spared` are left alone. `clean` counts, by inode, the names of files of several names
    that differ and are as they were."""

    conflicts: list[bytes] = field(default_factory=list)
    never: list[bytes] = field(default_factory=list)
    equal: set[bytes] = field(default_factory=set)
    spared: set[bytes] = field(default_factory=set)
    clean: Counter[int] = field(default_factory=Counter)


def check(
    repository: Repository, state: ScanState, top: int, old: Entry | None, new: Entry
) -> Findings:
    """What a move of the live tree open as `top` would meet. StorageError."""
    with ThreadPoolExecutor(repository.threads, thread_name_prefix="compare") as pool:
        checker = _Checker(Known(repository, state, pool), os.fstat(top).st_dev)
        for event in side_by_side(repository.store, top, old, new, opener=open_folder):
            where = event.path if isinstance(event, Met) else event.pair.path
            try:
                if isinstance(event, Met):
                    checker.met(event)
                else:
                    checker.left(event)
            except OSError as error:
                raise storage_error(f"looking at {quote_path(where or b'.')}", error) from error
    return checker.found


class _Checker:
    def __init__(self, known: Known, device: int) -> None:
        self._known = known
        self._device = device
        self.found = Findings()

    def met(self, met: Met) -> None:
        info = met.info
        if info is None:
            if _is_only_touched(met):
                self._spare(met)
            return
        folder = stat.S_ISDIR(info.st_mode)
        if met.name.lower() == RESERVED:
            met.skip = True
            self.found.never.append(met.path)
        elif folder and is_foreign(met.pair.descriptor, met.name, info, self._device):
            self._foreign(met, info)
        else:
            rules = met.pair.rules
            ignored = bool(rules) and rules.excludes(met.path, folder)
            if folder:
                self._folder(met, None if ignored else met.old, ignored=ignored)
            else:
                self._other(met, info, None if ignored else met.old)

    def _foreign(self, met: Met, info: os.stat_result) -> None:
        """A mount point is an empty folder to us, a repository of its own nothing."""
        met.skip = True
        if met.new is None or (met.new.is_folder and info.st_dev != self._device):
            self._spare(met)
        else:
            self.found.never.append(met.path)

    def _spare(self, met: Met) -> None:
        met.skip = True
        met.pair.held = True
        self.found.spared.add(met.path)

    def _folder(self, met: Met, old: Entry | None, *, ignored: bool) -> None:
        """A live folder of our own."""
        if is_folder(met.new) or is_folder(old):
            return  # its own metadata and what is in it are looked at one by one
        if met.new is None:
            self._spare(met)
            return
        met.skip = True
        (self.found.never if ignored else self.found.conflicts).append(met.path)

    def _other(self, met: Met, info: os.stat_result, old: Entry | None) -> None:
        """A live name that is no folder."""
        folder, path, new = met.pair.descriptor, met.path, met.new
        known = self._known
        if old is not None and not old.is_folder and known.is_as(folder, path, info, old):
            if info.st_nlink > 1:
                self.found.clean[info.st_ino] += 1
            if new is not None and known.stores_came_late(folder, met.name, old, new):
                self.found.conflicts.append(path)
        elif new is not None and not new.is_folder and known.is_as(folder, path, info, new):
            self.found.equal.add(path)
        elif old is not None and _is_only_touched(met):
            self._spare(met)
        elif old is not None and not old.is_folder:
            self.found.conflicts.append(path)
        elif new is None:
            self._spare(met)
        elif self._is_listed(met):
            self.found.conflicts.append(path)

    def _is_listed(self, met: Met) -> bool:
        """Whether the folder has this very name: where letter case does not count, a stat finds the
        file of another name, too."""
        return met.name in map(os.fsencode, os.listdir(met.pair.descriptor))

    def left(self, left: Left) -> None:
        pair = left.pair
        if pair.descriptor < 0:
            return
        if pair.new is not None and pair.new.is_folder:
            self._metadata(pair, pair.new)
            return
        for name in sorted(set(map(os.fsencode, os.listdir(pair.descriptor))) - pair.names):
            if _has_to_go(pair):
                self._extra(pair, name)
            else:
                pair.held = True
        if pair.held and pair.parent is not None:
            pair.parent.held = True
            if pair.new is not None:
                self._held(pair)

    def _extra(self, pair: Pair, name: bytes) -> None:
        """A name that is not committed, in a folder that has to make room."""
        info = os.stat(name, dir_fd=pair.descriptor, follow_symlinks=False)
        folder = stat.S_ISDIR(info.st_mode)
        path = pair.path + name
        foreign = folder and is_foreign(pair.descriptor, name, info, self._device)
        if foreign or (pair.rules and pair.rules.excludes(path, folder)):
            self.found.never.append(path)
        else:
            self.found.conflicts.append(path)

    def _held(self, pair: Pair) -> None:
        """A folder that has to make room and cannot: say what is in it, where that is not said."""
        said = (*self.found.conflicts, *self.found.never)
        if not any(path.startswith(pair.path) for path in said):
            self.found.never.append(pair.path)

    def _metadata(self, pair: Pair, new: Entry) -> None:
        old = pair.old
        if old is None or not old.is_folder or own_metadata(old) == own_metadata(new):
            return
        if not self._known.folder_fits(pair.path[:-1], pair.descriptor, (old, new)):
            self.found.conflicts.append(pair.path or b".")


def _has_to_go(pair: Pair | None) -> bool:
    """Whether a folder, or one above it, stands where the target wants something else."""
    while pair is not None and pair.new is None:
        pair = pair.parent
    return pair is not None and not is_folder(pair.new)


def _is_only_touched(met: Met) -> bool:
    """Whether the trees differ in times only: what was done to such a name is carried along."""
    if met.old is None or met.new is None or met.old.is_folder != met.new.is_folder:
        return False
    if met.old.is_folder:
        return met.old.content == met.new.content
    return is_alike(met.old, met.new)
