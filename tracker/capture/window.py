"""Some names of a folder in which all is new: looked at and read by name, then checked at once.

Most of what is new stays as it is while it is captured, so it is read as a scan reads, many files
at a time and in processes of their own. What is not as it was at the swap is known afterwards.
"""

from __future__ import annotations

import os
import stat

from msgspec.structs import replace

from ...store.nodes import Entry
from ..metadata import KINDS, StatLike, make_entry, special_entry
from ..name_table import joined
from ..reading import GONE as GONE_ERRORS
from ..reading import REPLACED, ReadFile, Ticket
from ..report import Report
from ..scan import RESERVED
from .parts import OpenFolder, Parts
from .plan import Unusable


class Window:
    """`inside`: what the base has somewhere, by name. After `settle`: `entries` are of what was
    read, with stats; of which those that are not what they were are `changed`, by serial; `folders`
    are names of what seems to be one. Unusable for what cannot be read."""

    def __init__(self, parts: Parts, folder: OpenFolder, inside: dict[bytes, int]) -> None:
        self._parts = parts
        self._folder = folder
        self.inside = inside
        self._tickets: dict[bytes, Ticket] = {}
        self._read: list[tuple[bytes, int]] = []
        self.entries: dict[bytes, tuple[Entry, StatLike]] = {}
        self.folders: set[bytes] = set()
        self.changed: dict[bytes, int] = {}

    def look(self, name: bytes) -> None:
        """Look at what lies there, and have it read if it is a file."""
        if name in self.inside:
            return
        descriptor = self._folder.descriptor
        try:
            info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            mode = info.st_mode
            if is_left_out(self._parts.report, self._folder, name, mode):
                return
            if stat.S_ISDIR(mode):
                self.folders.add(name)
                return
            met = self._parts.links.met(info.st_ino) if info.st_nlink > 1 else None
            if met is not None:
                self._took(info, replace(met, name=name))
            elif stat.S_ISREG(mode):
                self._tickets[name] = self._parts.reader.submit(descriptor, name, info.st_size)
            else:
                self._took(info, special_entry(descriptor, name, info, self._parts.keep))
        except OSError as error:
            self._failed(name, error)

    def settle(self) -> None:
        """Take what was read, and ask what of it holds."""
        for name, ticket in self._tickets.items():
            read = self._parts.reader.result(ticket)
            if isinstance(read, ReadFile):
                entry = make_entry(name, read.info, content=read.content, xattrs=read.xattrs)
                self._took(read.info, entry)
            else:
                self._failed(name, read)
        self.changed = self._parts.link.changed(self._folder.number, self._read)

    def _took(self, info: StatLike, entry: Entry) -> None:
        self.entries[entry.name] = entry, info
        self._read.append((entry.name, info.st_ino))

    def _failed(self, name: bytes, error: OSError) -> None:
        """Gone, or something else by now: then the driver knows what it was."""
        if error.errno not in GONE_ERRORS | REPLACED:
            raise Unusable from error
        self._read.append((name, 0))


def is_left_out(report: Report, folder: OpenFolder, name: bytes, mode: int) -> bool:
    """Whether something is not in snapshots: ignored, a socket, or of a reserved name."""
    path = joined(folder.path, name)
    if folder.rules and folder.rules.excludes(path, stat.S_ISDIR(mode)):
        return True
    if stat.S_IFMT(mode) not in KINDS:
        report.socket(path)
        return True
    if name.lower() == RESERVED:
        if path != RESERVED:
            report.problem(path, "left out: the name is reserved")
        return True
    return False
