"""Nodes: one content has one encoding, and nothing else decodes."""

from __future__ import annotations

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from support import any_node, entries, file_entry, is_corrupt

from treering.store.errors import Corrupt
from treering.store.ids import NULL, node_id
from treering.store.nodes import (
    EMPTY_FOLDER,
    BranchNode,
    Child,
    Entry,
    EntryKind,
    Extras,
    IndexNode,
    LeafNode,
    Node,
    RootNode,
    check_name,
    decode,
    decode_as,
    encode,
    valid_block_size,
)

ID = bytes(range(32))
FOLDER = Entry(b"", EntryKind.FOLDER, 0o755, 0, 0, 0, 0, 0, ID)


def refuse(node: Node, message: str | None = None) -> None:
    with pytest.raises(Corrupt, match=message):
        decode(encode(node))


def changed(entry: Entry, **fields: object) -> Entry:
    return msgspec.structs.replace(entry, **fields)


@given(any_node)
def test_roundtrip(node: Node) -> None:
    plain = encode(node)
    assert decode(plain) == node
    assert encode(decode(plain)) == plain


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_corrupt_only(plain: bytes) -> None:
    if not is_corrupt(plain):
        assert encode(decode(plain)) == plain


@given(any_node, st.data())
def test_mutated_nodes_raise_corrupt_only(node: Node, data: st.DataObject) -> None:
    plain = encode(node)
    start = data.draw(st.integers(0, len(plain)))
    stop = data.draw(st.integers(start, len(plain)))
    mutated = plain[:start] + data.draw(st.binary(max_size=5)) + plain[stop:]
    if not is_corrupt(mutated):
        assert encode(decode(mutated)) == mutated


@given(any_node, st.data())
def test_truncated_or_extended_nodes_are_corrupt(node: Node, data: st.DataObject) -> None:
    plain = encode(node)
    assert is_corrupt(plain[: data.draw(st.integers(0, len(plain) - 1))])
    assert is_corrupt(plain + data.draw(st.binary(min_size=1, max_size=4)))


def test_encoding_by_hand() -> None:
    """The bytes of each shape, written out from the MessagePack specification."""
    name, wire = b"\xc4\x01a", b"\xc4\x20" + ID
    entry = b"\x9a" + name + b"\x01\xcd\x01\xa4\x00\x00\x01\x07\x00" + wire + b"\xc0"
    found = Entry(b"a", 1, 0o644, 0, 0, 1, 7, 0, ID)
    assert encode(LeafNode((found,))) == b"\x92\x02\x91" + entry
    assert encode(LeafNode(())) == b"\x92\x02\x90"
    assert encode(IndexNode(0, ID * 2)) == b"\x93\x01\x00\xc4\x40" + ID + ID
    branch = BranchNode(1, (Child(b"a", ID, 1, 2, 3),))
    assert encode(branch) == b"\x93\x03\x01\x91\x95" + name + wire + b"\x01\x02\x03"
    top = b"\x9a\xc4\x00\x02\xcd\x01\xed\x00\x00\x00\x00\x00" + wire + b"\xc0"
    root = RootNode(1, 65536, "fixed", FOLDER)
    assert encode(root) == b"\x95\x04\x01\xce\x00\x01\x00\x00\xa5fixed" + top
    link = Entry(b"a", 3, 0o777, 0, 0, -1, 1, 0, NULL, Extras((), b"b", None, (1, b"c")))
    more = b"\x94\x90\xc4\x01b\xc0\x92\x01\xc4\x01c"
    expected = b"\xc4\x01a\x03\xcd\x01\xff\x00\x00\xff\x01\x00\xc4\x20" + NULL + more
    assert encode(LeafNode((link,))) == b"\x92\x02\x91\x9a" + expected


def test_golden_ids() -> None:
    """Ids that must never change: they are in every repository."""
    assert blake3(b"\x92\x02\x90", derive_key_context="treering node v1").digest() == EMPTY_FOLDER
    golden = "6646a1e83324ae8e41a2e455d65b7e47fbb1f0a05510e53cac401700dd0200a2"
    assert EMPTY_FOLDER.hex() == golden
    plain = b"\x93\x01\x00\xc4\x40" + ID + ID
    expected = blake3(plain, derive_key_context="treering node v1").digest()
    assert node_id(encode(IndexNode(0, ID * 2))) == expected


