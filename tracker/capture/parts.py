"""What a capture works with, and small things that its modules hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ...store.object_writer import ObjectWriter
from ...store.repository import Repository
from ..ignore import IgnoreRules
from ..metadata import StatLike, XattrFilter, Xattrs
from ..reading import FileReader
from ..report import Report
from ..unrestored import Unrestored
from .files import FileEntries
from .link import CaptureLink
from .links import LinkKeeper
from .plan import Plan
from .state import StateKeeper


@dataclass(frozen=True)
class Parts:
    repository: Repository
    writer: ObjectWriter
    link: CaptureLink
    plan: Plan
    files: FileEntries
    reader: FileReader
    keep: XattrFilter
    unrestored: Unrestored
    report: Report
    links: LinkKeeper
    state: StateKeeper


class OpenFolder(NamedTuple):
    """A folder open for reading: its inode number, the path that it had, the rules in it."""

    descriptor: int
    number: int
    path: bytes
    rules: IgnoreRules


class Own(NamedTuple):
    """What a new folder itself is, besides what lies in it."""

    info: StatLike
    xattrs: Xattrs
