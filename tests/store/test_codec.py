"""The codec: what goes in comes out, and nothing else is believed."""

from __future__ import annotations

import resource
import threading

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from treering.store.codec import MAX_PLAIN, Codec, CodecId
from treering.store.errors import Corrupt

codec = Codec()


@given(st.binary(max_size=3000), st.integers(1, 40))
def test_roundtrip(piece: bytes, times: int) -> None:
    plain = piece * times
    how, payload = codec.compress(plain)
    assert len(payload) <= len(plain)
    assert codec.expand(how, payload, len(plain)) == plain
    assert codec.expand(how, memoryview(payload), len(plain)) == plain


def test_choice_of_codec() -> None:
    assert codec.compress(bytes(65536))[0] == CodecId.ZSTD
    noise = zstandard.compress(bytes(range(256)) * 3)[:64]
    assert codec.compress(noise) == (CodecId.RAW, noise)
    assert codec.compress(b"") == (CodecId.RAW, b"")


@given(st.integers(0, 255), st.binary(max_size=200), st.integers(0, 1 << 32))
def test_arbitrary_payload_raises_corrupt_only(how: int, payload: bytes, length: int) -> None:
    try:
        assert len(codec.expand(how, payload, length)) == length
    except Corrupt:
        pass


@given(st.data())
def test_damaged_frame_never_has_another_length(data: st.DataObject) -> None:
    plain = b"tree ring " * 500
    how, payload = codec.compress(plain)
    position = data.draw(st.integers(0, len(payload) - 1))
    damaged = bytearray(payload)
    damaged[position] ^= data.draw(st.integers(1, 255))
    try:
        assert len(codec.expand(how, bytes(damaged), len(plain))) == len(plain)
    except Corrupt:
        pass


@pytest.mark.parametrize("wrong", [-1, 1, 1000])
def test_wrong_length_is_corrupt(wrong: int) -> None:
    plain = b"tree ring " * 500
    for how, payload in ((CodecId.RAW, plain), (CodecId.ZSTD, zstandard.compress(plain))):
        with pytest.raises(Corrupt):
            codec.expand(how, payload, len(plain) + wrong)


def test_extra_data_and_cut_frame_are_corrupt() -> None:
    plain = b"tree ring " * 500
    payload = zstandard.compress(plain)
    for damaged in (payload + b"x", payload[:-1], payload[:3], b"", payload + payload):
        with pytest.raises(Corrupt):
            codec.expand(CodecId.ZSTD, damaged, len(plain))


@pytest.mark.parametrize("how", [2, 3, 255])
def test_unknown_codec_is_corrupt(how: int) -> None:
    with pytest.raises(Corrupt, match=f"unknown codec {how}"):
        codec.expand(how, b"abc", 3)


def test_no_object_is_longer_than_the_limit() -> None:
    with pytest.raises(Corrupt, match="more than any object"):
        codec.expand(CodecId.RAW, b"", MAX_PLAIN + 1)


def test_bomb_takes_no_memory() -> None:
    """2 GiB of zeros in a few KiB, honest about its length, and lying about it."""
    compressor = zstandard.ZstdCompressor(level=1).compressobj(size=2 << 30)
    piece = bytes(1 << 20)
    bomb = b"".join([compressor.compress(piece) for _ in range(2048)]) + compressor.flush()
    streamed = zstandard.ZstdCompressor(level=1).compressobj()
    unsized = streamed.compress(bytes(1 << 20)) + streamed.flush()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for payload, claimed in ((bomb, 2 << 30), (bomb, MAX_PLAIN), (bomb, 5), (unsized, 1 << 20)):
        with pytest.raises(Corrupt):
            codec.expand(CodecId.ZSTD, payload, claimed)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 64 << 10  # KiB


def test_one_codec_serves_many_threads() -> None:
    shared = Codec()
    wrong: list[int] = []

    def work(seed: int) -> None:
        for turn in range(50):
            plain = b"%d-%d " % (seed, turn) * 3000
            how, payload = shared.compress(plain)
            if shared.expand(how, payload, len(plain)) != plain:
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
