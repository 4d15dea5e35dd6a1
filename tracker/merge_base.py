"""What two commits have in common: the tree against which they are merged.

After merges in both directions there may be several best common ancestors. Then their trees are
merged, in the same way, and where these disagree a name counts as new on both sides: whatever the
sides do not have alike is a clash.
"""

from __future__ import annotations

from collections.abc import Callable

from ..store.history import History
from ..store.nodes import Entry

MergeTrees = Callable[[Entry | None, Entry, Entry], Entry]
"""Merges the top folders (base, ours, theirs) and leaves out what clashes."""
TopOf = Callable[[str], Entry]
"""The top folder of a commit's tree."""


def merge_bases(history: History, one: str, other: str) -> list[str]:
    """All best common ancestors of two commits: common to both, and not an ancestor of another such
    one. Costs the commits that are younger than the first of them."""
    first = history.merge_base(one, other)
    if first is None:
        return []
    found, hidden = [first], [first]
    younger = [set(history.newest_first([side], hidden)) for side in (one, other)]
    common = younger[0] & younger[1]
    for commit_id in history.newest_first(common, hidden) if common else ():
        if commit_id in common:
            found.append(commit_id)
            common -= set(history.newest_first([commit_id], hidden))
    return found


def base_tree(
    history: History, one: str, other: str, *, top_of: TopOf, merge: MergeTrees
) -> Entry | None:
    """The top folder of what two commits have in common; None where it is nothing. As deep as
    criss-cross merges lie one behind the other."""
    bases = merge_bases(history, one, other)
    if not bases:
        return None
    base = top_of(bases[0])
    for more in bases[1:]:
        below = base_tree(history, bases[0], more, top_of=top_of, merge=merge)
        base = merge(below, base, top_of(more))
    return base
