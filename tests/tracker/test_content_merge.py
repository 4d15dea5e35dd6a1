"""Files composed of the regions that either side changed, against bytes."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from support import BLOCK, Memory

from treering.store.trees import read_file
from treering.tracker.content_merge import composed

Edit = tuple[int, bytes]
blocks = st.lists(st.sampled_from([b"\0", b"a", b"b"]), max_size=5)
tails = st.sampled_from([b"", b"\0", b"tail"])
edits = st.dictionaries(st.integers(0, 6), st.sampled_from([b"\0", b"c", b"d"]), max_size=2)
sizes = st.none() | st.integers(0, 7 * BLOCK)


def changed(content: bytes, changes: dict[int, bytes], size: int | None) -> bytes:
    """Some blocks filled with something else, and then another size."""
    for number, letter in changes.items():
        start = number * BLOCK
        length = len(content[start : start + BLOCK])
        content = content[:start] + letter * length + content[start + length :]
    if size is not None:
        content = content[:size].ljust(size, b"\0")
    return content


def block_changes(base: bytes, side: bytes) -> set[int]:
    """The blocks that differ, in content or length, as the design defines a changed block."""
    count = -(-max(len(base), len(side)) // BLOCK)
    found = {
        number
        for number in range(count)
        if base[number * BLOCK : (number + 1) * BLOCK]
        != side[number * BLOCK : (number + 1) * BLOCK]
    }
    return found | ({min(len(base), len(side)) // BLOCK} if len(base) != len(side) else set())


@given(blocks, tails, edits, edits, sizes, sizes)
@example([b"a"], b"tail", {}, {1: b"c"}, 3 * BLOCK, None)
@example([b"a"], b"\0", {}, {1: b"c"}, 3 * BLOCK, None)
@example([b"a", b"\0", b"\0"], b"", {}, {2: b"c"}, BLOCK, None)
@example([b"a", b"b"], b"", {0: b"c"}, {}, None, 6 * BLOCK)
def test_composed_regions(
    found: list[bytes],
    tail: bytes,
    mine: dict[int, bytes],
    other: dict[int, bytes],
    size: int | None,
    other_size: int | None,
) -> None:
    store = Memory()
    base = b"".join(letter * BLOCK for letter in found) + tail
    ours, theirs = changed(base, mine, size), changed(base, other, other_size)
    trio = tuple(store.put_file(b"f", content) for content in (base, ours, theirs))
    made = composed(store, store.put_node, (trio[0], trio[1], trio[2]), BLOCK)
    one, two = block_changes(base, ours), block_changes(base, theirs)
    both_resized = len(ours) != len(base) != len(theirs)
    if made is None:
        assert both_resized or one & two or (one and two and len(ours) != len(theirs))
        return
    assert not both_resized
    expected = bytearray(max(ours, theirs, key=lambda side: len(side) != len(base)))
    for number in one | two:
        source = ours if number in one else theirs
        start = number * BLOCK
        if start < len(expected):
            expected[start : start + BLOCK] = source[start : start + BLOCK]
    entry = store.put_file(b"f", bytes(expected))
    assert (made.content, made.size) == (entry.content, entry.size)
    again = b"".join(read_file(store, entry, BLOCK))
    assert again == bytes(expected)


@given(blocks, edits, edits)
def test_what_meets_in_no_block_is_composed(
    found: list[bytes], mine: dict[int, bytes], other: dict[int, bytes]
) -> None:
    store = Memory()
    base = b"".join(letter * BLOCK for letter in found)
    ours, theirs = changed(base, mine, None), changed(base, other, None)
    trio = [store.put_file(b"f", content) for content in (base, ours, theirs)]
    made = composed(store, store.put_node, (trio[0], trio[1], trio[2]), BLOCK)
    meet = {
        number
        for number in block_changes(base, ours) & block_changes(base, theirs)
        if ours[number * BLOCK :][:1] != theirs[number * BLOCK :][:1]
    }
    assert (made is None) == bool(meet)
