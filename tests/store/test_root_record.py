"""The root record: text that has one form."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from treering.store.errors import Corrupt
from treering.store.ids import NodeId
from treering.store.root_record import (
    MAX_BYTES,
    Change,
    RootRecord,
    decode_record,
    encode_record,
)

A, B = b"\xaa" * 32, b"\xbb" * 32
numbers = st.integers(0, 1 << 62)
names = st.binary(max_size=12).filter(lambda raw: b"\n" not in raw)
owners = st.dictionaries(
    st.integers(0, (1 << 32) - 1),
    names.map(lambda raw: raw.decode(errors="surrogateescape")),
    max_size=4,
)
records = st.builds(
    RootRecord,
    st.binary(min_size=32, max_size=32).map(NodeId),
    st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(tuple),
    st.builds(Change, numbers, numbers, numbers, numbers),
    owners,
    owners,
)
TEXT = (
    f"root {A.hex()}\nparent {B.hex()}\nchange files 1 regions 2 bytes 3 stored 4\n"
    "uid 0 root\nuid 1000 jane doe\ngid 7 staff\n"
).encode()


def test_written_by_hand() -> None:
    record = RootRecord(
        NodeId(A), (B,), Change(1, 2, 3, 4), {1000: "jane doe", 0: "root"}, {7: "staff"}
    )
    assert encode_record(record) == TEXT
    assert decode_record(TEXT) == record


@given(records)
def test_roundtrip(record: RootRecord) -> None:
    assert decode_record(encode_record(record)) == record


@given(st.binary(max_size=300))
@example(b"")
@example(b"\n")
@example(b"root")
@example(b"root \xff")
def test_arbitrary_bytes_raise_corrupt_only(text: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_record(text)


@given(st.data())
def test_mutations_raise_corrupt_only(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(TEXT)))
    stop = data.draw(st.integers(start, len(TEXT)))
    mutated = TEXT[:start] + data.draw(st.binary(max_size=8)) + TEXT[stop:]
    try:
        assert encode_record(decode_record(mutated)) == mutated
    except Corrupt:
        pass


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"gid 7 staff\n", b"gid 7 staff"),  # no end of line
        (b"gid 7 staff\n", b"gid 7 staff\n\n"),
        (b"uid 0 root\nuid 1000 jane doe\n", b"uid 1000 jane doe\nuid 0 root\n"),  # order
        (b"uid 0 root\n", b"uid 0 root\nuid 0 root\n"),
        (b"uid 0", b"uid 00"),
        (b"uid 0", b"uid \xd9\xa0"),  # a digit, but not ours
        (b"uid 0 root", b"uid 0"),
        (b"files 1", b"files one"),
        (b"files", b"folders"),
        (b" stored 4", b""),
        (b" stored 4", b" stored 4 more 5"),
        (b"change files 1 regions 2 bytes 3 stored 4\n", b""),
        (b"aa\n", b"AA\n"),
        (b"aa\n", b"aa more\n"),
        (b"aa\n", b"\n"),
        (b"root aa", b"node aa"),
        (b"gid 7", b"sid 7"),
    ],
)
def test_other_forms_are_refused(old: bytes, new: bytes) -> None:
    assert TEXT.count(old) >= 1
    with pytest.raises(Corrupt):
        decode_record(TEXT.replace(old, new, 1))


def test_too_long() -> None:
    with pytest.raises(Corrupt, match="too long"):
        decode_record(TEXT + b"x" * MAX_BYTES)
