"""Keeping the number of known inodes bounded: the kernel is asked to forget the oldest.

It keeps what is in use, and forgets the rest in a request of its own. A thread asks, never the
reader: the kernel takes the folder's lock for it, which a request that waits for us may hold.
"""

from __future__ import annotations

import threading
from typing import Final

from . import protocol
from .inodes import InodeTable
from .protocol import Notify
from .session import Session

MAX_INODES: Final = 131_072
AT_ONCE: Final = 1024


class Trimmer:
    """`check` after look-ups; it costs nothing while there are few."""

    def __init__(self, inodes: InodeTable, session: Session, limit: int = MAX_INODES) -> None:
        self._inodes = inodes
        self._session = session
        self._limit = limit
        self._most = limit
        self._wanted = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="trimmer", daemon=True)
        self._thread.start()

    def check(self) -> None:
        if len(self._inodes) > self._most:
            self._wanted.set()

    def stop(self) -> None:
        self._ended = True
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._ended:
                return
            self._trim()

    def _trim(self) -> None:
        """Down to nine tenths, or until all were asked once."""
        asked, all_of_them = 0, len(self._inodes)
        while len(self._inodes) > self._limit * 9 // 10 and asked < all_of_them:
            for home in self._inodes.oldest(AT_ONCE):
                try:
                    name = protocol.INVAL_ENTRY.pack(home.folder, len(home.name), 0)
                    self._session.notify(Notify.INVAL_ENTRY, name + home.name + b"\0")
                except OSError:
                    pass  # it does not know the name, or the mount is going
            asked += AT_ONCE
        # What cannot be forgotten is not asked again before there is much more of it.
        self._most = max(self._limit, len(self._inodes) * 5 // 4)
