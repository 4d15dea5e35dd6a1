"""Frames: messages with a length before them, over two binary streams (`wire` says which).

Nothing is believed of the other side: lengths are checked before memory is taken, and every frame
is decoded into a type. A `Wire` belongs to one thread at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final, NoReturn

import msgspec
from msgspec import Raw, Struct

from .. import errors
from ..errors import RemoteError, TreeringError, UnsupportedFormat
from ..history import HistoryObject
from ..nodes import UNDECODABLE
from ..packfile import MAX_STORED, Record

VERSION: Final = 1
LENGTH: Final = struct.Struct(">I")
MAX_FRAME: Final = MAX_STORED + (2 << 20)
"""One record of the largest size beside a part that was nearly full."""
PART_BYTES: Final = 1 << 20
MAX_DRAIN: Final = 1 << 30
"""Bytes of a refused upload that are read before the connection is given up."""


class Hello(Struct, tag="hello", array_like=True):
    version: int


class Call(Struct, tag="call", array_like=True):
    method: str
    arguments: Raw


class Part(Struct, tag="part", array_like=True):
    items: Raw


class End(Struct, tag="end", array_like=True):
    pass


class Abort(Struct, tag="abort", array_like=True):
    pass


class Value(Struct, tag="value", array_like=True):
    answer: Raw


class Failure(Struct, tag="failure", array_like=True):
    category: str
    message: str
    hint: str | None


Frame = Hello | Call | Part | End | Abort | Value | Failure


encode = msgspec.msgpack.encode
_frames = msgspec.msgpack.Decoder(Frame)
LOST: Final = "the connection was lost"


class BrokenWire(RemoteError):
    """The stream ended or is garbage: nothing more can be said on it."""


def pack(value: object) -> Raw:
    return Raw(encode(value))


def unpack(raw: Raw, shape: Any) -> Any:
    try:
        return msgspec.msgpack.decode(raw, type=shape)
    except UNDECODABLE as error:
        raise RemoteError(f"the other side broke the protocol: {error}") from error


class Wire:
    """Frames in both directions; `in_parts` says that parts are still to come in."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader = reader
        self._writer = writer
        self.in_parts = False

    def send(self, frame: Frame) -> None:
        content = encode(frame)
        if len(content) > MAX_FRAME:
            raise RemoteError("a message is too long to be sent")
        try:
            self._writer.write(LENGTH.pack(len(content)))
            self._writer.write(content)
        except (OSError, ValueError) as error:
            raise BrokenWire(LOST) from error

    def flush(self) -> None:
        try:
            self._writer.flush()
        except (OSError, ValueError) as error:
            raise BrokenWire(LOST) from error

    def receive(self) -> Frame:
        frame = self.receive_or_end()
        if frame is None:
            raise BrokenWire(LOST)
        return frame

    def receive_or_end(self) -> Frame | None:
        """The next frame; None when the stream ended before it began."""
        head = self._read(LENGTH.size)
        if not head:
            return None
        (length,) = LENGTH.unpack(self._whole(head, LENGTH.size))
        if length > MAX_FRAME:
            raise BrokenWire("the other side does not speak treering's protocol")
        content = self._whole(self._read(length), length)
        try:
            frame: Frame = _frames.decode(content)
        except UNDECODABLE as error:
            raise BrokenWire("the other side does not speak treering's protocol") from error
        return frame

    def _read(self, length: int) -> bytes:
        """`length` bytes, or fewer at the end of the stream: raw streams give less than asked."""
        pieces = []
        try:
            while length:
                piece = self._reader.read(length)
                if not piece:
                    break
                pieces.append(piece)
                length -= len(piece)
        except (OSError, ValueError) as error:
            raise BrokenWire(LOST) from error
        return b"".join(pieces)

    def _whole(self, content: bytes, length: int) -> bytes:
        if len(content) < length:
            raise BrokenWire(LOST)
        return content

    def greet(self) -> None:
        """Say hello and hear it. UnsupportedFormat when the other side has another version."""
        self.send(Hello(VERSION))
        self.flush()
        frame = self.receive()
        if not isinstance(frame, Hello):
            raise BrokenWire("the other side does not speak treering's protocol")
        if frame.version != VERSION:
            raise UnsupportedFormat(
                f"the other side speaks version {frame.version} of the protocol; this is {VERSION}"
            )

    def send_parts(self, items: Iterable[Record] | Iterable[HistoryObject]) -> None:
        part: list[object] = []
        size = 0
        for item in items:
            part.append(item)
            size += len(item[-1]) + 64
            if size >= PART_BYTES:
                self.send(Part(pack(part)))
                part, size = [], 0
        if part:
            self.send(Part(pack(part)))
        self.send(End())

    def parts(self, shape: Any) -> Iterator[Any]:
        """The items of the parts that come in now."""
        self.in_parts = True
        while True:
            frame = self.receive()
            if isinstance(frame, Part):
                yield from unpack(frame.items, shape)
                continue
            self.in_parts = False
            if isinstance(frame, End):
                return
            if isinstance(frame, Abort):
                raise RemoteError("the sender gave up")
            refuse(frame)

    def drain(self) -> None:
        """Read and forget what is left of the parts that come in."""
        room = MAX_DRAIN
        while self.in_parts:
            frame = self.receive()
            if isinstance(frame, Part):
                room -= len(memoryview(frame.items))
                if room < 0:
                    raise BrokenWire("the other side does not stop sending")
            else:
                self.in_parts = False


def refuse(frame: Frame) -> NoReturn:
    """Raise what a failure says, or that the frame does not belong here."""
    if not isinstance(frame, Failure):
        raise BrokenWire("the other side broke the protocol: a frame out of place")
    raise _category(frame.category)(frame.message, hint=frame.hint)


def _category(name: str) -> type[TreeringError]:
    found = getattr(errors, name, None)
    if isinstance(found, type) and issubclass(found, TreeringError):
        # This one is made of keys, and a message is all there is.
        return RemoteError if found is errors.MissingObjects else found
    return RemoteError
