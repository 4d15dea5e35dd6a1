"""Folders as they stood at the swap, with all that lay in them, up to the top.

A folder that the base has is the base's but for names that changed and things that did. One that it
has not is listed: the names that it has now, but for those that changed since the swap, which the
driver knows. What lies there is read by name, many files at a time, and then the driver is asked
which of it is not what it was; that is read by way of the driver instead.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from msgspec.structs import replace

from ...store.batches import batched
from ...store.directories import DirectoryBuilder, Folder, find, with_folder
from ...store.directory_edit import edited_folder
from ...store.nodes import Entry
from ...store.path_finder import PathFinder
from ...store.trees import read_file
from ..block_map import TOP
from ..fuse.control import raw
from ..ignore import FILE_NAME, MAX_RULES, NO_RULES, IgnoreRules, read_rules
from ..metadata import StatLike, folder_entry, read_xattrs
from ..name_table import joined
from ..reading import GONE as GONE_ERRORS
from ..reading import REPLACED
from ..scan import FOLDER_FLAGS, RESERVED
from .files import Changed
from .link import Held
from .parts import OpenFolder, Own, Parts
from .plan import Unusable
from .state import FolderState
from .window import Window, is_left_out
from .wire import GONE, FrozenName, FrozenObject

WINDOW: Final = 512
"""Names of a new folder that are read at once."""


class FolderCapture:
    """`base` is the top folder of the base root, None if there is none; `changed` are entries of
    what the base has and is no folder, by serial. Used by one thread."""

    def __init__(self, parts: Parts, base: Entry | None, changed: dict[int, Changed]) -> None:
        self._parts = parts
        self._store = parts.repository.store
        self._put_node = parts.writer.put_node
        self._plan = parts.plan
        self._link = parts.link
        self._base = base
        self._changed = changed
        self._finder = PathFinder(self._store, base)
        self._rules: dict[bytes, IgnoreRules] = {}
        self.owners: tuple[set[int], set[int]] = (set(), set())

    def run(self) -> Entry:
        """The top folder. Unusable."""
        return self._folder(TOP, b"", b"", self._base)

    # -- what the base has -----------------------------------------------------------------------

    def _folder(self, serial: int, name: bytes, path: bytes, before: Entry | None) -> Entry:
        """A folder that lay at `path`, and is `before` in the base."""
        self._rules[path] = self._rules_in(path, before)
        try:
            rows = self._plan.names.get(serial, {})
            changes: dict[bytes, Entry | None] = dict.fromkeys(rows)
            found = self._plan.objects.get(serial)
            state = self._parts.state.folder(found.number if found is not None else 0, new=False)
            for child_name, child in self._plan.inside.get(serial, {}).items():
                place = joined(path, child_name)
                changes[child_name] = self._placed(child, child_name, place, state)
            if rows or before is None or (found is not None and _has_other_times(found)):
                return self._changed_folder(serial, name, path, before, changes, state)
            return replace(with_folder(before, self._edited(before, changes, state)), name=name)
        finally:
            del self._rules[path]

    def _changed_folder(
        self,
        serial: int,
        name: bytes,
        path: bytes,
        before: Entry | None,
        changes: dict[bytes, Entry | None],
        state: FolderState,
    ) -> Entry:
        """One that has other names, or attributes."""
        rows = self._plan.names.get(serial, {})
        new = [row for row in rows.values() if row.serial != GONE and not row.bound]
        with self._held(serial) as held:
            if new:
                changes |= self._new_names(held, path, new, state)
            folder = self._edited(before, changes, state)
            attributes = held.attributes
            xattrs = attributes.kept(self._parts.keep)
            return self._noted(path, folder_entry(name, attributes.info, xattrs, *folder))

    def _edited(
        self, before: Entry | None, changes: dict[bytes, Entry | None], state: FolderState
    ) -> Folder:
        if before is not None:
            content = before.content
            return edited_folder(self._store, self._put_node, content, changes, state.on_leaf)
        builder = DirectoryBuilder(self._put_node, state.on_leaf)
        for _, entry in sorted(changes.items()):
            if entry is not None:
                builder.add(entry)
        return builder.finish()

    def _placed(self, serial: int, name: bytes, path: bytes, state: FolderState) -> Entry | None:
        """What the base has somewhere, and lay at `path`; None for what is left out."""
        found = self._plan.objects[serial]
        bound = self._plan.bound(serial)
        before = self._finder.find(bound) if bound is not None else None
        above = path.rpartition(b"/")[0]
        is_folder = stat.S_ISDIR(found.kind) if before is None else before.is_folder
        if self._rules[above].excludes(path, is_folder):
            return None
        if before is None:
            raise Unusable
        self._parts.links.placed(found, path, is_folder=is_folder)
        if not is_folder:
            changed = self._changed.get(serial)
            if changed is None:
                return replace(before, name=name)
            state.looked(name, changed.info)
            return self._noted(path, replace(changed.entry, name=name))
        if bound is not None and bound != path and self._has_rules(above, bound):
            raise Unusable  # what is in it may be left out now, or was
        return self._folder(serial, name, path, before)

    def _has_rules(self, folder: bytes, bound: bytes) -> bool:
        """Whether any rule applies in a folder, or in the base around what lay at `bound`."""
        return bool(self._rules[folder]) or bool(self._base_rules(bound.rpartition(b"/")[0]))

    def _noted(self, path: bytes, entry: Entry) -> Entry:
        entry = self._parts.unrestored.apply(path, entry)
        self.owners[0].add(entry.uid)
        self.owners[1].add(entry.gid)
        return entry

    @contextmanager
    def _held(self, serial: int) -> Iterator[Held]:
        (held,) = self._link.held([serial])
        try:
            yield held
        finally:
            os.close(held.descriptor)

    # -- what is new -----------------------------------------------------------------------------

    def _new_names(
        self, held: Held, path: bytes, rows: Sequence[FrozenName], state: FolderState
    ) -> dict[bytes, Entry | None]:
        """New things in a folder that the base has."""
        if any(raw(row.name).lower() == RESERVED for row in rows) and path:
            raise Unusable  # a repository of its own, by now
        descriptor = os.open(b".", FOLDER_FLAGS, dir_fd=held.descriptor)
        try:
            names = sorted(raw(row.name) for row in rows)
            folder = OpenFolder(descriptor, held.attributes.info.st_ino, path, self._rules[path])
            return {entry.name: entry for entry in self._all(folder, names, state)}
        finally:
            os.close(descriptor)

    def _new_folder(self, descriptor: int, name: bytes, path: bytes, own: Own) -> Entry | None:
        """A folder that the base has not, open as `descriptor`; None for one that is left out."""
        number = own.info.st_ino
        listed = set(map(os.fsencode, os.listdir(descriptor)))
        serial, rows = self._link.changed_names(number)
        changed = {raw(row.name): row for row in rows}
        was = {name for name, row in changed.items() if row.serial != GONE}
        names = sorted(listed - changed.keys() | was)
        if RESERVED in names:
            self._parts.report.remark(path, "left out: a repository of its own")
            return None
        rules = self._rules[path.rpartition(b"/")[0]]
        if FILE_NAME in names:
            if FILE_NAME in changed:
                raise Unusable
            text = read_rules(descriptor)
            rules = rules.below(path + b"/", text) if text else rules
        self._rules[path] = rules
        inside = self._plan.inside.get(serial, {})
        state = self._parts.state.folder(number, new=True)
        builder = DirectoryBuilder(self._put_node, state.on_leaf)
        folder = OpenFolder(descriptor, number, path, rules)
        for entry in self._all(folder, names, state, inside):
            builder.add(entry)
        del self._rules[path]
        entry = folder_entry(name, own.info, own.xattrs, *builder.finish())
        state.finish()
        return self._noted(path, entry)

    def _all(
        self,
        folder: OpenFolder,
        names: Sequence[bytes],
        state: FolderState,
        inside: dict[bytes, int] | None = None,
    ) -> Iterator[Entry]:
        """The entries of these names in an open folder, in order; `inside`: of those that the base
        has somewhere."""
        for some in batched(names, WINDOW):
            window = Window(self._parts, folder, inside or {})
            for name in some:
                window.look(name)
            window.settle()
            for name in some:
                entry = self._one(folder, name, window, state)
                if entry is not None:
                    yield entry

    def _one(
        self, folder: OpenFolder, name: bytes, window: Window, state: FolderState
    ) -> Entry | None:
        path = joined(folder.path, name)
        if name in window.inside:
            return self._placed(window.inside[name], name, path, state)
        if name in window.folders:
            return self._new_below(folder, name, path, state)
        serial = window.changed.get(name)
        if serial is None:
            found = window.entries.get(name)
            return None if found is None else self._made(path, *found, state)
        return self._by_serial(serial, folder, name, path, state)

    def _made(self, path: bytes, entry: Entry, info: StatLike, state: FolderState) -> Entry:
        """Something new that is no folder."""
        entry = self._noted(path, entry)
        state.looked(entry.name, info)
        if info.st_nlink > 1:
            self._parts.links.meet(path, info, entry)
        return entry

    def _new_below(
        self, folder: OpenFolder, name: bytes, path: bytes, state: FolderState
    ) -> Entry | None:
        """A new folder in a new folder."""
        try:
            descriptor = os.open(name, FOLDER_FLAGS, dir_fd=folder.descriptor)
        except OSError as error:
            if error.errno not in GONE_ERRORS | REPLACED | {errno.ENOTDIR}:
                raise Unusable from error
            descriptor = -1
        try:
            if descriptor >= 0:
                info = os.fstat(descriptor)
                own = Own(info, read_xattrs(descriptor, self._parts.keep))
                changed = self._link.changed(folder.number, [(name, info.st_ino)])
                if name not in changed:
                    return self._new_folder(descriptor, name, path, own)
            else:
                changed = self._link.changed(folder.number, [(name, 0)])
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        serial = changed.get(name, GONE)
        return self._by_serial(serial, folder, name, path, state)

    def _by_serial(
        self, serial: int, folder: OpenFolder, name: bytes, path: bytes, state: FolderState
    ) -> Entry | None:
        """Something new that has another name by now, none, or other attributes or content."""
        if serial == GONE:
            return None
        if name == FILE_NAME:
            raise Unusable  # the rules that were read may be others
        with self._held(serial) as held:
            attributes = held.attributes
            mode = attributes.info.st_mode
            if is_left_out(self._parts.report, folder, name, mode):
                return None
            if not stat.S_ISDIR(mode):
                entry = self._parts.links.met(attributes.info.st_ino)
                entry = entry or self._parts.files.new(held)
                if entry is None:
                    raise Unusable
                return self._made(path, replace(entry, name=name), attributes.info, state)
            own = Own(attributes.info, attributes.kept(self._parts.keep))
            descriptor = os.open(b".", FOLDER_FLAGS, dir_fd=held.descriptor)
            try:
                return self._new_folder(descriptor, name, path, own)
            finally:
                os.close(descriptor)

    # -- rules -----------------------------------------------------------------------------------

    def _rules_in(self, path: bytes, before: Entry | None) -> IgnoreRules:
        """Those in a folder at this path that is `before` in the base, whose rules they are: nobody
        has changed them (see `build`)."""
        above = self._rules[path.rpartition(b"/")[0]] if path else NO_RULES
        return self._below(above, path, before)

    def _below(self, above: IgnoreRules, path: bytes, folder: Entry | None) -> IgnoreRules:
        own = find(self._store, folder.content, FILE_NAME) if folder is not None else None
        if own is None or not own.is_file or not own.size:
            return above
        pieces = read_file(self._store, own, self._parts.repository.block_size, 0, MAX_RULES)
        text = b"".join(pieces)
        return above.below(path + b"/" if path else b"", text)

    def _base_rules(self, path: bytes) -> IgnoreRules:
        """Those in force in a folder of the base, by its path there."""
        above = self._base_rules(path.rpartition(b"/")[0]) if path else NO_RULES
        return self._below(above, path, self._finder.find(path))


def _has_other_times(folder: FrozenObject) -> bool:
    """Or may: a move from one folder to another is a change of `..`, which some file systems count
    as one of the folder."""
    return folder.attributes or folder.bound is not None
