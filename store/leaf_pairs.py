"""Two directory leaves compared as they are encoded: only what differs is decoded.

A leaf of a long history differs from the one before it in an entry or two of a hundred. `LeafPairs`
remembers where the entries begin of leaves that were decoded and checked whole. Against such a leaf
another one is checked to the same point as `nodes.decode` would check it: entries that both share
were checked; those that differ are decoded, checked and encoded again, together with the neighbours
that their names must stand between. Where that does not come out even, the leaf is decoded whole:
exactly the same leaves are refused.

An instance belongs to one thread, and to node sources that give what has the id that was asked for.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, TypeAlias

from .errors import Corrupt
from .nodes import MAX_LEAF_ENTRIES, Entry, LeafNode, check_leaf, decode_as, decode_entries, encode

MAX_KNOWN: Final = 1 << 20
"""Entries whose places are remembered, four bytes each."""
_LEAF: Final = b"\x92\x02"
_ARRAY_16: Final = 0xDC
_SHORT: Final = range(0x90, 0xA0)

Ends: TypeAlias = "array[int]"
"""Where the first entry of a leaf begins, and then where each ends."""


class StoredLeaf(NamedTuple):
    """A leaf by its id, as it is stored."""

    identity: bytes
    plain: bytes


class Differing(NamedTuple):
    """Entries of two leaves, in order: all in which they differ, and some that are equal."""

    old: tuple[Entry, ...]
    new: tuple[Entry, ...]


def is_leaf(plain: bytes) -> bool:
    """Whether a node can be nothing but a directory leaf, if it is a node at all."""
    return plain.startswith(_LEAF)


class LeafPairs:
    """Compares leaves, and remembers those it has checked."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Ends] = OrderedDict()
        self._size = 0

    def __call__(self, old: StoredLeaf, new: StoredLeaf) -> Differing:
        """What differs. Corrupt where either is not a directory leaf as it should be."""
        ends = self._ends(old)
        try:
            if len(old.plain) == len(new.plain):
                found = _in_place(old.plain, new.plain, ends)
                self._remember(new.identity, ends)
                return found
        except Corrupt:
            pass
        try:
            found, new_ends = _between(old.plain, new.plain, ends)
        except Corrupt:
            return Differing(*(decode_as(LeafNode, leaf.plain).entries for leaf in (old, new)))
        self._remember(new.identity, new_ends)
        return found

    def _ends(self, leaf: StoredLeaf) -> Ends:
        known = self._known.get(leaf.identity)
        if known is not None:
            self._known.move_to_end(leaf.identity)
            return known
        entries = decode_as(LeafNode, leaf.plain).entries
        ends = _ends_of([len(encode(each)) for each in entries], _header(leaf.plain)[0])
        self._remember(leaf.identity, ends)
        return ends

    def _remember(self, identity: bytes, ends: Ends) -> None:
        if identity not in self._known:
            self._known[identity] = ends
            self._size += len(ends)
        while self._size > MAX_KNOWN:
            _, dropped = self._known.popitem(last=False)
            self._size -= len(dropped)


def _in_place(old: bytes, new: bytes, ends: Ends) -> Differing:
    """What differs where each name stands where it stood, in an entry of the same length, which is
    the usual case. Corrupt where it is another case, or what differs is no good entry."""
    if old[: ends[0]] != new[: ends[0]]:
        raise Corrupt("a leaf of another length than the one before it")
    places = _differing(old, new, ends)
    held = decode_entries(len(places), b"".join([old[start:end] for start, end in places]))
    content = b"".join([new[start:end] for start, end in places])
    changed, lengths = _decode_checked(len(places), content)
    if [entry.name for entry in held] != [entry.name for entry in changed]:
        raise Corrupt("entries of other names than those before them")
    if lengths != [end - start for start, end in places]:
        raise Corrupt("entries of other lengths than those before them")
    return Differing(held, changed)


def _differing(old: bytes, new: bytes, ends: Ends) -> list[tuple[int, int]]:
    """The places of entries that differ, found by halves: equal stretches cost no look at each."""
    places = []
    stack = [(0, len(ends) - 1)]
    while stack:
        first, last = stack.pop()
        start, end = ends[first], ends[last]
        if old[start:end] == new[start:end]:
            continue
        if last - first == 1:
            places.append((start, end))
            continue
        middle = (first + last) // 2
        stack.append((middle, last))
        stack.append((first, middle))
    return places


def _between(old: bytes, new: bytes, ends: Ends) -> tuple[Differing, Ends]:
    """All from the first difference to the last, with a neighbour at each end, since the order of
    names is checked against them; and the ends of the new entries. Corrupt where the new leaf is no
    good one, or does not come out even."""
    head, count = _header(new)
    body, other = old[ends[0] :], new[head:]
    held = len(ends) - 1
    before = bisect_right(ends, ends[0] + _common_start(body, other)) - 1
    behind = held - bisect_left(ends, len(old) - _common_end(body, other))
    first = max(0, before - 1)
    last = max(0, min(behind, held - before, count - before) - 1)
    start, rest = ends[first] - ends[0], len(old) - ends[held - last]
    wanted, stop = count - first - last, len(other) - rest
    if wanted < 0 or stop < start:
        raise Corrupt("a leaf that is not like the one before it")
    changed, lengths = _decode_checked(wanted, other[start:stop])
    was = decode_entries(held - last - first, old[ends[first] : ends[held - last]])
    lengths = [*_lengths(ends[: first + 1]), *lengths, *_lengths(ends[held - last :])]
    return Differing(was, changed), _ends_of(lengths, head)


def _decode_checked(count: int, content: bytes) -> tuple[tuple[Entry, ...], list[int]]:
    """Entries that are canonical, in order and possible, and the length of each."""
    entries = decode_entries(count, content)
    encoded = [encode(entry) for entry in entries]
    if b"".join(encoded) != content:
        raise Corrupt("entries are not in canonical form")
    check_leaf(LeafNode(entries))
    return entries, list(map(len, encoded))


def _ends_of(lengths: list[int], head: int) -> Ends:
    return array("I", accumulate(lengths, initial=head))


def _lengths(ends: Ends) -> list[int]:
    return [end - start for start, end in pairwise(ends)]


def _header(plain: bytes) -> tuple[int, int]:
    """Where the entries of a leaf begin, and their number. Corrupt where its head is not canonical,
    or says too many."""
    kind = plain[2] if len(plain) > len(_LEAF) else 0
    if is_leaf(plain) and kind in _SHORT:
        return 3, kind - _SHORT.start
    count = int.from_bytes(plain[3:5])
    if is_leaf(plain) and kind == _ARRAY_16 and len(_SHORT) <= count <= MAX_LEAF_ENTRIES:
        return 5, count
    raise Corrupt("not a directory leaf")


def _common_start(one: bytes, other: bytes) -> int:
    """How many bytes are equal at the start: by halves, since slices are compared fast."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_end(one: bytes, other: bytes) -> int:
    """How many bytes are equal at the end."""
    low, high = 0, min(len(one), len(other))
    size, length = len(one), len(other)
    while low < high:
        middle = (low + high + 1) // 2
        if one[size - middle : size - low] == other[length - middle : length - low]:
            low = middle
        else:
            high = middle - 1
    return low
