"""The holder: a small process that takes the mount off when the driver dies without doing so.

It is forked before the driver has a thread or the connection, and waits at the end of a pipe whose
other end is the driver's alone. Killed or crashed, the driver closes it: the kernel has then failed
all requests (ENOTCONN), and without the mount the tree is there again as it lies on disk.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from . import mount

CLEAN = b"c"


class Holder:
    """Of the mounts at these folders, the outermost last. Make it in a process with one thread."""

    def __init__(self, folders: list[Path]) -> None:
        reading, self._writing = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid:
            os.close(reading)
            return
        try:
            _hold(reading, folders)
        finally:
            os._exit(0)

    def dismiss(self) -> None:
        """The mounts are off; the holder ends."""
        with suppress(OSError):
            os.write(self._writing, CLEAN)
        os.close(self._writing)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _hold(reading: int, folders: list[Path]) -> None:
    """Only the pipe stays open: everything else would keep what the driver had from ending."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    os.dup2(reading, 0)
    os.closerange(1, os.sysconf("SC_OPEN_MAX"))
    if os.read(0, 1) == CLEAN:
        return
    for folder in folders:
        with suppress(OSError):
            mount.unmount(folder, lazy=True)
