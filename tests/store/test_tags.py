"""Annotated tags: what was written is read back, and nothing but Corrupt comes of other bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering.store.errors import Corrupt
from treering.store.history import Person
from treering.store.tags import decode_tag, encode_tag

ID = "ab" * 20
words = st.text(st.characters(codec="utf-8", exclude_characters="<>\n\0"), min_size=1).map(
    lambda text: text.strip() or "x"
)


@given(words, st.integers(0, 1 << 40), st.integers(-1439, 1439), words)
def test_round_trip(who: str, time: int, offset: int, message: str) -> None:
    tagger = Person(who, "a@b", time, offset)
    found = decode_tag(ID, encode_tag("v1", ID, tagger, message))
    assert (found.name, found.target, found.tagger) == ("v1", ID, tagger)
    assert found.message.rstrip("\n") == message


@given(st.binary(max_size=200))
def test_arbitrary_bytes(content: bytes) -> None:
    try:
        decode_tag(ID, content)
    except Corrupt:
        pass


def test_the_oldest_form_has_no_tagger() -> None:
    content = b"object " + ID.encode() + b"\ntype commit\ntag v0\n\nold\n"
    assert decode_tag(ID, content).tagger is None
    with pytest.raises(Corrupt):
        decode_tag(ID, b"type commit\ntag v0\n\n")
