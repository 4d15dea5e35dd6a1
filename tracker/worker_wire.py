"""What a command and its worker processes say to each other over two pipes.

A frame is a length and msgpack. Requests are structs with a `number`, answers carry that of the
request, or none: that is the last one. An error travels as a `Failure`.
"""

from __future__ import annotations

import struct
import threading
from contextlib import suppress
from typing import IO, Final

import msgspec

from ..store import errors
from ..store.durable import write_all
from ..store.errors import TreeringError

LENGTH: Final = struct.Struct("<Q")


class Failure(msgspec.Struct, array_like=True):
    """An error on its way: `category` is the name of a class in `store.errors`, empty for an
    OSError. One that nobody foresaw must arrive, too: the parent waits for an answer."""

    category: str
    message: str
    hint: str | None = None
    errno: int = 0

    @staticmethod
    def of(error: Exception) -> Failure:
        if isinstance(error, OSError):
            return Failure("", error.strerror or "", None, error.errno or 0)
        if isinstance(error, TreeringError):
            return Failure(type(error).__name__, error.message, error.hint)
        return Failure(TreeringError.__name__, f"a worker process failed: {error!r}")

    def os_error(self) -> OSError:
        """Where it is known to be one."""
        return OSError(self.errno, self.message)

    def error(self) -> Exception:
        if not self.category:
            return self.os_error()
        kind: type[TreeringError] = getattr(errors, self.category)
        return kind(self.message, hint=self.hint)


class Answer(msgspec.Struct, array_like=True, omit_defaults=True):
    """What came of request `number`; workers derive their own with what they found."""

    number: int | None
    failure: Failure | None = None


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The content of the next frame, None at the end."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    content = stream.read(length)
    return content if len(content) == length else None


def write_frame(descriptor: int, content: bytes) -> None:
    write_all(descriptor, LENGTH.pack(len(content)) + content)


class AnswerPipe:
    """The way back, for any thread. A parent that is gone needs no answer."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._encoder = msgspec.msgpack.Encoder()

    def send(self, answer: Answer) -> None:
        with self._lock, suppress(BrokenPipeError):
            write_frame(self._descriptor, self._encoder.encode(answer))
