"""The worker of an attached tree: a process that has imported all, and runs commands for whoever
hands them over (`worker_client`), each in a process forked from it.

`python -m treering.cli.worker SETTINGS`. It has nothing open but its socket, and one thread, so
that a forked process is as good as a new one. It ends when the driver does.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from .main import run
from .output import drop_unwritten
from .worker_client import ACCEPTED, CODE, COMMANDS, LENGTH, PASSED_ON, likeness

MODULES: Final = (
    "blake3", "lmdb", "msgspec", "pathspec", "pygit2", "rich.progress", "sqlite3", "sqlite_utils",
    "zstandard", "treering.tracker.map_status", "treering.tracker.snapshot",
    "treering.tracker.read_processes", "treering.cli.clashes", "treering.cli.pushing",
)  # fmt: skip
MAX_REQUEST: Final = 4 << 20
STREAMS: Final = 4
CREDENTIALS: Final = struct.Struct("=iII")


@dataclass(frozen=True)
class Handed:
    """A command: its words, its surroundings, descriptors of its streams and folder."""

    message: dict[str, Any]
    descriptors: list[int]


class Worker:
    """Listens at `place` until the process `driver` has ended."""

    def __init__(self, place: Path, driver: int) -> None:
        self._place = place
        self._like = likeness()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        place.unlink(missing_ok=True)
        self._socket.bind(os.fspath(place))
        place.chmod(0o600)
        self._socket.listen()
        self._listening = True
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._driver = os.pidfd_open(driver)
        self._selector.register(self._driver, selectors.EVENT_READ)
        self._children: dict[int, tuple[int, socket.socket]] = {}
        """Of each running command, by the descriptor of its process: its number, and who waits."""

    def serve(self) -> None:
        """Until the driver has ended, and the commands that run then."""
        while self._listening or self._children:
            for key, _ in self._selector.select():
                if key.fd == self._driver:
                    self._hang_up()
                elif key.fileobj is self._socket:
                    if self._listening:
                        self._accept()
                elif key.data is None:
                    self._ended(key.fd)
                else:
                    self._signalled(key.data)

    def _hang_up(self) -> None:
        self._listening = False
        self._place.unlink(missing_ok=True)
        for each in (self._driver, self._socket):
            self._selector.unregister(each)
        self._socket.close()

    def _accept(self) -> None:
        connection, _ = self._socket.accept()
        with suppress(OSError, ValueError, KeyError, TypeError):
            connection.settimeout(5)
            handed = _receive(connection)
            try:
                if all(handed.message[key] == value for key, value in self._like.items()):
                    self._start(connection, handed)
                    return
            finally:
                for descriptor in handed.descriptors:
                    os.close(descriptor)
        connection.close()

    def _start(self, connection: socket.socket, handed: Handed) -> None:
        connection.sendall(ACCEPTED)
        pid = os.fork()
        if not pid:
            _become(handed)
        child = os.pidfd_open(pid)
        self._children[child] = pid, connection
        self._selector.register(child, selectors.EVENT_READ)
        self._selector.register(connection, selectors.EVENT_READ, child)

    def _ended(self, child: int) -> None:
        """A command has ended: its code is what the client's is to be."""
        pid, connection = self._children.pop(child)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        with suppress(KeyError):
            self._selector.unregister(connection)
        self._selector.unregister(child)
        os.close(child)
        with suppress(OSError):
            connection.sendall(CODE.pack(code if code >= 0 else 128 - code))
        connection.close()

    def _signalled(self, child: int) -> None:
        """A client passes on a signal, or is gone: so would its command be."""
        _, connection = self._children[child]
        try:
            numbers = connection.recv(64)
        except OSError:
            numbers = b""
        if not numbers:
            self._selector.unregister(connection)
            numbers = bytes([signal.SIGTERM])
        for number in numbers:
            if number in PASSED_ON:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(child, number)


def _receive(connection: socket.socket) -> Handed:
    """A command that is handed over, by the user we run as. ValueError, OSError."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    if CREDENTIALS.unpack(peer)[1] != os.geteuid():
        raise ValueError("somebody else")
    head, descriptors, _, _ = socket.recv_fds(connection, LENGTH.size, STREAMS)
    try:
        length = int.from_bytes(head, "little")
        if len(head) < LENGTH.size or length > MAX_REQUEST or len(descriptors) != STREAMS:
            raise ValueError("no request")
        content = b""
        while len(content) < length:
            piece = connection.recv(length - len(content))
            if not piece:
                raise ValueError("cut short")
            content += piece
        return Handed(json.loads(content), descriptors)
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _become(handed: Handed) -> NoReturn:
    """In the forked process: be the command, to its end."""
    code = 1
    try:
        message = handed.message
        for number in PASSED_ON:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for place, descriptor in enumerate(handed.descriptors[:3]):
            os.dup2(descriptor, place)
        os.fchdir(handed.descriptors[3])
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.environ.clear()
        os.environ.update(message["environment"])
        os.umask(message["umask"])
        time.tzset()
        sys.argv[:] = ["treering", *message["arguments"]]
        code = run(message["arguments"])
        drop_unwritten()
    finally:
        os._exit(code)


def start(place: Path, driver: int, log: Path) -> None:
    """Start one in the background. OSError."""
    settings = json.dumps({"place": os.fspath(place), "driver": driver, "log": os.fspath(log)})
    subprocess.Popen(
        [sys.executable, "-m", "treering.cli.worker", settings],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def main() -> None:
    settings = json.loads(sys.argv[1])
    for name in (*MODULES, *(f"treering.cli.commands.{name}" for name in sorted(COMMANDS))):
        importlib.import_module(name)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    try:
        Worker(Path(settings["place"]), settings["driver"]).serve()
    except Exception:
        # Opened for this alone: a log that is held open keeps its file system from an unmount.
        with open(settings["log"], "a") as log:
            traceback.print_exc(file=log)


if __name__ == "__main__":
    main()
