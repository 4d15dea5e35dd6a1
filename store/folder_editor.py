"""Changing stored folders: names set or removed at the cost of the nodes on the way to them.

`FolderEditor` takes the changes to one folder in name order, as a walk meets them; leaves between
them are taken over by their ids. `edit_tree` takes a few changes anywhere below a top folder. Both
give what building from scratch gives. An editor belongs to one thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from .content import NodeSource, PutNode
from .directories import DirectoryBuilder, Folder, leaves, load_leaf, with_folder
from .errors import NotFound
from .nodes import EMPTY_FOLDER, Child, Entry
from .trees import lookup_or_none


class FolderEditor:
    """A stored folder (None: an empty one) under change."""

    def __init__(self, source: NodeSource, put_node: PutNode, folder: bytes | None) -> None:
        self._source = source
        self._builder = DirectoryBuilder(put_node)
        self._leaves: list[Child] = list(leaves(source, folder)) if folder else []
        self._next = 0
        self._loaded: tuple[Entry, ...] = ()
        self._place = 0

    def set(self, name: bytes, entry: Entry | None) -> None:
        """Put `entry` where `name` is, or is to be; None removes it. Names come in order, each
        once."""
        self._advance(name)
        if self._place < len(self._loaded) and self._loaded[self._place].name == name:
            self._place += 1
        if entry is not None:
            self._builder.add(entry)

    def finish(self) -> Folder:
        """The folder with all changes. The editor is done."""
        self._advance(None)
        return self._builder.finish()

    def _advance(self, name: bytes | None) -> None:
        """Add all that comes before `name`, or everything for None."""
        while True:
            while self._place < len(self._loaded):
                entry = self._loaded[self._place]
                if name is not None and entry.name >= name:
                    return
                self._builder.add(entry)
                self._place += 1
            if self._next == len(self._leaves):
                return
            self._take_leaf(name)

    def _take_leaf(self, name: bytes | None) -> None:
        """Take over the next leaf whole if no change falls into it, else load it. What comes behind
        the last leaf counts as in it: where that ends is not by rule."""
        leaf = self._leaves[self._next]
        last = self._next == len(self._leaves) - 1
        self._next += 1
        untouched = name is None or (leaf.last < name and not last)
        if untouched and self._builder.at_boundary:
            self._builder.add_leaf(leaf, final=last)
        else:
            self._loaded, self._place = load_leaf(self._source, leaf.node).entries, 0


Edits = Mapping[bytes, Entry | None]
"""Paths from the top, without slashes at their ends, and what is to stand there."""


def edit_tree(
    source: NodeSource,
    put_node: PutNode,
    top: Entry,
    edits: Edits,
    *,
    prune: Callable[[bytes], bool] = lambda _path: False,
) -> Entry:
    """The top folder entry with `edits` applied; of b"" itself only the metadata are taken over.
    Folders on the way exist or are set by an edit; what is set below a folder that an edit removes
    goes with it. A folder that edits have left empty is removed if `prune` says so of its path.
    NotFound."""
    folders: dict[bytes, dict[bytes, Entry | None]] = defaultdict(dict)
    for path, entry in edits.items():
        if path:
            folder, _, name = path.rpartition(b"/")
            folders[folder][name] = entry
    for path in list(folders):
        while path:
            path = path.rpartition(b"/")[0]
            folders[path]  # whatever changes below a folder changes it
    changed = top
    for path in sorted(folders, key=_depth, reverse=True):
        above, _, name = path.rpartition(b"/")
        given = edits.get(path, top if not path else lookup_or_none(source, top, path))
        if given is None and path in edits:
            continue
        if given is None or not given.is_folder:
            raise NotFound(f"no such folder: {path.decode(errors='surrogateescape')}")
        inner = top.content if not path else given.content
        made = _edit_folder(source, put_node, inner, folders[path])
        if not path:
            changed = with_folder(given, made)
        elif made.node == EMPTY_FOLDER and prune(path):
            folders[above][name] = None
        else:
            folders[above][name] = with_folder(given, made)
    return changed


def _depth(path: bytes) -> int:
    return path.count(b"/") + 1 if path else 0


def _edit_folder(
    source: NodeSource, put_node: PutNode, folder: bytes, changes: Mapping[bytes, Entry | None]
) -> Folder:
    editor = FolderEditor(source, put_node, folder)
    for name, entry in sorted(changes.items()):
        editor.set(name, entry)
    return editor.finish()
