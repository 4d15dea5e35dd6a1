"""Claims: who stores an object that several workers meet at the same time.

A claim is True for one of them and False for the rest, and False for what the block index has
already. The claims of one writer are a set in its process. Several processes that write packs of
their own for one command share a log of claims: an anonymous file of keys, read and
continued under a POSIX record lock, which the kernel lets go when a process dies. The log is cut
when it grows long; an object may then be stored twice, which costs its room and nothing else.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from .block_index import BlockIndex
from .errors import storage_error
from .ids import KEY_LENGTH

MAX_LOGGED: Final = 200_000
"""Keys in the shared log: 6.6 MB in all, some 20 MiB in each process."""
HEADER: Final = struct.Struct("<QQ")
"""How often the log was cut, keys in it."""


class Claims(Protocol):
    """Hands each absent object to one caller. Safe from any thread."""

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        """For each key whether the caller has to store it. Who gets True must, or the command must
        fail: others rely on it."""

    def stored(self, keys: Iterable[bytes]) -> None:
        """These are in the block index by now."""


class OwnClaims:
    """The claims of one writer."""

    def __init__(self, index: BlockIndex) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._pending: set[bytes] = set()

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        pending = self._pending
        wanted = []
        with self._lock:
            for key in keys:
                wanted.append(key not in pending)
                pending.add(key)
        # The index is asked after pending: a key leaves pending only when the index has it.
        fresh = [key for key, mine in zip(keys, wanted, strict=True) if mine]
        present = self._index.present(fresh)
        there = {key for key, found in zip(fresh, present, strict=True) if found}
        with self._lock:
            pending -= there
        return [mine and key not in there for key, mine in zip(keys, wanted, strict=True)]

    def stored(self, keys: Iterable[bytes]) -> None:
        with self._lock:
            self._pending.difference_update(keys)


class SharedClaims:
    """The claims of the processes that share the log open at `descriptor` (`claim_log`)."""

    def __init__(self, index: BlockIndex, descriptor: int) -> None:
        self._index = index
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._known: set[bytes] = set()
        self._cuts = self._count = 0

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        present = self._index.present(keys)
        absent = [key for key, found in zip(keys, present, strict=True) if not found]
        if not absent:
            return [False] * len(keys)
        try:
            mine = self._log(absent)
        except OSError as error:
            raise storage_error("sharing claims", error) from error
        wanted = []
        for key in keys:
            wanted.append(key in mine)
            mine.discard(key)
        return wanted

    def stored(self, keys: Iterable[bytes]) -> None:
        """Nothing to do: the log is cut when it grows long."""

    def _log(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of `keys` that nobody has claimed, which are ours from now on."""
        descriptor = self._descriptor
        with self._lock:
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
            try:
                self._catch_up()
                mine = set(keys) - self._known
                os.pwrite(descriptor, b"".join(mine), self._position())
                self._known |= mine
                self._count += len(mine)
                os.pwrite(descriptor, HEADER.pack(self._cuts, self._count), 0)
            finally:
                fcntl.lockf(descriptor, fcntl.LOCK_UN)
        return mine

    def _catch_up(self) -> None:
        """Take over what others have claimed since the last time; cut a long log."""
        cuts, count = HEADER.unpack(os.pread(self._descriptor, HEADER.size, 0))
        if cuts != self._cuts:
            self._known.clear()
            self._cuts, self._count = cuts, 0
        more = os.pread(self._descriptor, (count - self._count) * KEY_LENGTH, self._position())
        self._known.update(
            more[start : start + KEY_LENGTH] for start in range(0, len(more), KEY_LENGTH)
        )
        self._count = count
        if count > MAX_LOGGED:
            self._known.clear()
            self._cuts, self._count = cuts + 1, 0

    def _position(self) -> int:
        return HEADER.size + self._count * KEY_LENGTH


def claim_log() -> int:
    """A new empty log of claims, to be inherited by the processes that share it."""
    try:
        descriptor = os.memfd_create("claims")
        os.pwrite(descriptor, HEADER.pack(0, 0), 0)
    except OSError as error:
        raise storage_error("sharing claims", error) from error
    return descriptor