@pytest.mark.parametrize(
    ("plain", "canonical"),
    [
        (b"\x92\xcc\x02\x90", b"\x92\x02\x90"),  # a number longer than need be
        (b"\x92\x02\xdc\x00\x00", b"\x92\x02\x90"),  # an array header longer than need be
        (b"\xdc\x00\x02\x02\x90", b"\x92\x02\x90"),
        (b"\x93\x02\x90\xc0", b"\x92\x02\x90"),  # a field too many
        (b"\x93\x01\x00\xc5\x00\x20" + ID, b"\x93\x01\x00\xc4\x20" + ID),  # bin 16 for bin 8
        (b"\x93\x01\xcb" + bytes(8) + b"\xc4\x20" + ID, b"\x93\x01\x00\xc4\x20" + ID),  # a float
        (b"\x93\x01\x00\xd9\x20" + bytes([65] * 32), b"\x93\x01\x00\xc4\x20" + bytes([65] * 32)),
    ],
)
def test_other_encodings_are_refused(plain: bytes, canonical: bytes) -> None:
    assert not is_corrupt(canonical)
    assert is_corrupt(plain)


def test_missing_default_field_is_refused() -> None:
    """Nine of ten fields would decode: the tenth has a default."""
    plain = encode(LeafNode((file_entry(b"a"),)))
    assert plain.count(b"\x9a") == 1 and plain.endswith(b"\xc0")
    assert is_corrupt(plain.replace(b"\x9a", b"\x99")[:-1])


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/", b"a\0", b"x" * 256])
def test_impossible_names_are_refused(name: bytes) -> None:
    refuse(LeafNode((file_entry(name),)))
    with pytest.raises(Corrupt, match="impossible file name"):
        check_name(name)


@pytest.mark.parametrize("name", [b"...", b".a", b"\xff\xfe", b"a\nb", b" ", b"x" * 255, b"\\"])
def test_any_other_bytes_are_a_name(name: bytes) -> None:
    assert not is_corrupt(encode(LeafNode((file_entry(name),))))


@pytest.mark.parametrize("pair", [(b"b", b"a"), (b"a", b"a"), (b"aa", b"a"), (b"\xff", b"a")])
def test_order_and_duplicates(pair: tuple[bytes, bytes]) -> None:
    refuse(LeafNode((file_entry(pair[0]), file_entry(pair[1]))), "out of order")
    children = tuple(Child(name, ID, 1, 0, 0) for name in pair)
    refuse(BranchNode(1, children), "out of order")


def test_leaf_has_at_most_1024_entries() -> None:
    found = tuple(file_entry(b"%05d" % number) for number in range(1025))
    assert not is_corrupt(encode(LeafNode(found[:1024])))
    refuse(LeafNode(found), "too many")


@pytest.mark.parametrize(
    "node",
    [
        IndexNode(0, b""),
        IndexNode(0, ID[:31]),
        IndexNode(0, ID * 257),
        IndexNode(8, ID),
        IndexNode(-1, ID),
        IndexNode(0, NULL * 3),
        BranchNode(0, (Child(b"a", ID, 1, 0, 0),)),
        BranchNode(17, (Child(b"a", ID, 1, 0, 0),)),
        BranchNode(1, ()),
        BranchNode(1, tuple(Child(b"%05d" % n, ID, 1, 0, 0) for n in range(1025))),
        BranchNode(1, (Child(b"a", NULL, 1, 0, 0),)),
        BranchNode(1, (Child(b"a", ID[:31], 1, 0, 0),)),
        BranchNode(1, (Child(b"a", ID, 0, 0, 0),)),
        BranchNode(1, (Child(b"a", ID, 1, -1, 0),)),
        BranchNode(1, (Child(b"a", ID, 1, 0, -1),)),
        RootNode(2, 65536, "fixed", FOLDER),
        RootNode(1, 65536, "fastcdc", FOLDER),
        RootNode(1, 65535, "fixed", FOLDER),
        RootNode(1, 2048, "fixed", FOLDER),
        RootNode(1, 16 << 20, "fixed", FOLDER),
        RootNode(1, 65536, "fixed", changed(FOLDER, name=b"a")),
        RootNode(1, 65536, "fixed", changed(FOLDER, kind=1, content=NULL)),
        RootNode(1, 65536, "fixed", changed(FOLDER, content=NULL)),
    ],
)
def test_impossible_shapes_are_refused(node: Node) -> None:
    refuse(node)


