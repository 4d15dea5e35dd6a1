"""What stood at the instant of a commit while the tree goes on changing.

A commit reads the frozen blocks from the tree itself. Whoever is about to change one that was not
read yet first saves what it holds; the commit reads, then asks which of what it read had been saved
before, and takes those from here. To check, to save and to mark is one step for each block, and so
is the commit's question, which makes the others captured: so it gets every block as it stood at the
swap, and no writer waits for more than one read.

The same holds for an object's attributes, its size among them. What is saved has a limit; whoever
would have to save more waits for the commit to get on, but not for a commit that stands still.

Any thread. Locks: one of `LOCKS` for a serial, then the pair's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Final, Generic, Protocol, TypeVar

from pyroaring import BitMap64

from ..store.errors import StorageError, storage_error
from .block_map import TOP, BlockMap, Home, Serial
from .name_log import NameLog
from .saved_blocks import SavedBlocks

LOCKS: Final = 64
PATIENCE: Final = 10.0
"""Seconds that a commit may stand still while somebody waits for it."""
AT_ONCE: Final = 64 << 20
"""Bytes that are saved for one change. The commit reads more than that sooner."""
Attributes = TypeVar("Attributes")
Attributes_co = TypeVar("Attributes_co", covariant=True)


class Copy(Protocol):
    """A file as it was."""

    def read(self, offset: int, length: int) -> bytes:
        """OSError."""

    def close(self) -> None: ...


class Objects(Protocol[Attributes_co]):
    """The live objects, by serial. OSError."""

    def read(self, serial: Serial, offset: int, length: int) -> bytes:
        """Bytes of a file; fewer at its end."""

    def attributes(self, serial: Serial) -> Attributes_co:
        """What a commit records of an object besides content and names."""

    def copied(self, serial: Serial) -> Copy | None:
        """A copy of a file that shares its blocks until one of the two changes; None where the file
        system has no such thing."""


class Swap(Generic[Attributes]):
    """From a swap to the end of its commit. `frozen` are the changes that the commit takes, which
    nobody changes any more. After a failure nothing is saved, and the commit cannot go on."""

    def __init__(
        self,
        frozen: BlockMap,
        log: NameLog,
        lock: threading.Lock,
        objects: Objects[Attributes],
        saved: SavedBlocks,
        patience: float = PATIENCE,
    ) -> None:
        self._frozen = frozen
        self._log = log
        self._names_lock = lock
        self._objects = objects
        self._saved = saved
        self._block_size = frozen.block_size
        self._locks = [threading.Lock() for _ in range(LOCKS)]
        self._captured: dict[Serial, BitMap64] = {}
        self._whole: set[Serial] = set()
        self._copies: dict[Serial, Copy] = {}
        self._attributes: dict[Serial, Attributes] = {}
        self._looked_at: set[Serial] = set()
        self._new: dict[Serial, bool] = {}
        self._steps = 0
        self._moved_on = threading.Condition()
        self._patience = patience
        self.failure: StorageError | None = None
        self.on_failure: Callable[[], None] = lambda: None
        """Called once, from whatever thread, which may hold locks."""

    # -- before a change -------------------------------------------------------------------------

    def before_write(self, serial: Serial, offset: int, length: int, size: int) -> None:
        """Bytes of a file of `size` bytes are about to be written, perhaps beyond its end: of what
        is behind the size that the commit records it takes nothing."""
        if length > 0:
            self._save(serial, offset, min(offset + length, size))

    def before_resize(self, serial: Serial, before: int, after: int) -> None:
        """A file is about to change its size."""
        self._save(serial, after, before)

    def before_touch(self, serial: Serial) -> None:
        """Attributes are about to change."""
        self._save(serial, 0, 0)

    def concerns(self, serial: Serial) -> bool:
        """Whether a change of this object has to be told; a commit that failed, or has all of it,
        wants none."""
        if self.failure is not None or serial in self._whole:
            return False
        return self._is_frozen(serial) or self.is_new(serial)

    def fail(self, error: StorageError) -> None:
        """The commit comes to nothing: something that it needs is lost."""
        with self._moved_on:
            first, self.failure = self.failure is None, self.failure or error
            self._moved_on.notify_all()
        if first:
            self.on_failure()

    def end(self) -> None:
        """The commit has ended: nothing is saved any more."""
        with self._moved_on:
            self.failure = self.failure or StorageError("the commit has ended")
            self._moved_on.notify_all()
        copies, self._copies = self._copies, {}
        for copy in copies.values():
            copy.close()

    def _save(self, serial: Serial, start: int, end: int) -> None:
        """Save the attributes, and the blocks that have any byte from `start` to `end`."""
        size = self._block_size
        try:
            while self.concerns(serial):
                steps = self._steps
                if self._saved_all(serial, start // size, -(-end // size)):
                    return
                self._wait(steps)
        except (OSError, StorageError) as error:
            # The commit's loss: whoever writes goes on, and is told what its own write comes to.
            what = "reading what is overwritten during a commit"
            self.fail(error if isinstance(error, StorageError) else storage_error(what, error))

    def _saved_all(self, serial: Serial, first: int, end: int) -> bool:
        """Whether it is all saved now; not, if there is too much of it."""
        size = self._block_size
        with self._lock(serial):
            if serial in self._whole:
                return True
            if serial not in self._looked_at:
                self._attributes[serial] = self._objects.attributes(serial)
                self._looked_at.add(serial)
            wanted = self._wanted(serial, first, end)
            if len(wanted) * size > AT_ONCE:
                # Where it cannot be copied, the commit is sooner there than all of it is saved.
                return self._copy(serial)
            return all(
                self._saved.put(serial, number, self._objects.read(serial, number * size, size))
                for number in wanted
            )

    def _copy(self, serial: Serial) -> bool:
        """Whether all of a file that was not saved or read yet is in a copy from now on."""
        copy = self._objects.copied(serial)
        if copy is None:
            return False
        self._copies[serial] = copy
        return True

    def _wait(self, steps: int) -> None:
        """Wait until the commit has got on from there."""
        with self._moved_on:
            moved = self._moved_on.wait_for(
                lambda: self._steps != steps or self.failure is not None, self._patience
            )
        if not moved:
            self.fail(
                StorageError(
                    "the commit stood still while more was overwritten than can be kept for it",
                    hint="commit again",
                )
            )

    def step(self) -> None:
        """The commit has got on."""
        with self._moved_on:
            self._steps += 1
            self._moved_on.notify_all()

    def _wanted(self, serial: Serial, first: int, end: int) -> BitMap64:
        """Which of these blocks have to be saved."""
        blocks = BitMap64()
        if first < end and serial not in self._copies:
            blocks.add_range(first, end)
            blocks &= self.frozen_blocks(serial, end)
            blocks -= self._captured.get(serial, BitMap64())
            blocks -= self._saved.blocks(serial)
        return blocks

    # -- the commit's questions ------------------------------------------------------------------

    def frozen_blocks(self, serial: Serial, end: int) -> BitMap64:
        """Those of a file's blocks before `end` that the commit reads: all of what is new, else
        what was changed, and what lies behind the smallest size that the file had."""
        change = self._frozen.files.get(serial)
        blocks = BitMap64() if change is None else change.blocks()
        if self.is_new(serial):
            blocks.add_range(0, end)
        elif change is not None and change.smallest is not None:
            smallest = change.smallest // self._block_size
            blocks.add_range(min(smallest, end), end)
        blocks.remove_range(end, 1 << 63)
        return blocks

    def attributes(self, serial: Serial) -> Attributes:
        """Those of an object as it stood at the swap; asked once. OSError."""
        with self._lock(serial):
            if serial in self._attributes:
                return self._attributes[serial]
            found = self._objects.attributes(serial)
            self._looked_at.add(serial)
            return found

    def is_unchanged(self, serial: Serial) -> bool:
        """The commit has just read all of an object: whether it was as at the swap until now. If
        so, all of it counts as captured. StorageError as `settle`."""
        with self._lock(serial):
            if self.failure is not None:
                raise self.failure
            if serial in self._attributes:
                return False
            self._whole.add(serial)
        self.step()
        return True

    def settle(self, serial: Serial, blocks: Iterable[int]) -> dict[int, bytes]:
        """The commit has just read these blocks: what they held at the swap, of those that were
        saved before. What it read of the others holds. All count as captured. StorageError when
        something could not be saved."""
        with self._lock(serial):
            if self.failure is not None:
                raise self.failure
            found = self._saved.take(serial, blocks)
            if serial in self._copies:
                found |= self._from_copy(serial, set(blocks) - found.keys())
            self._captured.setdefault(serial, BitMap64()).update(blocks)
        self.step()
        return found

    def _from_copy(self, serial: Serial, blocks: Iterable[int]) -> dict[int, bytes]:
        """Those that were not read before the copy was made hold what it has."""
        copy, size = self._copies[serial], self._block_size
        captured = self._captured.get(serial, ())
        try:
            return {n: copy.read(n * size, size) for n in blocks if n not in captured}
        except OSError as error:
            raise storage_error("reading what was saved for a commit", error) from error

    def is_captured(self, serial: Serial, block: int) -> bool:
        with self._lock(serial):
            return serial in self._whole or block in self._captured.get(serial, ())

    def _lock(self, serial: Serial) -> threading.Lock:
        return self._locks[serial % LOCKS]

    # -- what is frozen --------------------------------------------------------------------------

    def _is_frozen(self, serial: Serial) -> bool:
        frozen = self._frozen
        return (
            serial in frozen.files
            or serial in frozen.attributes
            or serial in frozen.names
            or serial in frozen.homes
        )

    def is_new(self, serial: Serial) -> bool:
        """Whether an object that was there at the swap has no place in the base root: itself, or a
        folder that it lay in. All of it is then read."""
        found = self._new.get(serial)
        if found is None:
            with self._names_lock:
                found = self._new[serial] = self._log.path(serial) is not None and not self._bound(
                    serial
                )
        return found

    def _bound(self, serial: Serial) -> bool:
        while serial != TOP:
            home: Home | None
            if serial in self._frozen.homes:
                home = self._frozen.homes[serial]
            else:
                home = next(self._log.homes(serial), None)
            if home is None or self._frozen.is_new_name(home):
                return False
            serial = home.folder
        return True
