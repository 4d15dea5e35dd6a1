"""The folder that a closure walk has at the same place in the base: looked into only where the walk
asks, so that a change in a huge folder costs the way to it, and not the folder."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from .content import NodeSource
from .directories import leaf_child, load_branch, load_directory
from .nodes import Child, LeafNode


class OldFolder:
    """A folder that must be readable whole. Its nodes are told by the Child that stands for them,
    and their height: 0 is a leaf."""

    def __init__(self, source: NodeSource, identity: bytes) -> None:
        self._source = source
        self._identity = identity

    def between(self, height: int, after: bytes, upto: bytes) -> dict[Child, bytes]:
        """The nodes of a height that can hold names behind `after` and not behind `upto`, each with
        the last name before it."""
        top = load_directory(self._source, self._identity)
        if isinstance(top, LeafNode):
            whole = not height and top.entries
            return {leaf_child(list(top.entries), self._identity): b""} if whole else {}
        found: dict[Child, bytes] = {}
        stack = [(top, b"")]
        while stack:
            branch, before = stack.pop()
            lasts = [child.last for child in branch.children]
            low, high = bisect_right(lasts, after), bisect_left(lasts, upto) + 1
            for child, ahead in zip(
                branch.children[low:high], [before, *lasts][low:], strict=False
            ):
                if branch.height == height + 1:
                    found[child] = ahead
                elif branch.height > height:
                    stack.append((load_branch(self._source, child, branch.height - 1), ahead))
        return found

    def ending(self, height: int) -> Child | None:
        """The last node of a height."""
        node = load_directory(self._source, self._identity)
        if isinstance(node, LeafNode):
            whole = not height and node.entries
            return leaf_child(list(node.entries), self._identity) if whole else None
        while node.height > height + 1:
            node = load_branch(self._source, node.children[-1], node.height - 1)
        return node.children[-1] if node.height == height + 1 else None
