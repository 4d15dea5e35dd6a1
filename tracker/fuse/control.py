"""The control socket of an attached tree: a Unix socket through which commands talk to its driver.

A message is its length (4 bytes, little-endian, at most 1 MiB) and a JSON object. A request names
what it wants as `do`, and gets one reply, which has `error`, a sentence, where it failed. Rows, of
which there may be many, come in several replies: all but the last have `more`.
Where a reply has `descriptors`, they go along with it (SCM_RIGHTS), and are closed by the sender.
Only the user who runs the driver, and root, are answered: whoever else connects is dropped, and so
is who sends what is no request. Each connection has a thread of its own. Whoever answers gets the
request with a `caller`, and may ask there to be told when the connection ends.

The socket lies in a folder of that user's, never in the tree, under a name made of the tree's path.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import threading
import time
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from ...store.errors import Conflict, DriverError, TreeringError

log: Final = logging.getLogger("treering.driver")

LENGTH: Final = struct.Struct("<I")
MAX_MESSAGE: Final = 1 << 20
SECONDS: Final = 30.0
"""A driver that takes longer for a reply is stuck."""
LAST_SECONDS: Final = 2.0
BACKLOG: Final = 64
MAX_DESCRIPTORS: Final = 250
"""In one reply; the kernel takes three more."""
CREDENTIALS: Final = struct.Struct("=iII")
Reply = dict[str, Any]
Answer = Callable[[dict[str, Any]], Reply | Iterator[Reply]]
"""What answers a request: at once, or in parts, made as they are sent."""


def text(name: bytes) -> str:
    """A name or path as messages have it, whatever the locale: UTF-8, other bytes as surrogates."""
    return name.decode("utf-8", "surrogateescape")


def raw(name: str) -> bytes:
    """The bytes of such a name."""
    return name.encode("utf-8", "surrogateescape")


def socket_path(folder: Path, top: Path) -> Path:
    """Where the control socket of the tree at `top` (resolved) is."""
    return folder / f"{blake3(os.fsencode(top)).hexdigest()[:32]}.sock"


class Caller:
    """Who is at the other end of a connection. `at_end` is called when it ends; until then it may
    be silent for any time."""

    def __init__(self) -> None:
        self.at_end: list[Callable[[], None]] = []


class ControlServer:
    """Listens at `path`; `answer` gives the reply to a request, or raises TreeringError. It is
    called from several threads. `close` removes the socket."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path = path
        self._answer = answer
        self._user = os.geteuid()
        self._answering = 0
        self._idle = threading.Condition()
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            _bind(self._socket, path)
        except OSError as error:
            self._socket.close()
            raise Conflict(f"{path}: {error.strerror}") from error
        path.chmod(0o600)
        self._socket.listen(BACKLOG)
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def close(self) -> None:
        """Nobody is let in any more. Who was asking gets the reply, if it does not take long: it
        may be that of the detach that ends us."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._path.unlink(missing_ok=True)
        with self._idle:
            self._idle.wait_for(lambda: not self._answering, LAST_SECONDS)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        caller = Caller()
        try:
            with connection, suppress(OSError):
                connection.settimeout(SECONDS)
                if _peer(connection) in (0, self._user):
                    self._answer_all(connection, caller)
        finally:
            for end in caller.at_end:
                end()

    def _answer_all(self, connection: socket.socket, caller: Caller) -> None:
        while True:
            request = receive(connection)
            if request is None:
                return
            with self._busy():
                reply = self._reply({**request, "caller": caller})
                if isinstance(reply, dict):
                    send(connection, reply)
                    if caller.at_end:
                        connection.settimeout(None)
                    continue
            self._send_parts(connection, request, reply)

    def _send_parts(
        self, connection: socket.socket, request: Reply, parts: Iterator[Reply]
    ) -> None:
        """Whoever reads them may take its time: it may be a pager."""
        connection.settimeout(None)
        while True:
            reply = self._reply(request, lambda _request: next(parts, {"more": False}))
            assert isinstance(reply, dict)
            last = "error" in reply or "more" in reply
            send(connection, reply if last else {**reply, "more": True})
            if last:
                break
        connection.settimeout(SECONDS)

    @contextmanager
    def _busy(self) -> Iterator[None]:
        with self._idle:
            self._answering += 1
        try:
            yield
        finally:
            with self._idle:
                self._answering -= 1
                self._idle.notify_all()

    def _reply(self, request: Reply, answer: Answer | None = None) -> Reply | Iterator[Reply]:
        try:
            return (answer or self._answer)(request)
        except TreeringError as error:
            conflict = isinstance(error, Conflict)
            return {"error": error.message, "hint": error.hint, "conflict": conflict}
        except Exception:
            log.exception("a %s request of the control socket failed", request.get("do"))
            return {"error": "the driver failed; its log says more"}


def _bind(listening: socket.socket, path: Path) -> None:
    """A socket that nobody listens at was left behind by a driver that was killed."""
    try:
        listening.bind(os.fspath(path))
    except OSError:
        if is_alive(path):
            raise
        path.unlink(missing_ok=True)
        listening.bind(os.fspath(path))


def is_alive(path: Path) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
        return True


def _peer(connection: socket.socket) -> int:
    content = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    _, uid, _ = CREDENTIALS.unpack(content)
    return int(uid)


def ask(path: Path, what: str, *, seconds: float = SECONDS, **more: Any) -> Reply:
    """One request to the driver that listens at `path`, which has so many seconds for it.
    DriverError when it does not answer; Conflict, or DriverError, when it says what went wrong."""
    with closing(ask_for_parts(path, what, seconds=seconds, **more)) as replies:
        return next(replies)


def ask_for_parts(
    path: Path, what: str, *, seconds: float = SECONDS, **more: Any
) -> Generator[Reply]:
    """The replies to one request that is answered in parts; as `ask`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            _connect(connection, path)
            send(connection, {"do": what, **more})
            while True:
                reply = _checked(_receive_all(connection))
                if reply.get("more") is not False:
                    yield reply
                if not reply.get("more"):
                    return
        except OSError as error:
            raise DriverError(f"the driver does not answer: {error}") from error


