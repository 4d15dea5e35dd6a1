"""The corpus of a decoder: one file of few short inputs, a MessagePack array in a zstd frame."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import zstandard
from msgspec import msgpack

FOLDER: Final = Path(__file__).parents[1] / "data" / "fuzz"
MAX_INPUT: Final = 1 << 14
MAX_BYTES: Final = 512 << 10
"""Of one corpus: the shortest inputs are kept."""


def load(name: str) -> list[bytes]:
    path = FOLDER / f"{name}.zst"
    if not path.exists():
        return []
    return msgpack.decode(zstandard.decompress(path.read_bytes()), type=list[bytes])


def save(name: str, inputs: Iterable[bytes]) -> None:
    FOLDER.mkdir(exist_ok=True)
    kept: list[bytes] = []
    room = MAX_BYTES
    for one in sorted(set(inputs), key=lambda each: (len(each), each)):
        room -= len(one)
        if room < 0 or len(one) > MAX_INPUT:
            break
        kept.append(one)
    packed = zstandard.ZstdCompressor(level=19).compress(msgpack.encode(kept))
    (FOLDER / f"{name}.zst").write_bytes(packed)
