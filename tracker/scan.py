"""The walk over the live tree, compared with the state of the scan as it goes.

Depth first, in name order, by open folder descriptors only: no path is resolved twice, none is too
long, no symlink is followed. For each folder the walk yields `Opened`; then for each *group* of
names - those of one leaf of the state, or up to 1,024 new ones - `Filled`, all that lies below its
folders, and the `Group`; then `Closed`. Nothing is read but names, stats and folder xattrs;
`on_file` hands every changed regular file out as soon as it is met, so that reading runs ahead.

What it leaves out: `.treering`, what the rules ignore, sockets (counted), mount points (an empty
folder stays) and nested repositories (said). Unreadable folders become a slot without an entry.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .ignore import FILE_NAME, NO_RULES, IgnoreRules, read_rules
from .metadata import KINDS, XattrFilter, Xattrs, read_xattrs
from .report import Report
from .scan_state import CLEAN, SIGNATURE, Part, Row, ScanState, file_signature, parts_of
from .scope import EVERYTHING, Relation, Scope

RESERVED: Final = b".treering"
GROUP: Final = 1024
FOLDER_FLAGS: Final = (
    os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
)
ENCODING: Final = sys.getfilesystemencoding()
"""With surrogateescape this is `os.fsencode`, which takes five times as long."""


@dataclass(eq=False)
class LiveFolder:
    """An open folder of the live tree. `path` is empty or ends in a slash. `scope` says whether it
    is wholly inside the command's scope. Whoever handles `Closed` closes it."""

    path: bytes
    name: bytes
    descriptor: int
    info: os.stat_result
    xattrs: Xattrs
    rows: list[Row]
    rules: IgnoreRules
    inside: bool

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@dataclass(eq=False, slots=True)
class Slot:
    """One name of a group. `info` is its stat, None when there is none or the name is gone.

    `kept`: the position in the group's part whose signature still fits, or -1. `folder`: the live
    folder, for one that was walked. `ticket` is whatever `on_file` returned. `failed`: it could not
    be read. `outside`: out of scope, it stays as it was. `hollow`: a folder whose inside is left
    out (a mount point).
    """

    name: bytes
    info: os.stat_result | None
    kept: int = -1
    folder: LiveFolder | None = None
    ticket: object = None
    failed: bool = False
    outside: bool = False
    hollow: bool = False

    @property
    def is_folder(self) -> bool:
        return self.info is not None and stat.S_ISDIR(self.info.st_mode)


@dataclass(eq=False, slots=True)
class Group:
    """Names of one folder in order. `part` is the leaf of the state that covered this range, `same`
    whether it had just these names; `more`: another group of the folder follows."""

    folder: LiveFolder
    part: Part | None
    slots: list[Slot] = field(default_factory=list)
    same: bool = False
    more: bool = False


@dataclass(frozen=True, slots=True)
class Filled:
    """The names of a group are known, its folders not yet walked."""

    group: Group


@dataclass(frozen=True, slots=True)
class Opened:
    folder: LiveFolder


@dataclass(frozen=True, slots=True)
class Closed:
    folder: LiveFolder


@dataclass(frozen=True, slots=True)
class _Descend:
    parent: LiveFolder
    slot: Slot


Event = Opened | Filled | Group | Closed
OnFile = Callable[[LiveFolder, Slot], object]


