"""The inodes that the kernel knows, and how each is reached in the backing folder.

An inode goes by its tracker serial, which is also its number for the kernel. It is held by an
O_PATH descriptor, of which there are at most so many: the longest unused is closed, and opened
again by its name, for all changes of names come by way of us. What has no name keeps its own.

`enter` counts a look-up, `forget` takes some back; what the kernel has forgotten, nobody has open
and did not change is dropped. Any thread may call.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ...store.errors import StorageError
from ..block_map import TOP, Home, Serial
from ..map_pair import MapPair
from .recorder import Recorder, Unrecorded

FLAGS: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
RESERVED: Final = b".treering"


Key = int | tuple[int, int]


@dataclass(eq=False, slots=True)
class Inode:
    """`key` is the inode number in the backing, with the device if that is not the top's. `size` is
    that of a regular file, kept while it is open. `era`: in which it was made, 0 for what was there
    before. `files` are open files.
    `plain`: it has no set-ID bits or capabilities that a write would take away."""

    serial: Serial
    key: Key
    kind: int
    tracked: bool
    recorder: Recorder
    descriptor: int = -1
    lookups: int = 0
    files: int = 0
    size: int = 0
    era: int = 0
    plain: bool = False

    @property
    def number(self) -> int:
        """The inode number in the backing."""
        return self.key if isinstance(self.key, int) else self.key[1]

    @property
    def is_folder(self) -> bool:
        return self.kind == stat.S_IFDIR


class InodeTable:
    """Over the backing folder that is open as `top` (closed here)."""

    def __init__(self, pair: MapPair, top: int, max_descriptors: int) -> None:
        self._pair = pair
        self._unrecorded = Unrecorded(pair)
        self._max_descriptors = max_descriptors
        self._lock = threading.RLock()
        info = os.fstat(top)
        self._device = info.st_dev
        self.top = Inode(TOP, info.st_ino, stat.S_IFDIR, True, pair, top, lookups=1)
        self._by_serial: dict[int, Inode] = {TOP: self.top}
        self._by_key: dict[Key, Inode] = {self.top.key: self.top}
        self._open: OrderedDict[Serial, None] = OrderedDict()
        self._kept: set[Serial] = set()
        self.met: Callable[[], None] = lambda: None
        """Called after each look-up. It must not block."""

    def __len__(self) -> int:
        return len(self._by_serial)

    def get(self, node: int) -> Inode:
        """OSError ESTALE for a number that the kernel should have forgotten."""
        inode = self._by_serial.get(node)
        if inode is None:
            raise OSError(errno.ESTALE, "unknown inode")
        return inode

    def find(self, serial: Serial) -> Inode | None:
        """The inode with this serial, if it is known."""
        return self._by_serial.get(serial)

    def child(self, parent: Inode, name: bytes) -> Inode | None:
        """What lies there, if it is known."""
        with self._pair.lock:
            serial = self._pair.names.at(Home(parent.serial, name))
        return self._by_serial.get(serial) if serial is not None else None

    def known(self, number: int) -> Inode | None:
        """The inode with this number in the backing, if it is known."""
        with self._lock:
            return self._by_key.get(number)

    def _key(self, info: os.stat_result) -> Key:
        """Nearly all are on the top's device, and a pair takes three times as much."""
        number, device = info.st_ino, info.st_dev
        return number if device == self._device else (device, number)

    def look_up(self, parent: Inode, name: bytes) -> tuple[Inode, os.stat_result]:
        """Open and count what lies there. OSError."""
        descriptor = os.open(name, FLAGS, dir_fd=self.descriptor(parent))
        try:
            info = os.fstat(descriptor)
            return self.enter(parent, name, descriptor, info), info
        except BaseException:
            os.close(descriptor)
            raise

    def enter(self, parent: Inode, name: bytes, descriptor: int, info: os.stat_result) -> Inode:
        """Count a look-up of what is open as `descriptor`, which is ours from now on."""
        home = Home(parent.serial, name)
        with self._lock:
            inode = self._by_key.get(self._key(info))
            if inode is not None:
                self._pair.met(home, inode.serial)
            else:
                tracked = parent.tracked and not (parent is self.top and name == RESERVED)
                inode = self._add(self._pair.met(home), info, tracked=tracked)
            self._keep(inode, descriptor)
            inode.lookups += 1
        self.met()
        return inode

    def enter_new(
        self, serial: Serial, descriptor: int, info: os.stat_result, parent: Inode, era: int
    ) -> Inode:
        """Count the first look-up of what was just made, open as `descriptor`."""
        with self._lock:
            inode = self._add(serial, info, tracked=parent.tracked)
            inode.era = era
            self._keep(inode, descriptor)
            inode.lookups += 1
        self.met()
        return inode

    def _add(self, serial: Serial, info: os.stat_result, *, tracked: bool) -> Inode:
        key = self._key(info)
        recorder: Recorder = self._pair if tracked else self._unrecorded
        inode = Inode(serial, key, stat.S_IFMT(info.st_mode), tracked, recorder)
        inode.size = info.st_size
        self._by_serial[serial] = inode
        self._by_key[key] = inode
        return inode

    def oldest(self, count: int) -> list[Home]:
        """A name of each of the inodes that were met first and that the kernel knows. They count as
        met last from now on. What it has forgotten, and was kept because it had changed, is
        dropped if that has been committed, or its name tells it all."""
        found = []
        with self._lock:
            for serial, inode in list(islice(self._by_serial.items(), 1, count + 1)):
                if serial in self._by_serial and inode.lookups <= 0:
                    self.release(inode, made=True)
                if self._by_serial.pop(serial, None) is None:
                    continue  # dropped now, or along with what was in it
                self._by_serial[serial] = inode
                with self._pair.lock:
                    homes = self._pair.names.homes(inode.serial)
                if homes and not inode.files:
                    found.append(next(iter(homes)))
        return found

    # -- descriptors -----------------------------------------------------------------------------

    def descriptor(self, inode: Inode) -> int:
        """An O_PATH descriptor, good until other inodes were used. OSError ESTALE when somebody has
        changed names behind our back."""
        with self._lock:
            if inode.descriptor < 0:
                self._keep(inode, self._reopened(inode))
            elif inode is not self.top:
                self._open.move_to_end(inode.serial)
            return inode.descriptor

    def _reopened(self, inode: Inode) -> int:
        with self._pair.lock:
            homes = list(self._pair.names.homes(inode.serial))
        for home in homes:
            folder = self.descriptor(self.get(home.folder))
            try:
                descriptor = os.open(home.name, FLAGS, dir_fd=folder)
            except FileNotFoundError:
                continue
            info = os.fstat(descriptor)
            if self._key(info) == inode.key:
                return descriptor
            os.close(descriptor)
        raise OSError(errno.ESTALE, "changed behind the mount")

    def _keep(self, inode: Inode, descriptor: int) -> None:
        """Hold an inode by this descriptor, unless it has one."""
        if inode.descriptor >= 0:
            os.close(descriptor)
        else:
            inode.descriptor = descriptor
        if inode is not self.top:
            self._open[inode.serial] = None
            self._open.move_to_end(inode.serial)
        while len(self._open) > self._max_descriptors:
            if not self._close_one():
                break

    def _close_one(self) -> bool:
        """Close the descriptor that was not used for longest, of what can be opened again."""
        for serial in self._open:
            with self._pair.lock:
                named = bool(self._pair.names.homes(serial))
            if named and self._by_serial[serial].descriptor >= 0:
                self._shut(self._by_serial[serial])
                return True
        return False

    def _shut(self, inode: Inode) -> None:
        self._open.pop(inode.serial, None)
        if inode.descriptor >= 0:
            os.close(inode.descriptor)
            inode.descriptor = -1

    # -- the end of an inode ---------------------------------------------------------------------

    def forget(self, node: int, count: int) -> None:
        """The kernel takes back so many look-ups."""
        with self._lock:
            inode = self._by_serial.get(node)
            if inode is not None and inode is not self.top:
                inode.lookups -= count
                self.release(inode)

    def release(self, inode: Inode, *, made: bool = False) -> None:
        """Drop an inode if nobody uses it and nothing need be remembered of it; `made` as in
        `MapPair.evicted`. Call it when a use has ended."""
        with self._lock:
            while inode is not self.top and inode.lookups <= 0 and not inode.files:
                with self._pair.lock:
                    homes = self._pair.names.homes(inode.serial)
                    above = next(iter(homes)).folder if homes else None
                if above is None:
                    if self._links(inode) or self._keeps(inode):
                        return  # it has names that we never saw, or a commit wants it
                    self._pair.ended(inode.serial, folder=inode.is_folder)
                elif not self._pair.evicted(inode.serial, made=made):
                    return
                self._shut(inode)
                del self._by_serial[inode.serial]
                self._by_key.pop(inode.key, None)
                parent = self._by_serial.get(above) if above is not None else None
                if parent is None:
                    return
                inode = parent

    def _keeps(self, inode: Inode) -> bool:
        """Whether a commit has not read yet what is gone. It is reached by its descriptor alone, of
        which there are not any number."""
        swap = self._pair.swap
        if swap is None or not inode.tracked or not swap.concerns(inode.serial):
            return False
        self._kept.add(inode.serial)
        if len(self._kept) > self._max_descriptors // 2:
            swap.fail(
                StorageError(
                    "more files were deleted during a commit than can be kept for it",
                    hint="commit again",
                )
            )
        return True

    def let_go(self) -> None:
        """A commit has ended: drop what was only kept for it."""
        with self._lock:
            kept, self._kept = self._kept, set()
            for serial in kept:
                inode = self._by_serial.get(serial)
                if inode is not None:
                    self.release(inode)

    def _links(self, inode: Inode) -> int:
        if inode.descriptor < 0 or inode.is_folder:
            return 0
        return os.fstat(inode.descriptor).st_nlink

    def pin(self, parent: Inode, name: bytes) -> Inode | None:
        """What is about to lose this name, with its descriptor open: it may be its last one. None
        for what is not known."""
        inode = self.child(parent, name)
        if inode is not None:
            self.descriptor(inode)
        return inode

    def close(self) -> None:
        """Close all descriptors, the top's too."""
        with self._lock:
            for inode in self._by_serial.values():
                self._shut(inode)
