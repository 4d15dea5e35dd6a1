"""A reader in a process of its own: `python -m treering.tracker.read_worker SETTINGS`.

Threads share one interpreter lock, and a hundred thousand small files are mostly interpreter work:
two processes read, hash and compress them in about two thirds of the time of two threads (measured
in docs/performance.md). A request is a batch of (folder descriptor of the parent, name), opened
through /proc/PARENT/fd, so that names are resolved from the very folders that the walk holds open;
the answer is a `Batch`. Frames are a length and msgpack. The worker ends at the end of its input,
also when its parent is killed.

Which blocks are new it tells from the block index and from what it has sent itself; two workers may
send the same block, and the parent keeps one.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

import msgspec

from ..store.block_index import BlockIndex
from ..store.codec import Codec
from .batch_reader import OPEN_FLAGS, Batch, BatchReader, Hasher
from .metadata import XattrFilter

LENGTH: Final = struct.Struct("<Q")
MAX_SENT: Final = 200_000
"""Keys remembered as sent: about 20 MiB."""

Files = list[tuple[int, bytes]]


class Settings(msgspec.Struct):
    """What a worker is started with, as JSON in its argument."""

    parent: int
    index: str
    block_size: int
    level: int
    piece: int
    root: bool
    labels: bool


class _Sent:
    """Claims of one worker."""

    def __init__(self, index: BlockIndex) -> None:
        self._index = index
        self._sent: set[bytes] = set()

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        if len(self._sent) > MAX_SENT:
            self._sent.clear()
        wanted = []
        for key, present in zip(keys, self._index.present(keys), strict=True):
            mine = not present and key not in self._sent
            if mine:
                self._sent.add(key)
            wanted.append(mine)
        return wanted


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The content of the next frame, None at the end."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    content = stream.read(length)
    return content if len(content) == length else None


def write_frame(stream: IO[bytes], content: bytes) -> None:
    stream.write(LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def main() -> None:
    # An interrupt is the parent's to handle: it closes our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = msgspec.json.decode(sys.argv[1], type=Settings)
    index = BlockIndex(Path(settings.index), writable=False, locked=True)
    hasher = Hasher(_Sent(index).claim, Codec(settings.level), settings.block_size)
    base = b"/proc/%d/fd/" % settings.parent

    def open_file(folder: int, name: bytes) -> int:
        return os.open(b"%s%d/%s" % (base, folder, name), OPEN_FLAGS)

    keep = XattrFilter(settings.root, settings.labels)
    reader = BatchReader(hasher, keep, settings.piece, open_file)
    decoder = msgspec.msgpack.Decoder(Files)
    encoder = msgspec.msgpack.Encoder()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while (request := read_frame(requests)) is not None:
        batch: Batch = reader.read(decoder.decode(request))
        write_frame(answers, encoder.encode(batch))


if __name__ == "__main__":
    main()