FILE = file_entry(b"a", size=5, content=ID)
LINK = changed(FILE, kind=EntryKind.SYMLINK, content=NULL, extras=Extras(target=b"there"))
FIFO = changed(FILE, kind=EntryKind.FIFO, size=0, content=NULL)
DEVICE = changed(FIFO, kind=EntryKind.BLOCK_DEVICE, extras=Extras(device=0x801))


@pytest.mark.parametrize("entry", [FILE, LINK, FIFO, DEVICE, changed(FOLDER, name=b"a")])
def test_the_entries_that_the_next_test_breaks_are_good(entry: Entry) -> None:
    assert not is_corrupt(encode(LeafNode((entry,))))


@pytest.mark.parametrize(
    "entry",
    [
        changed(FILE, kind=0),
        changed(FILE, kind=7),
        changed(FILE, mode=0o10000),
        changed(FILE, mode=-1),
        changed(FILE, uid=-1),
        changed(FILE, gid=1 << 32),
        changed(FILE, size=-1),
        changed(FILE, size=1 << 63),
        changed(FILE, files=1),
        changed(FILE, files=-1),
        changed(FILE, content=ID[:31]),
        changed(FILE, content=b""),
        changed(FILE, size=0),
        changed(FILE, extras=Extras()),
        changed(FILE, extras=Extras(target=b"there")),
        changed(FILE, extras=Extras(device=1)),
        changed(FILE, extras=Extras(xattrs=((b"b", b""), (b"a", b"")))),
        changed(FILE, extras=Extras(xattrs=((b"a", b""), (b"a", b"")))),
        changed(FILE, extras=Extras(xattrs=((b"", b""),))),
        changed(FILE, extras=Extras(xattrs=((b"x" * 256, b""),))),
        changed(FILE, extras=Extras(group=(-1, b"x"))),
        changed(FILE, extras=Extras(group=(1 << 16, b"x"))),
        changed(FILE, extras=Extras(group=(0, b""))),
        changed(FILE, extras=Extras(group=(0, b"/x"))),
        changed(FILE, extras=Extras(group=(0, b"x//y"))),
        changed(FILE, extras=Extras(group=(0, b"../x"))),
        changed(FOLDER, name=b"a", extras=Extras(group=(0, b"x"))),
        changed(FOLDER, name=b"a", content=NULL),
        changed(LINK, extras=None),
        changed(LINK, content=ID),
        changed(LINK, size=4),
        changed(LINK, size=0, extras=Extras(target=b"")),
        changed(LINK, size=4096, extras=Extras(target=b"x" * 4096)),
        changed(LINK, size=3, extras=Extras(target=b"a\0b")),
        changed(LINK, extras=Extras(xattrs=((b"a", b""),))),
        changed(FIFO, content=ID),
        changed(DEVICE, extras=None),
        changed(DEVICE, extras=Extras(device=-1)),
        changed(DEVICE, extras=Extras(device=1, target=b"x")),
    ],
)
def test_impossible_entries_are_refused(entry: Entry) -> None:
    refuse(LeafNode((entry,)))


@given(entries())
def test_an_entry_has_one_place(entry: Entry) -> None:
    """A valid entry below a leaf is no valid top of a root unless it is a nameless folder."""
    refuse(RootNode(1, 65536, "fixed", entry))


def test_decode_as_names_both_shapes() -> None:
    assert decode_as(LeafNode, encode(LeafNode(()))) == LeafNode(())
    with pytest.raises(Corrupt, match="expected a RootNode, found a LeafNode"):
        decode_as(RootNode, encode(LeafNode(())))


def test_deep_nesting_is_corrupt() -> None:
    assert is_corrupt(b"\x91" * 100_000)
    assert is_corrupt(b"\x92\x02" + b"\x91" * 100_000)


@pytest.mark.parametrize("header", [b"\xdd\xff\xff\xff\xff", b"\xdd\x7f\xff\xff\xff"])
def test_claimed_counts_take_no_memory(header: bytes) -> None:
    assert is_corrupt(b"\x92\x02" + header)
    assert is_corrupt(b"\x93\x01\x00\xc6" + header[1:])


def test_block_sizes() -> None:
    good = [size for size in range(0, (8 << 20) + 4097, 1024) if valid_block_size(size)]
    assert good == [1 << power for power in range(12, 24)]
    assert not valid_block_size(-4096)


def test_times_reach_the_last_year_of_ext4() -> None:
    """2446 is more than 63 bits of nanoseconds away."""
    assert not is_corrupt(encode(LeafNode((changed(FILE, mtime_ns=15_032_385_535 * 10**9),))))
