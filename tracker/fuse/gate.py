"""The gate: what changes the tree passes it, or is parked while the maps are swapped.

What is parked has not been answered, so it counts as not yet begun. Nobody is kept waiting but its
caller: the reader reads on, and helpers take up what was parked when the gate opens. Pages of
shared mappings always pass, for the kernel sends them when it likes.

What every request meets while the gate is open takes no lock: the reader says by an attribute when
it has a request in hand, and a change is counted before it looks at the gate. The interpreter's own
lock orders that against the closing, after which whoever closed it looks at both.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from . import protocol
from .protocol import Opcode, Request

CHANGES: Final = frozenset(
    {
        Opcode.SETATTR,
        Opcode.SYMLINK,
        Opcode.MKNOD,
        Opcode.MKDIR,
        Opcode.UNLINK,
        Opcode.RMDIR,
        Opcode.RENAME,
        Opcode.RENAME2,
        Opcode.LINK,
        Opcode.OPEN,
        Opcode.CREATE,
        Opcode.TMPFILE,
        Opcode.WRITE,
        Opcode.FALLOCATE,
        Opcode.COPY_FILE_RANGE,
        Opcode.COPY_FILE_RANGE_64,
        Opcode.SETXATTR,
        Opcode.REMOVEXATTR,
    }
)
MAX_PARKED: Final = 64 << 20
"""Bytes of data that may wait at the gate: with more of it the gate is not to stay closed."""
NAP: Final = 20e-6


class Gate:
    """`tracked` tells whether an inode, by its number, is of the tree and not of `.treering`."""

    def __init__(self, tracked: Callable[[int], bool]) -> None:
        self._tracked = tracked
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._parked: list[Request] = []
        self._parked_bytes = 0
        self.is_closed = False
        self.running: set[int] = set()
        """Changes that were let in, and not answered yet."""
        self.in_hand = False
        """The reader is at a request, which it may be answering without asking the gate."""

    def enter(self, request: Request) -> bool:
        """Whether a request may go on. If not, it is parked."""
        if request.opcode not in CHANGES:
            return True
        self.running.add(request.unique)  # before the look at the gate
        return not self.is_closed or not self._park(request)

    def _park(self, request: Request) -> bool:
        with self._lock:
            if not self.is_closed or not self._tracked(request.node) or _passes(request):
                return False
            self.running.discard(request.unique)
            # What the data lie in is used again meanwhile.
            self._parked.append(request._replace(data=memoryview(bytes(request.data))))
            self._parked_bytes += len(request.data)
            self._idle.notify_all()
            return True

    def leave(self, unique: int) -> None:
        """A change has been made, and is about to be answered."""
        self.running.discard(unique)
        if self.is_closed:
            with self._lock:
                self._idle.notify_all()

    @contextmanager
    def closed(self, parked: list[Request]) -> Iterator[None]:
        """Close the gate; at the end it is open, and what was parked is added to the list, to be
        taken up again."""
        with self._lock:
            self.is_closed = True
        try:
            yield
        finally:
            with self._lock:
                self.is_closed = False
                parked += self._parked
                self.running.update(request.unique for request in parked)
                self._parked, self._parked_bytes = [], 0

    def wait_until_still(self, seconds: float) -> bool:
        """With the gate closed, wait until no change is under way; whether that came in time, and
        before too much was parked."""
        ends = time.monotonic() + seconds
        while self.in_hand:
            if time.monotonic() > ends:
                return False
            time.sleep(NAP)
        with self._lock:
            self._idle.wait_for(
                lambda: not self.running or self._parked_bytes > MAX_PARKED,
                ends - time.monotonic(),
            )
            return not self.running


def _passes(request: Request) -> bool:
    """Whether it changes nothing after all, or is what a mapping holds."""
    if request.opcode == Opcode.WRITE:
        _, _, _, flags, *_ = protocol.WRITE_IN.unpack(request.body)
        return bool(flags & protocol.WRITE_CACHE)
    if request.opcode == Opcode.OPEN:
        flags, *_ = protocol.OPEN_IN.unpack_from(request.body)
        return not flags & os.O_TRUNC
    return False
