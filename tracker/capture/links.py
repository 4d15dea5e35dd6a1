"""Hard links in a captured root: each name of a file has what the file is, and its group.

A file with several names is one thing, whichever of them was used. So when all else is built, the
names of each such file that changed, or lost, got or moved a name, are gathered: those that the
base has, by the catalog, as they lay at the swap, and those that were met. What the root says
otherwise is edited, and the catalog told.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from ...store.block_store import BlockStore
from ...store.folder_editor import edit_tree
from ...store.nodes import Entry
from ...store.object_writer import ObjectWriter
from ...store.path_finder import PathFinder
from ..build import with_group
from ..fuse.control import raw
from ..links import Group, LinkTable, group_names
from ..metadata import StatLike
from ..name_table import joined
from .files import Changed
from .plan import Plan, Unusable
from .wire import FrozenObject


class Linked(NamedTuple):
    """A file with so many names, some perhaps not in the tree: its entry, and those that were
    met."""

    entry: Entry
    names: int
    paths: set[bytes]


class LinkKeeper:
    """`table` is that of the base root, if `known`. Used by one thread."""

    def __init__(self, table: LinkTable, plan: Plan, *, known: bool) -> None:
        self._table = table
        self._plan = plan
        self._known = known
        self._met: dict[int, Linked] = {}
        self._moved: dict[bytes, bytes] = {}
        self._placed: dict[int, set[bytes]] = {}
        self._rows: dict[int, list[tuple[bytes, Group | None]]] = {}

    def met(self, number: int) -> Entry | None:
        """What was made of a new file before, under another of its names."""
        found = self._met.get(number)
        return found.entry if found is not None else None

    def meet(self, path: bytes, info: StatLike, entry: Entry) -> None:
        """A file with more than one name is in the new root, there and as this entry says. It may
        be told of again, by another name."""
        met = self._met.setdefault(info.st_ino, Linked(entry, info.st_nlink, set()))
        met.paths.add(path)

    def changed(self, changed: Changed) -> None:
        """Something that the base has is another now."""
        if changed.info.st_nlink == 1 and changed.before.more.group is None:
            return
        self._met.setdefault(
            changed.found.number, Linked(changed.entry, changed.info.st_nlink, set())
        )

    def placed(self, found: FrozenObject, path: bytes, *, is_folder: bool) -> None:
        """Something that the base has, and moved or changed itself, lay there."""
        if not is_folder:
            self._placed.setdefault(found.number, set()).add(path)
        elif found.bound is not None:
            self._moved[raw(found.bound)] = path

    def settle(self, store: BlockStore, writer: ObjectWriter, top: Entry) -> Entry:
        """The top folder with all links as they are. Unusable where the catalog is of another
        root than the base."""
        cut = self._cut()
        if not self._known and (self._met or self._moved or cut):
            raise Unusable
        names = self._names(cut)
        if not names and not self._met:
            return top
        for number, linked in self._met.items():
            there = linked.paths | self._placed.get(number, set())
            if len(there) < linked.names and not names.get(number):
                raise Unusable  # the base may have names of it, from when they were the only one
            names.setdefault(number, set()).update(linked.paths)
        for number, paths in names.items():
            paths |= self._placed.get(number, set())
        writer.flush()  # what was made is read again
        finder = PathFinder(store, top)
        edits: dict[bytes, Entry | None] = {}
        for number, paths in names.items():
            rows = self._rows[number] = []
            entries = [
                (path, entry)
                for path in sorted(paths, key=_tree_order)
                if (entry := finder.find(path)) is not None and not entry.is_folder
            ]
            groups = _groups([path for path, _ in entries])
            fresh = self._met.get(number)
            for (path, entry), group in zip(entries, groups, strict=True):
                wanted = with_group(fresh.entry if fresh is not None else entry, group)
                wanted = replace(wanted, name=entry.name)
                if wanted != entry:
                    edits[path] = wanted
                rows.append((path, group))
        return edit_tree(store, writer.put_node, top, edits) if edits else top

    def save(self) -> None:
        """Tell the catalog, after what was stored is durable."""
        if self._rows:
            self._table.replace(self._rows)

    # -- names of the base -----------------------------------------------------------------------

    def _names(self, cut: set[bytes]) -> dict[int, set[bytes]]:
        """Of the files with several names in the base that something happened to, by inode number:
        the names that they had there and still have, as those lay at the swap."""
        found: dict[int, set[bytes]] = {}
        if not self._table.any:
            return found
        numbers = {*self._met}
        for path in {*self._moved, *cut}:
            numbers |= self._table.inodes_below(path)
        for number in numbers:
            paths = {_at_swap(path, self._moved, cut) for path in self._table.names_of(number)}
            found[number] = {path for path in paths if path is not None}
        return found

    def _cut(self) -> set[bytes]:
        """Names of the base that are no more what they were."""
        found = set()
        for folder, rows in self._plan.names.items():
            above = self._plan.bound(folder)
            if above is not None:
                found |= {joined(above, name) for name in rows}
        return found


def _at_swap(path: bytes, moved: dict[bytes, bytes], cut: set[bytes]) -> bytes | None:
    """Where a path of the base lay at the swap; None for one that was gone, or that a file moved
    from: where that lay is known."""
    upper = path
    while True:
        if upper in moved:
            return moved[upper] + path[len(upper) :]
        if upper in cut:
            return None
        if not upper:
            return path
        upper = upper.rpartition(b"/")[0]


def _groups(paths: list[bytes]) -> list[Group | None]:
    if len(paths) < 2:
        return [None] * len(paths)
    return [*group_names([path.split(b"/") for path in paths])]


def _tree_order(path: bytes) -> bytes:
    return path.replace(b"/", b"\0")
