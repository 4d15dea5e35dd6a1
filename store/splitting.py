"""Is a folder split where `DirectoryBuilder` splits it? One content has one root only if it is.

A node ends at the first place where the rule of `directories` closes it; only the last of its
height may end without. So a node whose inside has such a place, or that ends before one, was made
by somebody else. Names are hashed to tell, about half a microsecond each. Pure; from any thread.
"""

from __future__ import annotations

from collections.abc import Sequence

from .directories import MAX_XATTR_BYTES, MIN_ENTRIES, closed_by_rule, closes, xattr_bytes
from .nodes import MAX_LEAF_ENTRIES, BranchNode, Entry


def leaf_fits(entries: Sequence[Entry], *, last: bool) -> bool:
    """Whether a leaf of these entries, one or more, ends where it should. `last`: its folder ends
    with it."""
    if not (last or closed_by_rule(entries)):
        return False
    inside = entries[:-1]
    if any(closes(entry.name, 0) for entry in inside[MIN_ENTRIES - 1 :]):
        return False
    return sum(xattr_bytes(entry) for entry in inside if entry.extras) < MAX_XATTR_BYTES


def branch_fits(node: BranchNode, *, last: bool, top: bool) -> bool:
    """The same for a branch. `top`: it is the node of the folder, and so has several children."""
    names = [child.last for child in node.children]
    named = len(names) >= MIN_ENTRIES and closes(names[-1], node.height)
    if not (last or named or len(names) == MAX_LEAF_ENTRIES) or (top and len(names) < 2):
        return False
    return not any(closes(name, node.height) for name in names[MIN_ENTRIES - 1 : -1])
