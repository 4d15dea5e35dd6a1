"""Ids: which function names which kind, and how ids are written."""

from __future__ import annotations

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from treering.store.errors import InvalidInput
from treering.store.ids import (
    Kind,
    block_id,
    block_key,
    history_id,
    key_name,
    node_id,
    node_key,
    object_id,
    parse_id,
)


def official_input(length: int) -> bytes:
    """The input of BLAKE3's official test vectors: 0, 1, ... 250, 0, 1, ..."""
    return bytes(position % 251 for position in range(length))


@pytest.mark.parametrize(
    ("length", "digest"),
    [
        (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
        (1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"),
    ],
)
def test_block_id_is_plain_blake3(length: int, digest: str) -> None:
    assert block_id(official_input(length)).hex() == digest


@given(st.binary(max_size=5000))
def test_kinds_never_share_an_id(plain: bytes) -> None:
    assert block_id(plain) == blake3(plain).digest()
    assert node_id(plain) == blake3(plain, derive_key_context="treering node v1").digest()
    assert history_id(plain) == blake3(plain, derive_key_context="treering history v1").digest()
    assert len({block_id(plain), node_id(plain), history_id(plain)}) == 3


def test_kinds_are_stored_numbers() -> None:
    assert {kind.name: int(kind) for kind in Kind} == {"BLOCK": 1, "NODE": 2, "HISTORY": 3}
    plain = b"content"
    by_kind = [object_id(kind, plain) for kind in (1, 2, 3)]
    assert by_kind == [block_id(plain), node_id(plain), history_id(plain)]


def test_key_is_kind_then_id() -> None:
    identity = bytes(range(32))
    assert block_key(identity) == b"\x01" + identity
    assert node_key(identity) == b"\x02" + identity
    assert key_name(block_key(identity)) == "block:" + identity.hex()
    assert key_name(node_key(identity)) == "node:" + identity.hex()


@given(st.binary(min_size=32, max_size=32))
def test_parse_id_reads_what_hex_writes(identity: bytes) -> None:
    assert parse_id(identity.hex()) == identity


@pytest.mark.parametrize(
    "text", ["", "00" * 31, "00" * 33, "zz" * 32, " " + "00" * 32, "0 0 " * 16]
)
def test_parse_id_refuses_the_rest(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_id(text)


@given(st.text(max_size=70))
def test_parse_id_raises_invalid_input_only(text: str) -> None:
    try:
        assert parse_id(text).hex() == text.lower()
    except InvalidInput:
        pass
