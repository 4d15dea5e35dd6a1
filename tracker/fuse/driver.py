"""The driver: one mounted work tree, from mounting to the end of the connection.

    kernel ──► Session ──► NameRequests, ContentRequests, AttributeRequests, FolderRequests
                              │ Guard (journal first)   │ Recorder (the map pair)
                              ▼                         ▼
                           backing folder, by the descriptors of InodeTable

It opens neither Git nor a database. The backing folder is opened before anything is mounted over
it, so its descriptor leads past the mount.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Final

from ..block_map import Serial
from ..journal import Journal
from ..map_pair import MapPair
from ..saved_blocks import SavedBlocks
from ..scan import FOLDER_FLAGS
from . import mount, protocol
from .attributes import AttributeRequests
from .content import ContentRequests
from .folders import FolderRequests
from .found_changes import FoundChanges
from .freezer import Freezer
from .gate import Gate
from .guard import Guard
from .inodes import InodeTable
from .live_objects import LiveObjects
from .names import NameRequests
from .protocol import Notify, Opcode
from .session import Handler, Session
from .trimmer import MAX_INODES, Trimmer

MAX_DESCRIPTORS: Final = 65_536
SPARE_DESCRIPTORS: Final = 256
"""For everything but inodes and the files that programs have open."""


class Driver:
    """Mounted over `folder` when made; `serve` answers until it is unmounted. StorageError."""

    def __init__(
        self, folder: Path, pair: MapPair, journal: Journal, *, max_inodes: int = MAX_INODES
    ) -> None:
        self.folder = folder
        self.pair = pair
        top = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection = mount.mount(str(folder), folder)
        except BaseException:
            os.close(top)
            raise
        self.inodes = InodeTable(pair, top, _descriptors())
        gate = Gate(self._is_tracked)
        self.session = Session(connection, gate)
        self._freezer = Freezer(gate, self.barrier, self.session.again)
        self._journal = journal
        guard = Guard(journal, pair, self.inodes, self.session)
        names = NameRequests(self.inodes, pair, guard)
        self.content = ContentRequests(self.inodes, pair, guard, self.session, names)
        self.trimmer = Trimmer(self.inodes, self.session, max_inodes)
        self.inodes.met = self.trimmer.check
        self.objects = LiveObjects(self.inodes)
        self.found = FoundChanges(self.inodes, pair, names, guard)
        self.session.handle(self._handlers(guard, names))
        self.session.answer_quickly(Opcode.WRITE, self.content.write_inside)
        self.session.answer_quickly(Opcode.READ, self.content.read_cached)

    def _handlers(self, guard: Guard, names: NameRequests) -> dict[Opcode, Handler]:
        content = self.content
        attributes = AttributeRequests(self.inodes, self.pair, guard)
        folders = FolderRequests(self.inodes, self.session)
        return {
            Opcode.LOOKUP: names.lookup,
            Opcode.FORGET: names.forget,
            Opcode.BATCH_FORGET: names.batch_forget,
            Opcode.GETATTR: attributes.getattr,
            Opcode.SETATTR: attributes.setattr,
            Opcode.READLINK: names.readlink,
            Opcode.SYMLINK: names.symlink,
            Opcode.MKNOD: names.mknod,
            Opcode.MKDIR: names.mkdir,
            Opcode.UNLINK: names.unlink,
            Opcode.RMDIR: names.rmdir,
            Opcode.RENAME: names.rename,
            Opcode.RENAME2: names.rename2,
            Opcode.LINK: names.link,
            Opcode.OPEN: content.open,
            Opcode.CREATE: content.create,
            Opcode.TMPFILE: content.tmpfile,
            Opcode.READ: content.read,
            Opcode.WRITE: content.write,
            Opcode.RELEASE: content.release,
            # No FLUSH, which would come at each close: errors come with the writes.
            Opcode.FSYNC: content.fsync,
            Opcode.LSEEK: content.lseek,
            Opcode.FALLOCATE: content.fallocate,
            Opcode.COPY_FILE_RANGE: content.copy_file_range,
            Opcode.COPY_FILE_RANGE_64: content.copy_file_range_64,
            Opcode.STATFS: attributes.statfs,
            Opcode.GETXATTR: attributes.getxattr,
            Opcode.LISTXATTR: attributes.listxattr,
            Opcode.SETXATTR: attributes.setxattr,
            Opcode.REMOVEXATTR: attributes.removexattr,
            Opcode.OPENDIR: folders.opendir,
            Opcode.READDIR: folders.readdir,
            Opcode.READDIRPLUS: folders.readdirplus,
            Opcode.RELEASEDIR: folders.releasedir,
            Opcode.FSYNCDIR: folders.fsyncdir,
        }

    def barrier(self) -> None:
        """Have the kernel hand over what was stored through shared mappings until now. Not in the
        reader, which answers what the kernel sends meanwhile."""
        for inode in self.content.writable():
            content = protocol.INVAL_INODE.pack(inode.serial, 0, 0)
            with suppress(FileNotFoundError):  # closed meanwhile, and forgotten
                self.session.notify(Notify.INVAL_INODE, content)

    def freeze(
        self,
        saved: SavedBlocks | None = None,
        *,
        uncertain: bool = False,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> float:
        """Swap the maps at an instant at which no change is half made: the seconds for which
        changes had to wait. What is frozen is saved there before it changes; `uncertain` as in
        `MapPair.freeze`; `around` the swap changes wait, too. Conflict, with the maps as they were.
        Not in the reader."""

        def swap() -> None:
            with around():
                self._swap(saved, uncertain=uncertain)

        self._journal.prepare(self.pair.active.era + 1)
        try:
            return self._freezer.freeze(swap)
        except BaseException:
            self._journal.give_up()
            raise

    def _swap(self, saved: SavedBlocks | None, *, uncertain: bool) -> None:
        self.pair.freeze(uncertain=uncertain)
        self._journal.swap()
        if saved is not None:
            self.pair.preserve(self.objects, saved)

    def _is_tracked(self, node: int) -> bool:
        inode = self.inodes.find(Serial(node))
        return inode is not None and inode.tracked

    def open_backing(self) -> int:
        """The top folder below the mount, opened anew: as if somebody had opened it, the list of
        its names has a position."""
        return os.open(".", FOLDER_FLAGS, dir_fd=self.inodes.top.descriptor)

    def serve(self) -> None:
        """Answer requests. Returns when the file system was unmounted, or refused."""
        try:
            self.session.serve()
        finally:
            self.trimmer.stop()
            self.inodes.close()


def _descriptors() -> int:
    """How many inodes may have a descriptor: half of what the process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(64, min(MAX_DESCRIPTORS, (soft - SPARE_DESCRIPTORS) // 2))
