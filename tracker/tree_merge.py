"""Two stored trees merged against the one that both come from, by path.

What only their side changed is put into our tree, name by name; what both changed alike stands; a
name that both changed is merged field by field (`entry_merge`), folders name by name. The rest is a
clash: our version stays at its path, theirs is to stand beside it as `NAME~LABEL`, without its hard
links. Nothing is taken for a rename. Where one side deleted a folder in which the other changed
something, what was changed is kept, in that folder, and the rest goes.

Costs what both sides changed; whatever one side alone changed is taken by its id. Works on nodes
only, and not recursively. Hard-link groups are left as they come: see `link_merge`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from msgspec.structs import replace

from ..store import directories, folder_differences, trees
from ..store.content import NodeSource, PutNode
from ..store.directories import with_folder
from ..store.folder_differences import EntryDifference
from ..store.folder_editor import FolderEditor, edit_tree
from ..store.nodes import EMPTY_FOLDER, MAX_NAME, Entry
from .content_merge import composed
from .entry_merge import Compose, Side, merge_entries
from .known import is_alike
from .link_merge import in_group
from .merge_state import Clash, What
from .side_by_side import is_folder

Favour = Side | Literal["neither"] | None
TOP: Final = b""


class Options(NamedTuple):
    """`label` names their side. With `regions` files are composed of what both changed, where that
    does not meet. `favour`: whose version is taken where there would be a clash; "neither": the
    name is left out."""

    label: bytes = b"theirs"
    regions: bool = False
    favour: Favour = None


class Merge(NamedTuple):
    """The top folder of the merged tree, what has to be settled by hand, and what is to be put
    beside it: path and entry."""

    top: Entry
    clashes: list[Clash]
    beside: dict[bytes, Entry]


class Change(NamedTuple):
    """A name that their side changed, on all sides; None where it is absent."""

    name: bytes
    base: Entry | None
    ours: Entry | None
    theirs: Entry | None


def merge_trees(
    source: NodeSource,
    put_node: PutNode,
    block_size: int,
    trio: tuple[Entry | None, Entry, Entry],
    options: Options,
) -> Merge:
    """Merge the top folder entries (base, ours, theirs); without a base, whatever is not the same
    on both sides and has one name is a clash. `source` need not serve what `put_node` stores."""
    return _TreeMerge(source, put_node, block_size, options).run(*trio)


@dataclass(eq=False)
class _Folder:
    """A folder under way. `path` ends in a slash, or is empty. `wanted`: it is kept if nothing is
    left in it."""

    path: bytes
    entry: Entry
    ours: Entry | None
    wanted: bool
    editor: FolderEditor
    changes: Iterator[Change]
    sides: tuple[bytes | None, ...]

    def put(self, name: bytes, entry: Entry | None, ours: Entry | None) -> None:
        """What the merge makes of a name."""
        if entry != ours:
            self.editor.set(name, entry)


class _TreeMerge:
    def __init__(
        self, source: NodeSource, put_node: PutNode, block_size: int, options: Options
    ) -> None:
        self._source = source
        self._put_node = put_node
        self._block_size = block_size
        self._options = options
        self._favour: Side | None = None if options.favour == "neither" else options.favour
        self._clashes: list[Clash] = []
        self._beside: dict[bytes, Entry] = {}
        self._stack: list[_Folder] = []

    def run(self, base: Entry | None, ours: Entry, theirs: Entry) -> Merge:
        self._enter(Change(TOP, base, ours, theirs), TOP)
        while True:
            folder = self._stack[-1]
            change = next(folder.changes, None)
            if change is not None:
                self._name(folder, change)
                continue
            entry = self._leave(self._stack.pop())
            if not self._stack:
                assert entry is not None
                return Merge(entry, self._clashes, self._beside)
            self._stack[-1].put(folder.entry.name, entry, folder.ours)

    # -- folders ---------------------------------------------------------------------------------

    def _enter(self, change: Change, path: bytes) -> None:
        """Go into a folder of both sides, or of one where the other deleted it."""
        base, ours, theirs = (e if is_folder(e) else None for e in change[1:])
        entry = ours or theirs
        assert entry is not None
        if ours is not None and theirs is not None:
            entry, disagreed = merge_entries(base, ours, theirs, favour=self._favour)
            if disagreed and self._options.favour is None:
                found = merge_entries(base, ours, theirs, favour="theirs").entry
                self._clashes.append(Clash(path[:-1], "attributes", attributes=found))
        sides = tuple(e.content if e is not None else None for e in (base, ours, theirs))
        self._stack.append(
            _Folder(
                path,
                entry,
                ours,
                ours is not None and theirs is not None,
                FolderEditor(self._source, self._put_node, sides[1]),
                self._changes(*sides),
                sides,
            )
        )

    def _leave(self, folder: _Folder) -> Entry | None:
        made = folder.editor.finish()
        if made.node == EMPTY_FOLDER and not folder.wanted:
            return None
        return with_folder(folder.entry, made)

    def _changes(
        self, base: bytes | None, ours: bytes | None, theirs: bytes | None
    ) -> Iterator[Change]:
        """The names that differ between base and their side, with our side of each."""
        own = folder_differences.differences(self._source, base, ours)
        mine: EntryDifference | None = next(own, None)
        for name, old, new in folder_differences.differences(self._source, base, theirs):
            while mine is not None and mine.name < name:
                mine = next(own, None)
            changed = mine is not None and mine.name == name
            yield Change(name, old, mine.new if changed and mine is not None else old, new)

    # -- names -----------------------------------------------------------------------------------

    def _name(self, folder: _Folder, change: Change) -> None:
        name, base, ours, theirs = change
        if ours == theirs:
            return
        if _is_unchanged(base, ours, theirs):
            folder.put(name, theirs, ours)
        elif _is_unchanged(base, theirs, ours):
            folder.put(name, ours, ours)
        elif _both_folders(base, ours, theirs):
            self._enter(change, folder.path + name + b"/")
        else:
            self._other(folder, change)

    def _other(self, folder: _Folder, change: Change) -> None:
        """A name that both changed, and that is no folder to both."""
        name, base, ours, theirs = change
        what = _what(base, ours, theirs)
        if ours is not None and theirs is not None and ours.kind == theirs.kind:
            before = base if base is not None and base.kind == ours.kind else None
            merged = merge_entries(
                before, ours, theirs, favour=self._favour, compose=self._compose()
            )
            if not merged.disagreed:
                folder.put(name, merged.entry, ours)
                return
        self._clash(folder, change, what)

    def _compose(self) -> Compose | None:
        if not self._options.regions:
            return None
        size = self._block_size
        return lambda base, ours, theirs: composed(
            self._source, self._put_node, (base, ours, theirs), size
        )

    def _clash(self, folder: _Folder, change: Change, what: What) -> None:
        name, _, ours, theirs = change
        favour = self._options.favour
        if favour is not None:
            folder.put(name, {"ours": ours, "theirs": theirs, "neither": None}[favour], ours)
            return
        beside = None
        if theirs is not None:
            beside = self._free_path(folder, name)
            self._beside[beside] = self._alone(theirs, beside[len(folder.path) :])
            for above in self._stack:
                above.wanted = True
        self._clashes.append(Clash(folder.path + name, what, beside))

    def _free_path(self, folder: _Folder, name: bytes) -> bytes:
        """Where their version of a name can stand: at a name that no side has."""
        number = 1
        while True:
            tail = b"~" + self._options.label + (b"~%d" % number if number > 1 else b"")
            found = name[: MAX_NAME - len(tail)] + tail
            sides = (side for side in folder.sides if side is not None)
            there = any(directories.find(self._source, side, found) for side in sides)
            if not there and folder.path + found not in self._beside:
                return folder.path + found
            number += 1

    def _alone(self, entry: Entry, name: bytes) -> Entry:
        """The entry under another name, without hard links to anything."""
        if not entry.is_folder:
            return replace(in_group(entry, None), name=name)
        top = replace(entry, name=name)
        edits = {
            path: in_group(found, None)
            for path, found in trees.walk(self._source, top)
            if found.more.group is not None
        }
        return edit_tree(self._source, self._put_node, top, edits) if edits else top


def _is_unchanged(base: Entry | None, side: Entry | None, other: Entry | None) -> bool:
    """Whether a side has a name as the base has it. Where the other side deleted it, or made it
    another kind, new times do not count as a change."""
    if side == base:
        return True
    if base is None or side is None or (other is not None and other.kind == side.kind):
        return False
    return is_alike(base, side)


def _both_folders(base: Entry | None, ours: Entry | None, theirs: Entry | None) -> bool:
    """Whether a name is a folder on both sides, or was one that a side has deleted."""
    if is_folder(ours) and is_folder(theirs):
        return True
    return is_folder(base) and (
        (ours is None and is_folder(theirs)) or (theirs is None and is_folder(ours))
    )


def _what(base: Entry | None, ours: Entry | None, theirs: Entry | None) -> What:
    if ours is None:
        return "deleted-here"
    if theirs is None:
        return "deleted-there"
    if ours.kind != theirs.kind:
        return "kind"
    return "added" if base is None or base.kind != ours.kind else "changed"