class Conversation:
    """A connection to the driver that listens at `path`, for requests that belong together. Any
    thread; one is answered at a time. DriverError, and what the driver says, as from `ask`."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _connect(self._connection, path)
        except OSError as error:
            self._connection.close()
            raise DriverError(f"the driver does not answer: {error}") from error

    def ask(self, what: str, *, seconds: float = SECONDS, **more: Any) -> Reply:
        with self._lock:
            try:
                self._connection.settimeout(seconds)
                send(self._connection, {"do": what, **more})
                return _checked(_receive_all(self._connection))
            except OSError as error:
                raise DriverError(f"the driver does not answer: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _checked(reply: Reply | None) -> Reply:
    if reply is None:
        raise DriverError("the driver does not answer us")
    if "error" in reply:
        kind = Conflict if reply.get("conflict") else DriverError
        raise kind(str(reply["error"]), hint=reply.get("hint"))
    return reply


def _connect(connection: socket.socket, path: Path) -> None:
    """A Unix socket with a time limit does not wait while too many others do: so we come again."""
    ends = time.monotonic() + SECONDS
    while True:
        try:
            connection.connect(os.fspath(path))
            return
        except BlockingIOError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.01)


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send a message, and the descriptors that it may have, which are closed."""
    descriptors: list[int] = message.pop("descriptors", [])
    try:
        content = json.dumps(message).encode()
        content = LENGTH.pack(len(content)) + content
        if descriptors:
            sent = socket.send_fds(connection, [content], descriptors)
            content = content[sent:]
        connection.sendall(content)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def in_parts(rows: Iterable[tuple[object, int]]) -> Iterator[Reply]:
    """Replies with rows, each with its bytes at most: as many in each as a message takes."""
    some: list[object] = []
    total = 0
    for row, size in rows:
        some.append(row)
        total += size
        if total > MAX_MESSAGE // 2:
            yield {"rows": some}
            some, total = [], 0
    yield {"rows": some}


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """A message; None at the end, and for what is none. Descriptors are not taken."""
    head = _exactly(connection, LENGTH.size)
    return None if head is None else _message(connection, head)


def _receive_all(connection: socket.socket) -> dict[str, Any] | None:
    """A message, and the descriptors that came along, which are the caller's."""
    room = socket.CMSG_LEN(MAX_DESCRIPTORS * array("i").itemsize)
    # Not recv_fds, which forgets the flags that it is given.
    head, along, _, _ = connection.recvmsg(LENGTH.size, room, socket.MSG_CMSG_CLOEXEC)
    descriptors = array("i")
    for _, _, data in along:
        descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    rest = _exactly(connection, LENGTH.size - len(head)) if head else None
    found = None if rest is None else _message(connection, head + rest)
    if found is None or "error" in found:
        for descriptor in descriptors:
            os.close(descriptor)
    elif descriptors:
        found["descriptors"] = list(descriptors)
    return found


def _message(connection: socket.socket, head: bytes) -> dict[str, Any] | None:
    (length,) = LENGTH.unpack(head)
    content = _exactly(connection, length) if length <= MAX_MESSAGE else None
    if content is None:
        return None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _exactly(connection: socket.socket, length: int) -> bytes | None:
    content = b""
    while len(content) < length:
        piece = connection.recv(length - len(content))
        if not piece:
            return None
        content += piece
    return content
