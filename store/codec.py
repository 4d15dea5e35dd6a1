"""Compression of one object: zstd level 1, or raw where zstd does not help.

Contexts are kept per thread, because a zstd context is not thread-safe and making one costs more
than compressing a block. The plain length always travels beside the payload and is checked against
a limit and against the frame's own header before any memory is taken: a decompression bomb is
`Corrupt`, not an allocation.
"""

from __future__ import annotations

import threading
from enum import IntEnum

import zstandard

from .errors import Corrupt

DEFAULT_LEVEL = 1
MAX_PLAIN = 16 << 20
"""Largest plain object in bytes: above the largest block size and the largest node."""


class CodecId(IntEnum):
    """How a payload is stored. The values are in packs: never renumber."""

    RAW = 0
    ZSTD = 1


class Codec:
    """Compresses and expands payloads from any thread."""

    def __init__(self, level: int = DEFAULT_LEVEL) -> None:
        self.level = level
        self._local = threading.local()

    def compress(self, plain: bytes | memoryview) -> tuple[int, bytes]:
        """(codec id, payload) of `plain`; the payload is never longer than `plain`."""
        try:
            compressor = self._local.compressor
        except AttributeError:
            compressor = zstandard.ZstdCompressor(level=self.level)
            self._local.compressor = compressor
        packed: bytes = compressor.compress(plain)
        if len(packed) < len(plain):
            return CodecId.ZSTD, packed
        return CodecId.RAW, bytes(plain)

    def expand(self, codec: int, payload: bytes | memoryview, plain_length: int) -> bytes:
        """The plain bytes, exactly `plain_length` of them. Corrupt for anything else."""
        if plain_length > MAX_PLAIN:
            raise Corrupt(f"an object claims {plain_length} bytes, more than any object has")
        if codec == CodecId.RAW:
            if len(payload) != plain_length:
                raise Corrupt("a raw payload differs from its stated length")
            return bytes(payload)
        if codec != CodecId.ZSTD:
            raise Corrupt(f"unknown codec {codec}")
        try:
            if zstandard.frame_content_size(payload) != plain_length:
                raise Corrupt("a zstd frame differs from its stated length")
            plain: bytes = self._decompressor().decompress(payload, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise Corrupt(f"a zstd frame does not expand: {error}") from error
        if len(plain) != plain_length:
            raise Corrupt("a zstd frame expands to another length than stated")
        return plain

    def _decompressor(self) -> zstandard.ZstdDecompressor:
        try:
            decompressor: zstandard.ZstdDecompressor = self._local.decompressor
        except AttributeError:
            decompressor = self._local.decompressor = zstandard.ZstdDecompressor(
                max_window_size=MAX_PLAIN
            )
        return decompressor
