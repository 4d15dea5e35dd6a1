"""Editing a folder: other entries for some names, more names, fewer.

The old nodes are gone through from the left, and each one that nothing changes in is taken over
whole, as high up as the new ones end where the old ones did. So the cost is the nodes on the way to
what changes, and the result the very folder that `DirectoryBuilder` makes of all entries in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from .content import NodeSource, PutNode
from .directories import (
    DirectoryBuilder,
    Folder,
    OnLeaf,
    branch_child,
    leaf_child,
    load_branch,
    load_directory,
    load_leaf,
)
from .nodes import BranchNode, Child, Entry, LeafNode


def edited_folder(
    source: NodeSource,
    put_node: PutNode,
    folder: bytes,
    changes: Mapping[bytes, Entry | None],
    on_leaf: OnLeaf | None = None,
) -> Folder:
    """A folder that has the entries of another one but for the names in `changes`: None where
    there is nothing any more. `on_leaf` is told of the leaves that are made anew."""
    return _Edit(source, put_node, changes, on_leaf).run(folder)


class _Edit:
    def __init__(
        self,
        source: NodeSource,
        put_node: PutNode,
        changes: Mapping[bytes, Entry | None],
        on_leaf: OnLeaf | None,
    ) -> None:
        self._source = source
        self._builder = DirectoryBuilder(put_node, on_leaf)
        self._changes = deque(sorted(changes.items()))

    def run(self, folder: bytes) -> Folder:
        top = load_directory(self._source, folder)
        if isinstance(top, BranchNode):
            child = branch_child(top, folder)
            if not self._changes:
                return Folder(folder, child.files, child.size)
            self._branch(top, last=True)
        elif top.entries:
            child = leaf_child(list(top.entries), folder)
            if not self._changes:
                return Folder(folder, child.files, child.size)
            self._leaf(top)
        self._add_changes(None)
        return self._builder.finish()

    def _copy(self, child: Child, height: int, *, last: bool) -> None:
        """Take over a node of this height with what changes in it. `last`: it is on the right edge,
        where the end of the folder may have closed it."""
        unchanged = not self._changes or (not last and self._changes[0][0] > child.last)
        if unchanged and self._builder.takes(height):
            self._builder.add_node(child, height)
        elif height == 0:
            self._leaf(load_leaf(self._source, child.node))
        else:
            self._branch(load_branch(self._source, child, height), last=last)

    def _branch(self, branch: BranchNode, *, last: bool) -> None:
        final = branch.children[-1]
        for child in branch.children:
            self._copy(child, branch.height - 1, last=last and child is final)

    def _leaf(self, leaf: LeafNode) -> None:
        for entry in leaf.entries:
            self._add_changes(entry.name)
            if self._changes and self._changes[0][0] == entry.name:
                _, new = self._changes.popleft()
                if new is not None:
                    self._builder.add(new)
            else:
                self._builder.add(entry)

    def _add_changes(self, before: bytes | None) -> None:
        """Add the names that come before the next old one; all that are left for None."""
        while self._changes and (before is None or self._changes[0][0] < before):
            _, new = self._changes.popleft()
            if new is not None:
                self._builder.add(new)