class Walk:
    """One walk over the tree whose top is open as `top` (not closed here).

    `trust` is the highest doubt under which a fitting signature counts as unchanged. `enter` may
    refuse a folder: then it is one slot, not walked. `names_before` gives the names a folder had,
    of which those out of scope stay.
    """

    def __init__(
        self,
        top: int,
        state: ScanState,
        report: Report,
        *,
        keep: XattrFilter,
        on_file: OnFile,
        scope: Scope = EVERYTHING,
        trust: int = CLEAN,
        enter: Callable[[LiveFolder], bool] = lambda _folder: True,
        names_before: Callable[[bytes], list[bytes]] = lambda _path: [],
    ) -> None:
        self._top = top
        self._state = state
        self._report = report
        self._keep = keep
        self._on_file = on_file
        self._scope = scope
        self._trust = trust
        self._enter = enter
        self._names_before = names_before
        self._device = os.fstat(top).st_dev
        self.open_folders = 0

    def events(self) -> Iterator[Event]:
        """All events. OSError when the top itself cannot be read."""
        top = self._open_top()
        stack = [self._folder_events(top, self._list(top))]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
            elif isinstance(step, _Descend):
                below = self._descend(step.parent, step.slot)
                if below is not None:
                    stack.append(below)
            else:
                yield step

    def _descend(self, parent: LiveFolder, slot: Slot) -> Iterator[Event | _Descend] | None:
        """Walk a folder next, unless it is gone, cannot be read or is a repository of its own."""
        folder = None
        try:
            folder = self._open(parent, slot)
            names = self._list(folder)
        except FileNotFoundError:
            slot.info = None
        except OSError as error:
            self._report.failed(parent.path + slot.name, "read the folder", error)
            slot.failed = True
        else:
            if RESERVED in names:
                self._report.remark(parent.path + slot.name, "left out: a repository of its own")
                slot.info = None
            elif self._enter(folder):
                slot.folder = folder
                return self._folder_events(folder, names)
        if folder is not None:
            folder.close()
        return None

    def _open(self, parent: LiveFolder, slot: Slot) -> LiveFolder:
        descriptor = os.open(slot.name, FOLDER_FLAGS, dir_fd=parent.descriptor)
        try:
            path = parent.path + slot.name + b"/"
            inside = parent.inside or self._scope.relation(path[:-1]) is Relation.INSIDE
            folder = self._live(descriptor, path, slot.name, parent.rules, inside=inside)
        except OSError:
            os.close(descriptor)
            raise
        return folder

    def _open_top(self) -> LiveFolder:
        descriptor = os.open(".", FOLDER_FLAGS, dir_fd=self._top)
        return self._live(descriptor, b"", b"", NO_RULES, inside=self._scope.whole)

    def _live(
        self, descriptor: int, path: bytes, name: bytes, rules: IgnoreRules, *, inside: bool
    ) -> LiveFolder:
        info = os.fstat(descriptor)
        xattrs = read_xattrs(descriptor, self._keep)
        rows = self._state.rows(info.st_ino)
        return LiveFolder(path, name, descriptor, info, xattrs, rows, rules, inside)

    def _list(self, folder: LiveFolder) -> list[bytes]:
        """The names of a folder in byte order; its own rules come into force."""
        names = _names(folder.descriptor)
        if not folder.path and RESERVED in names:
            names.remove(RESERVED)
        if not folder.inside:
            names = self._within_scope(folder, names)
        if FILE_NAME in names:
            text = self._read_rules(folder)
            if text:
                folder.rules = folder.rules.below(folder.path, text)
        return names

    def _within_scope(self, folder: LiveFolder, names: list[bytes]) -> list[bytes]:
        """In a folder on the way to the scope: the live names within it, and the names that were
        there before and are not wholly in it."""

        def relation(name: bytes) -> Relation:
            return self._scope.relation(folder.path + name)

        live = {name for name in names if relation(name) is not Relation.OUTSIDE}
        names_before = self._names_before(folder.path)
        before = {name for name in names_before if relation(name) is not Relation.INSIDE}
        return sorted(live | before)

    def _read_rules(self, folder: LiveFolder) -> bytes:
        try:
            return read_rules(folder.descriptor)
        except OSError as error:
            self._report.failed(folder.path + FILE_NAME, "read the ignore rules", error)
            return b""

    def _folder_events(self, folder: LiveFolder, names: list[bytes]) -> Iterator[Event | _Descend]:
        """What happens in a folder. Of the names, those that were handed on are let go."""
        self.open_folders += 1
        yield Opened(folder)
        position = 0
        parts = parts_of(folder.rows)
        while position < len(names):
            part = next(parts, None)
            if part is None:
                end = min(len(names), position + GROUP)
            else:
                end = bisect_right(names, part.names[-1], position)
                if end == position:
                    continue
            group = Group(folder, part)
            taken, names[position:end] = names[position:end], [b""] * (end - position)
            self._fill(group, taken)
            yield Filled(group)
            for slot in group.slots:
                if slot.is_folder and not slot.hollow:
                    yield _Descend(folder, slot)
            position = end
            group.more = position < len(names)
            yield group
        yield Closed(folder)
        self.open_folders -= 1

    def _fill(self, group: Group, names: list[bytes]) -> None:
        """Make the slots of a group."""
        part = group.part
        if part is not None and part.names == names:
            group.same = True
            positions: Sequence[int] = range(len(names))
        else:
            known = {name: place for place, name in enumerate(part.names)} if part else {}
            positions = [known.get(name, -1) for name in names]
        folder = group.folder
        if part is not None and folder.inside and not folder.rules:
            looked = self._look(folder.descriptor, part, names, positions)
        else:
            looked = [(None, False)] * len(names)
        for name, position, (info, same) in zip(names, positions, looked, strict=True):
            slot = Slot(name, info, position) if same else self._slot(group, name, position, info)
            if slot is None:
                group.same = False
                continue
            group.slots.append(slot)

    def _look(
        self, folder: int, part: Part, names: Sequence[bytes], positions: Sequence[int]
    ) -> list[tuple[os.stat_result | None, bool]]:
        """The stat of each name, None where that is for `_slot` to find out, and whether it is a
        file that is as it was. Nearly all names of nearly all commits are judged here, so nothing
        is called that need not be."""
        found: list[tuple[os.stat_result | None, bool]] = []
        look, pack, add = os.stat, SIGNATURE.pack, found.append
        signatures, flags, trust, size = part.signatures, part.flags, self._trust, SIGNATURE.size
        for name, position in zip(names, positions, strict=True):
            try:
                info = look(name, dir_fd=folder, follow_symlinks=False)
                now = pack(info.st_ino, info.st_mtime_ns, info.st_ctime_ns, info.st_size)
            except (OSError, struct.error):
                add((None, False))
                continue
            start = position * size
            same = position >= 0 and signatures[start : start + size] == now
            add((info, same and (not flags or flags[position] <= trust)))
        return found

    def _slot(
        self, group: Group, name: bytes, position: int, info: os.stat_result | None
    ) -> Slot | None:
        """The slot of a name, None for what is left out. `info` is its stat, if that is known."""
        folder = group.folder
        if not folder.inside and self._scope.relation(folder.path + name) is Relation.OUTSIDE:
            return Slot(name, None, outside=True)
        try:
            info = info or os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            above = not folder.inside and self._scope.relation(folder.path + name) is Relation.ABOVE
            return Slot(name, None, outside=True) if above else None
        except OSError as error:
            self._report.failed(folder.path + name, "stat", error)
            return Slot(name, None, failed=True)
        kind = stat.S_IFMT(info.st_mode)
        if folder.rules and folder.rules.excludes(folder.path + name, kind == stat.S_IFDIR):
            return None
        if kind == stat.S_IFDIR:
            return self._folder_slot(folder, name, info)
        if kind not in KINDS:
            self._report.socket(folder.path + name)
            return None
        if name[:1] == b"." and self._reserved(folder, name):
            return None
        slot = Slot(name, info)
        if self._fits(group.part, position, info):
            slot.kept = position
        elif kind == stat.S_IFREG:
            slot.ticket = self._on_file(folder, slot)
        return slot

    def _fits(self, part: Part | None, position: int, info: os.stat_result) -> bool:
        return (
            part is not None
            and position >= 0
            and part.signature(position) == file_signature(info)
            and part.flag(position) <= self._trust
        )

    def _reserved(self, folder: LiveFolder, name: bytes) -> bool:
        if name.lower() != RESERVED:
            return False
        self._report.problem(folder.path + name, "left out: the name is reserved")
        return True

    def _folder_slot(self, parent: LiveFolder, name: bytes, info: os.stat_result) -> Slot | None:
        if name[:1] == b"." and self._reserved(parent, name):
            return None
        slot = Slot(name, info)
        if info.st_dev != self._device:
            self._report.remark(parent.path + name, "left empty: a mount point")
            slot.hollow = True
        return slot


def _names(descriptor: int) -> list[bytes]:
    """The names of an open folder in byte order. In place: of a million, two lists would be 120 MiB
    at once."""
    names: list[Any] = os.listdir(descriptor)
    for place, name in enumerate(names):
        names[place] = name.encode(ENCODING, "surrogateescape")
    names.sort()
    return names
