"""The thin side of the worker: commands of an attached tree are handed to a process that has all
imported, which takes half of their time away.

The command line, the environment, the standard streams and the folder go over; the exit code comes
back, and signals are passed on. Whatever is not just as it was when the worker was started - user,
powers, limits, namespaces, version, encoding - makes it refuse, and the command is run here as
ever. Imports little: it comes before everything else.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from .version import VERSION

COMMANDS: Final = frozenset({"status", "commit"})
FLAGS: Final = frozenset({"-q", "--quiet", "-v", "--verbose", "--json", "--no-pager"})
LENGTH: Final = struct.Struct("<I")
CODE: Final = struct.Struct("<i")
ACCEPTED: Final = b"Y"
PASSED_ON: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOST: Final = 1
SECONDS: Final = 5.0
POWERS: Final = ("CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:")
"""Lines of /proc/PID/status."""
LIMITS: Final = (
    resource.RLIMIT_AS,
    resource.RLIMIT_CPU,
    resource.RLIMIT_DATA,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_NPROC,
)


def likeness() -> dict[str, Any]:
    """What must be the same on both sides."""
    top = Path("/").stat()
    return {
        "version": VERSION,
        "prefix": sys.prefix,
        "encoding": sys.getfilesystemencoding() + " " + (sys.stdout.encoding if sys.stdout else ""),
        "ids": [*os.getresuid(), *os.getresgid(), *sorted(os.getgroups())],
        "powers": [line for line in _status() if line.startswith(POWERS)],
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "limits": [_limit(name) for name in LIMITS],
        "mounts": Path("/proc/self/ns/mnt").stat().st_ino,
        "processes": Path("/proc/self/ns/pid").stat().st_ino,
        "root": [top.st_dev, top.st_ino],
    }


def _status() -> list[str]:
    return Path("/proc/self/status").read_text(errors="replace").splitlines()


def _limit(number: int) -> list[int]:
    """A limit of resources. Of open files only the hard one: the soft one every command raises."""
    soft, hard = resource.getrlimit(number)
    return [hard] if number == resource.RLIMIT_NOFILE else [soft, hard]


def worker_socket(control: Path) -> Path:
    """Where the worker listens, beside the driver's control socket."""
    return control.with_suffix(".worker")


def run_there(arguments: Sequence[str]) -> int | None:
    """The exit code of a command that a worker ran; None where the command is to be run here."""
    if "TREERING_NO_WORKER" in os.environ:
        return None
    try:
        start = _start_of(arguments)
        top = _attached_above(start) if start is not None else None
        connection = _connect(top) if top is not None else None
    except (OSError, RuntimeError):
        return None
    if connection is None:
        return None
    with connection:
        if not _hand_over(connection, arguments):
            return None
        return _wait(connection)


def _start_of(arguments: Sequence[str]) -> Path | None:
    """The folder where the command starts, if it is one for a worker."""
    start, rest = Path.cwd(), iter(arguments)
    for word in rest:
        if word == "-C":
            start = start / next(rest, "")
        elif word in COMMANDS:
            return start.resolve(strict=True)
        elif word not in FLAGS:
            return None
    return None


def _attached_above(start: Path) -> Path | None:
    return next((top for top in (start, *start.parents) if (top / ".treering").is_dir()), None)


def _connect(top: Path) -> socket.socket | None:
    from ..store.errors import InvalidInput
    from ..tracker.fuse.control import socket_path
    from .driver_socket import socket_folder

    try:
        place = worker_socket(socket_path(socket_folder(), top))
    except InvalidInput:
        return None
    if not place.exists():
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(SECONDS)
        connection.connect(os.fspath(place))
    except OSError:
        connection.close()
        return None
    return connection


def _hand_over(connection: socket.socket, arguments: Sequence[str]) -> bool:
    """Whether the worker has taken the command."""
    streams = [stream.fileno() for stream in (sys.stdin, sys.stdout, sys.stderr) if stream]
    if len(streams) != 3:
        return False
    umask = os.umask(0)
    os.umask(umask)
    message = {
        **likeness(),
        "arguments": list(arguments),
        "environment": dict(os.environ),
        "umask": umask,
    }
    content = json.dumps(message).encode()
    folder = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        socket.send_fds(connection, [LENGTH.pack(len(content))], [*streams, folder])
        connection.sendall(content)
        return connection.recv(1) == ACCEPTED
    except OSError:
        return False
    finally:
        os.close(folder)


def _wait(connection: socket.socket) -> int:
    """Until it has ended. The worker is told of signals, which end the command as ever."""

    def pass_on(number: int, _frame: object) -> None:
        with suppress(OSError):
            connection.send(bytes([number]))

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        connection.settimeout(None)
        content = connection.recv(CODE.size, socket.MSG_WAITALL)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if len(content) < CODE.size:
        sys.stderr.write("treering: the worker of the attached tree was killed\n")
        return LOST
    (code,) = CODE.unpack(content)
    return int(code)
