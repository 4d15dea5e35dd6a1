"""The change journal: where to look again after a crash, written before the change is made.

One file an era, `tracker/journal/ERA`. A suspect is written once an era, and synced before the
first change that it covers is made; who comes while a sync runs waits for the next one, which
covers all that was written meanwhile. New objects need no records of their own: their folder's
names cover them.

`prepare` makes the file of the next era before the swap, with the suspects that were hot lately,
so that writers who go on with what they did need not wait again; `swap` then only changes which
file is written. A file is deleted when a commit made its changes durable elsewhere.

A disk that refuses makes `add` or `sync` fail, and the change must not be made. After a failed sync
nobody knows what is durable, so that journal takes nothing more; the next era's does.

Any thread may call `need`, `add` and `sync`; `sync` blocks. The others are for who swaps the maps.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from ..store.durable import fsync_folder, pwrite_all
from ..store.errors import Corrupt, StorageError, storage_error
from .block_map import Serial
from .journal_records import (
    HEADER,
    UNIT,
    JournalFile,
    Look,
    Suspect,
    decode_journal,
    encode_header,
    encode_records,
)

HOT: Final = 1024
"""Suspects that are carried into the next era: at most so many, those met last."""
MAX_KNOWN: Final = 65_536
"""Suspects of one era. When there are more, the whole tree is one."""
AHEAD: Final = 1 << 20
"""Bytes that a file is made longer at once: a sync need not write its size, then."""


Key = tuple[int, Serial, int]
"""What a suspect is of: a `Look`, an object, an extent or 0. Its path may change meanwhile."""
_EVERYWHERE: Final = Suspect(Look.EVERYWHERE, 0, b"", b"")


@dataclass(eq=False)
class _File:
    """The journal of one era. `end` is where the next record goes, in units; `known` what it says,
    in the order in which it was met last, each with the number of the sync that it waits for;
    `everywhere`: the same, once no more need be said."""

    path: Path
    descriptor: int
    era: int
    key: bytes
    end: int
    size: int
    known: OrderedDict[Key, tuple[Suspect, int]] = field(default_factory=OrderedDict)
    everywhere: int | None = None
    broken: bool = False


class Journal:
    """The journal of an attached tree, in `folder`, which must exist. `off`: nothing is written,
    and after a crash everything is looked at."""

    def __init__(self, folder: Path, block_size: int, *, off: bool = False) -> None:
        self._folder = folder
        self._block_size = block_size
        self.off = off
        self._lock = threading.Lock()
        self._synced = threading.Condition(self._lock)
        self._current: _File | None = None
        self._next: _File | None = None
        self._written = 0
        self._durable = 0
        self._syncing = False
        self.syncs = 0

    def begin(self, era: int) -> None:
        """Start with an era. StorageError."""
        if not self.off:
            self._current = self._create(era, {})

    def need(self, key: Key) -> bool:
        """Whether a suspect is still to be written in this era, or to be synced. Keeps it hot."""
        with self._lock:
            current = self._current
            if current is None:
                return False
            if current.everywhere is not None:
                return current.everywhere > self._durable
            found = current.known.get(key)
            if found is None:
                return True
            current.known.move_to_end(key)
            return found[1] > self._durable

    def add(self, suspects: Mapping[Key, Suspect]) -> int:
        """Write those suspects that no one has; a number for `sync`, after which all are durable.
        StorageError, and then none of them counts as written."""
        with self._lock:
            current = self._current
            if current is None:
                return 0
            if current.everywhere is not None:
                return current.everywhere
            new = {key: each for key, each in suspects.items() if key not in current.known}
            if new:
                self._write(current, new)
            if current.everywhere is not None:
                return current.everywhere
            return max((current.known[key][1] for key in suspects), default=0)

    def _write(self, current: _File, new: Mapping[Key, Suspect]) -> None:
        if current.broken:
            raise StorageError("the change journal could not be synced")
        number = self._written + 1
        if len(current.known) + len(new) > MAX_KNOWN:
            self._append(current, [_EVERYWHERE])
            current.everywhere = number
        else:
            self._append(current, new.values())
            current.known.update({key: (each, number) for key, each in new.items()})
        self._written = number

    def sync(self, number: int) -> None:
        """Return when what `add` gave this number for is durable. StorageError."""
        with self._lock:
            while self._durable < number:
                if self._syncing:
                    self._synced.wait()
                else:
                    self._sync_now()

    def _sync_now(self) -> None:
        """One sync for all that wait. The lock is let go meanwhile."""
        current, reached = self._current, self._written
        assert current is not None
        if current.broken:
            raise StorageError("the change journal could not be synced")
        self._syncing = True
        self._lock.release()
        try:
            os.fdatasync(current.descriptor)
        except OSError as error:
            current.broken = True
            raise storage_error("syncing the change journal", error) from error
        finally:
            self._lock.acquire()
            self._syncing = False
            self._synced.notify_all()
        self.syncs += 1
        self._durable = reached

    # -- eras ------------------------------------------------------------------------------------

    def prepare(self, era: int) -> None:
        """Make the file of the next era, with what was hot in this one, durable. StorageError."""
        with self._lock:
            current = self._current
            if current is None:
                return
            hot = list(islice(reversed(current.known.items()), HOT))
        self._next = self._create(era, {key: each for key, (each, _) in reversed(hot)})

    def swap(self) -> None:
        """From now on the prepared file is written. Called while no change is under way, so nobody
        waits for a sync of the old one."""
        with self._lock:
            if self._next is not None:
                assert self._current is not None
                assert not self._syncing
                os.close(self._current.descriptor)
                self._current, self._next = self._next, None
                self._durable = self._written

    def give_up(self) -> None:
        """There will be no swap: delete what was prepared."""
        if self._next is not None:
            os.close(self._next.descriptor)
            self._next.path.unlink()
            self._next = None

    def done(self, era: int) -> None:
        """What changed up to this era is in a durable commit: its journals go."""
        for path in journal_files(self._folder):
            if int(path.name) <= era and (self._current is None or path != self._current.path):
                path.unlink()

    def close(self) -> None:
        """Nothing is deleted."""
        for file in (self._current, self._next):
            if file is not None:
                os.close(file.descriptor)
        self._current = self._next = None

    def _create(self, era: int, suspects: Mapping[Key, Suspect]) -> _File:
        path = self._folder / f"{era:016d}"
        key = secrets.token_bytes(32)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            file = _File(path, descriptor, era, key, -(-HEADER.size // UNIT), 0)
            try:
                os.fchmod(descriptor, 0o600)  # the driver's umask is that of whoever asks
                self._reserve(file, AHEAD)
                pwrite_all(descriptor, encode_header(self._block_size, era, key), 0)
                self._append(file, suspects.values())
                file.known.update({key: (each, 0) for key, each in suspects.items()})
                os.fsync(descriptor)
                fsync_folder(self._folder)
            except BaseException:
                os.close(descriptor)
                path.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise storage_error("making a change journal", error) from error
        return file

    def _append(self, file: _File, suspects: Iterable[Suspect]) -> None:
        content = encode_records(suspects, file.end, file.key)
        try:
            self._reserve(file, file.end * UNIT + len(content))
            pwrite_all(file.descriptor, content, file.end * UNIT)
        except OSError as error:
            raise storage_error("writing the change journal", error) from error
        file.end += len(content) // UNIT

    def _reserve(self, file: _File, size: int) -> None:
        if size > file.size:
            size = -(-size // AHEAD) * AHEAD
            os.posix_fallocate(file.descriptor, 0, size)
            file.size = size


def journal_files(folder: Path) -> list[Path]:
    """The journals that lie in a folder, oldest first."""
    return sorted(path for path in folder.iterdir() if path.name.isdigit())


def read_journals(folder: Path) -> Iterator[JournalFile]:
    """What all journals in a folder say, oldest first. Corrupt for a file that is none: whoever
    meets that looks at everything."""
    for path in journal_files(folder):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}") from error
        try:
            yield decode_journal(content)
        except Corrupt as error:
            raise Corrupt(f"{path}: {error.message}") from error
