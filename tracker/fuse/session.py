"""One connection with the kernel: agreeing on a protocol, reading requests, sending replies.

One thread reads and answers most requests itself: waking another costs more than they do. What
would block goes to helpers by `defer`. A handler returns the reply's content, or raises OSError for
an error number; anything else it raises is a defect, logged, and EIO for the caller: the mount goes
on. `DEFERRED` says that a helper will answer.

Replies and notifications may be sent from any thread; each is one write. A notification that makes
the kernel ask us something must not come from the reader.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from queue import SimpleQueue
from typing import Final

from ...store.errors import StorageError, UnsupportedFormat
from . import protocol
from .gate import Gate
from .protocol import Init, Notify, Opcode, Request

log: Final = logging.getLogger("treering.driver")

Content = bytes | bytearray | memoryview
Handler = Callable[[Request], "Content | Deferred"]
Quick = Callable[[bytearray, memoryview], "Content | None"]
"""Takes a request as it lies in memory, the header and the data, and gives the reply's content, or
None where a handler is to have it. Where it raises, the handler does all of it again and says what
is wrong. It must not block."""
Work = SimpleQueue[tuple[Request, Handler] | None]
HELPERS: Final = 8
SMALL: Final = 4096
"""Bytes that are sooner copied than sent in two pieces."""


class Deferred:
    """The type of `DEFERRED`."""


DEFERRED: Final = Deferred()

WANTED: Final = (
    Init.ASYNC_READ
    | Init.ATOMIC_O_TRUNC
    | Init.BIG_WRITES
    | Init.DONT_MASK
    | Init.DO_READDIRPLUS
    | Init.READDIRPLUS_AUTO
    | Init.ASYNC_DIO
    | Init.PARALLEL_DIROPS
    | Init.POSIX_ACL
    | Init.MAX_PAGES
    | Init.CACHE_SYMLINKS
    | Init.HANDLE_KILLPRIV_V2
    | Init.SETXATTR_EXT
    | Init.INIT_EXT
    | Init.DIRECT_IO_ALLOW_MMAP
)
NEEDED: Final = Init.DIRECT_IO_ALLOW_MMAP | Init.HANDLE_KILLPRIV_V2 | Init.ATOMIC_O_TRUNC
MAX_BACKGROUND: Final = 65_535
"""Requests that the kernel sends without waiting. As many as the field holds: asynchronous writes
that are parked must not keep it from sending others."""


class Session:
    """An opcode without a handler is answered with ENOSYS, which makes the kernel stop asking. The
    connection is closed at the end of `serve`."""

    def __init__(self, connection: int, gate: Gate | None = None) -> None:
        self._connection = connection
        self.gate = gate or Gate(lambda _node: False)
        self._handlers: dict[int, Handler] = {}
        self._quick: dict[int, Quick] = {}
        self._header = bytearray(protocol.IN_HEADER.size + protocol.WRITE_IN.size)
        self._big = memoryview(mmap.mmap(-1, protocol.MAX_WRITE + protocol.HEADER_ROOM))
        self._waiting: Work = SimpleQueue()
        self._slow: Work = SimpleQueue()
        self._helpers = [
            threading.Thread(target=self._help, args=(work,), name=f"driver-{number}")
            for work in (self._waiting, self._slow)
            for number in range(HELPERS)
        ]
        self.requests = 0
        self.refused: UnsupportedFormat | None = None
        self.ready = threading.Event()

    def handle(self, handlers: Mapping[Opcode, Handler]) -> None:
        """Who answers what; before `serve`."""
        self._handlers |= {int(code): each for code, each in handlers.items()}

    def answer_quickly(self, opcode: Opcode, quick: Quick) -> None:
        """What is tried before the handler, for requests that come by the thousand; before
        `serve`."""
        self._quick[int(opcode)] = quick

    def serve(self) -> None:
        """Answer requests until the file system is unmounted."""
        for helper in self._helpers:
            helper.start()
        try:
            while self._next():
                pass
        finally:
            for _ in range(HELPERS):
                self._waiting.put(None)
                self._slow.put(None)
            for helper in self._helpers:
                helper.join()
            os.close(self._connection)
            self.ready.set()

    def _next(self) -> bool:
        try:
            size = os.readv(self._connection, [self._header, self._big])
        except OSError as error:
            # ENOENT: the caller was killed before we read its request. ENODEV: unmounted.
            return error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT)
        if size < protocol.IN_HEADER.size:
            return size > 0
        self.requests += 1
        gate = self.gate
        gate.in_hand = True
        opcode, unique = protocol.FRAME_START.unpack_from(self._header)
        quick = None if gate.is_closed else self._quick.get(opcode)
        if quick is not None:
            try:
                content = quick(self._header, self._big[: size - len(self._header)])
            except Exception:
                content = None  # the handler says what is wrong
            if content is not None:
                gate.in_hand = False
                self._write(protocol.OUT_HEADER.size + len(content), 0, unique, content)
                return True
        try:
            return self._take(size)
        finally:
            gate.in_hand = False

    def _take(self, size: int) -> bool:
        """The slower way of most requests; whether there may be more."""
        request = self._request(size)
        if request.opcode == Opcode.INIT:
            return self._init(request)
        if request.opcode == Opcode.DESTROY:
            self.reply(request, b"")
            return False
        if self.gate.enter(request):
            self.answer(request, self._handlers.get(request.opcode))
        return True

    def again(self, requests: Iterable[Request]) -> None:
        """Have helpers take up requests that were parked."""
        for request in requests:
            self._waiting.put((request, self._handlers[request.opcode]))

    def _request(self, size: int) -> Request:
        fields = protocol.IN_HEADER.unpack_from(self._header)
        _, opcode, unique, node, uid, gid, pid, extra, _ = fields
        start = protocol.IN_HEADER.size
        if opcode == Opcode.WRITE:
            body = bytes(self._header[start:])
            data = self._big[: size - len(self._header)]
        else:
            body = bytes(self._header[start:size]) + bytes(
                self._big[: max(0, size - len(self._header))]
            )
            body = body[: len(body) - 8 * extra]
            data = self._big[:0]
        return Request(opcode, unique, node, uid, gid, pid, body, data)

    def _init(self, request: Request) -> bool:
        major, minor, readahead, low, high = protocol.INIT_IN.unpack_from(request.body)
        offered = Init(low | high << 32)
        if major != protocol.MAJOR or minor < protocol.MIN_MINOR or NEEDED & ~offered:
            self.refused = UnsupportedFormat(
                f"the kernel speaks FUSE {major}.{minor}, which lacks what the driver needs",
                hint="Linux 6.6 or later does it; the scan works everywhere",
            )
            self.fail(request, errno.EPROTO)
            return False
        agreed = int(WANTED & offered)
        self.reply(
            request,
            protocol.INIT_OUT.pack(
                protocol.MAJOR,
                minor,
                readahead,
                agreed & 0xFFFFFFFF,
                MAX_BACKGROUND,
                MAX_BACKGROUND // 4 * 3,
                protocol.MAX_WRITE,
                1,  # time stamps are exact to the nanosecond
                protocol.MAX_WRITE // mmap.PAGESIZE,
                0,
                agreed >> 32,
            ),
        )
        self.ready.set()
        return True

    # -- answering -------------------------------------------------------------------------------

    def answer(self, request: Request, handler: Handler | None) -> None:
        """Call a handler and send what comes of it."""
        try:
            if handler is None:
                self.fail(request, errno.ENOSYS)
                return
            content = handler(request)
        except OSError as error:
            self.fail(request, error.errno or errno.EIO)
        except StorageError as error:
            log.error("%s", error.message)
            cause = error.__cause__
            self.fail(request, (isinstance(cause, OSError) and cause.errno) or errno.EIO)
        except Exception:
            log.exception("a %s request failed", _name(request.opcode))
            self.fail(request, errno.EIO)
        else:
            if not isinstance(content, Deferred):
                self.reply(request, content)

    def defer(self, request: Request, handler: Handler, *, slow: bool = False) -> Deferred:
        """Let a helper answer; of those that others do not wait for, if it is `slow`: it may wait
        for a commit. What the request's data lie in is used again meanwhile, so they are copied."""
        if request.data:
            request = request._replace(data=memoryview(bytes(request.data)))
        (self._slow if slow else self._waiting).put((request, handler))
        return DEFERRED

    def _help(self, work: Work) -> None:
        """What a helper does: it takes what waits, until it is told that there is no more. A queue
        alone, since an executor's futures cost as much as a small request."""
        while (taken := work.get()) is not None:
            self.answer(*taken)

    def sync(self, request: Request, descriptor: int) -> Deferred:
        """Let a helper answer an FSYNC or FSYNCDIR."""
        _, flags, _ = protocol.FSYNC_IN.unpack_from(request.body)

        def act(_request: Request) -> bytes:
            if flags & protocol.FSYNC_DATA:
                os.fdatasync(descriptor)
            else:
                os.fsync(descriptor)
            return b""

        return self.defer(request, act)

    def reply(self, request: Request, content: Content) -> None:
        if request.opcode in (Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT):
            return  # they want none
        self._send(protocol.OUT_HEADER.size + len(content), 0, request.unique, content)

    def fail(self, request: Request, number: int) -> None:
        if request.opcode not in (Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT):
            self._send(protocol.OUT_HEADER.size, -number, request.unique, b"")

    def notify(self, what: Notify, content: bytes) -> None:
        """Tell the kernel something. FileNotFoundError if it does not know the inode or name."""
        header = protocol.OUT_HEADER.pack(protocol.OUT_HEADER.size + len(content), what, 0)
        os.writev(self._connection, [header, content])

    def _send(self, size: int, number: int, unique: int, content: Content) -> None:
        if unique in self.gate.running:
            self.gate.leave(unique)
        self._write(size, number, unique, content)

    def _write(self, size: int, number: int, unique: int, content: Content) -> None:
        header = protocol.OUT_HEADER.pack(size, number, unique)
        try:
            if len(content) <= SMALL:
                os.write(self._connection, header + content)
            else:
                os.writev(self._connection, [header, content])
        except OSError as error:
            # ENOENT: interrupted meanwhile. ENODEV, EPERM: aborted or unmounted.
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EPERM):
                log.error("a reply was refused: %s", error)


def _name(opcode: int) -> str:
    try:
        return Opcode(opcode).name
    except ValueError:
        return f"number {opcode}"
