"""The loop of requests goes on, whatever a handler does. The kernel is a socket here."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from treering.tracker.fuse import protocol
from treering.tracker.fuse.protocol import Opcode, Request
from treering.tracker.fuse.session import Session


class Kernel:
    """Asks a session that runs in a thread."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.session = Session(theirs.detach())
        self._thread = threading.Thread(target=self.session.serve)
        self._number = 0

    def start(self) -> None:
        self._socket.settimeout(10)
        self._thread.start()

    def ask(self, opcode: Opcode, body: bytes) -> tuple[int, bytes]:
        """The error number and the content of the reply."""
        self._number += 1
        size = protocol.IN_HEADER.size + len(body)
        header = protocol.IN_HEADER.pack(size, opcode, self._number, 1, 0, 0, 1, 0, 0)
        self._socket.send(header + body)
        reply = self._socket.recv(1 << 16)
        length, error, number = protocol.OUT_HEADER.unpack_from(reply)
        assert (length, number) == (len(reply), self._number)
        return error, reply[protocol.OUT_HEADER.size :]

    def close(self) -> None:
        self._socket.close()
        self._thread.join()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    made = Kernel()
    yield made
    made.close()


def broken(*_: object) -> bytes:
    raise ZeroDivisionError


def full(_request: Request) -> bytes:
    raise OSError(errno.ENOSPC, "full")


def echo(request: Request) -> bytes:
    return bytes(request.data)


WRITE = protocol.WRITE_IN.pack(1, 0, 5, 0, 0, 0, 0) + b"hello"


def test_a_defect_is_an_error_for_the_caller_alone(
    kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.session.handle({Opcode.READLINK: broken, Opcode.WRITE: echo, Opcode.OPEN: full})
    kernel.start()
    with caplog.at_level(logging.ERROR):
        assert kernel.ask(Opcode.READLINK, b"") == (-errno.EIO, b"")
    assert "READLINK request failed" in caplog.text
    assert kernel.ask(Opcode.OPEN, bytes(8)) == (-errno.ENOSPC, b"")
    assert kernel.ask(Opcode.STATFS, b"") == (-errno.ENOSYS, b"")
    assert kernel.ask(Opcode.WRITE, WRITE) == (0, b"hello")


def test_where_the_quick_way_fails_the_handler_is_asked(kernel: Kernel) -> None:
    kernel.session.handle({Opcode.WRITE: echo, Opcode.READ: echo})
    kernel.session.answer_quickly(Opcode.WRITE, broken)
    kernel.session.answer_quickly(Opcode.READ, lambda header, _data: header[:2])
    kernel.start()
    for _ in range(2):
        assert kernel.ask(Opcode.WRITE, WRITE) == (0, b"hello")
    assert kernel.ask(Opcode.READ, bytes(40))[0] == 0


def test_what_a_helper_answers(kernel: Kernel) -> None:
    """The data of a request are there as long as it takes."""
    kernel.session.handle({Opcode.WRITE: lambda request: kernel.session.defer(request, echo)})
    kernel.start()
    for number in range(50):
        data = os.urandom(5)
        body = WRITE[: protocol.WRITE_IN.size] + data
        assert kernel.ask(Opcode.WRITE, body) == (0, data), number
