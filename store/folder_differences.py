"""What differs between two folders: by their nodes, then by the bytes of leaves, then by entries.

Leaves that both share are not read. Of others, those that end with the same name are compared as
they are encoded (`leaf_pairs`), so that an entry that is the same in both is not even decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from .content import NodeSource
from .directories import leaves, load_leaf
from .errors import Corrupt
from .leaf_pairs import Differing, LeafPairs, StoredLeaf, is_leaf
from .nodes import Entry


class EntryDifference(NamedTuple):
    """What one name is in the old and in the new folder; None where it is absent."""

    name: bytes
    old: Entry | None
    new: Entry | None


def differences(
    source: NodeSource,
    old: bytes | None,
    new: bytes | None,
    *,
    old_source: NodeSource | None = None,
    pairs: LeafPairs | None = None,
) -> Iterator[EntryDifference]:
    """The names whose entries differ between two folders, in order; None is an empty folder.
    Leaves that both share are not read. Who compares many folders of one history gives `pairs` to
    all: leaves that were met before are not checked again."""
    if old == new:
        return
    before = old_source or source
    old_leaves, new_leaves = _keyed_leaves(before, old), _keyed_leaves(source, new)
    shared = set(old_leaves.values()) & set(new_leaves.values())
    both = _Unshared(
        (before, {key: node for key, node in old_leaves.items() if node not in shared}),
        (source, {key: node for key, node in new_leaves.items() if node not in shared}),
        pairs or LeafPairs(),
    )
    yield from _merge(both.entries(0), both.entries(1))


_LAST: Final = b""
"""The key of the last leaf of a folder, whatever its last name."""
_KeyedLeaves = dict[bytes, bytes]
"""Ids of the leaves of a folder, in order, by their last name."""


def _keyed_leaves(source: NodeSource, identity: bytes | None) -> _KeyedLeaves:
    if identity is None:
        return {}
    if is_leaf(source.node(identity)):
        return {_LAST: identity}
    found: _KeyedLeaves = {}
    last = b""
    for leaf in leaves(source, identity):
        if leaf.last <= last:
            raise Corrupt("directory leaves out of order")
        found[leaf.last], last = leaf.node, leaf.last
    if found:
        found[_LAST] = found.pop(last)
    return found


class _Unshared:
    """The entries of two lists of leaves, less most that are equal in two leaves of one key. Two
    such leaves end at the same place in the order of names, so that no more than one pair waits for
    the other side to take its entries."""

    def __init__(
        self,
        old: tuple[NodeSource, _KeyedLeaves],
        new: tuple[NodeSource, _KeyedLeaves],
        pairs: LeafPairs,
    ) -> None:
        self._sides = old, new
        self._pairs = pairs
        self._both = old[1].keys() & new[1].keys()
        self._waiting: dict[bytes, Differing] = {}

    def entries(self, side: int) -> Iterator[Entry]:
        source, found = self._sides[side]
        for key, node in found.items():
            if key in self._both:
                yield from self._pair(key)[side]
            else:
                yield from load_leaf(source, node).entries

    def _pair(self, key: bytes) -> Differing:
        pair = self._waiting.pop(key, None)
        if pair is None:
            old, new = (
                StoredLeaf(found[key], source.node(found[key])) for source, found in self._sides
            )
            pair = self._waiting[key] = self._pairs(old, new)
        return pair


def _merge(old: Iterator[Entry], new: Iterator[Entry]) -> Iterator[EntryDifference]:
    """Two folders side by side, in name order, less what is the same in both."""
    a, b = next(old, None), next(new, None)
    while a is not None or b is not None:
        if a == b:
            a, b = next(old, None), next(new, None)
        elif b is None or (a is not None and a.name < b.name):
            assert a is not None
            yield EntryDifference(a.name, a, None)
            a = next(old, None)
        elif a is None or b.name < a.name:
            yield EntryDifference(b.name, None, b)
            b = next(new, None)
        else:
            yield EntryDifference(a.name, a, b)
            a, b = next(old, None), next(new, None)
