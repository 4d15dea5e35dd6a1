"""The instant of a commit: the maps of an attached tree, frozen for as long as the commit takes.

Where the maps say all that differs from HEAD, the root is made of them. Else a scan makes it, and
the maps are frozen all the same: what changes from then on is all that they have to know about the
new root. Whatever ends the commit before it is durable gives the maps back what was frozen.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from ...store.errors import Conflict, DriverError
from ...store.history import Commit
from ...store.nodes import Entry
from ...store.object_writer import ObjectWriter
from ...store.progress import Progress
from ...store.repository import Repository
from ..attached import attachment, follow
from ..metadata import XattrFilter
from .build import Capture
from .link import CaptureLink
from .plan import Unusable


class Instant:
    """Of a commit after `head`, in a `with`. Nothing is frozen where no driver sees everything, and
    for a commit that is not of the whole tree: what that reads stays marked."""

    def __init__(self, repository: Repository, head: Commit | None, *, whole: bool) -> None:
        self._repository = repository
        found = attachment(repository)
        self._attached = None if found is None or found.outsiders else found
        self._whole = whole
        self._base = head.root.hex() if head is not None else ""
        self._link: CaptureLink | None = None
        self._left: list[int] = []
        self._is_captured = self._is_shared = False
        self._pause = 0.0

    @property
    def pause(self) -> float | None:
        """For how many seconds nothing could change; None where it was no instant."""
        return self._pause if self._is_captured else None

    def __enter__(self) -> Instant:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._let_go()

    def _let_go(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def barrier(self) -> None:
        """Have the kernel hand over what was stored through mappings until now. DriverError."""
        if self._attached is not None:
            os.close(self._attached.backing(barrier=True))

    def hold(self) -> CaptureLink:
        """Freeze what belongs together with others: changes wait from now on, until it is swapped
        and opened. Conflict where the maps do not say all that differs from HEAD."""
        if self._attached is None or self._attached.base != self._base:
            raise Conflict(
                f"{self._repository.path} has no instant to share: its maps are not of HEAD",
                hint="attach the tree, and commit it once by itself",
            )
        self._is_shared = True
        self._link = CaptureLink(self._attached, hold=True)
        return self._link

    def capture(
        self, base: Entry | None, writer: ObjectWriter, keep: XattrFilter, progress: Progress
    ) -> Capture | None:
        """Make the root of the maps. None where a scan must, with the maps frozen for it.
        DriverError, StorageError; Conflict where a scan must, but the instant is shared."""
        if self._attached is None or not self._whole:
            return None
        if self._attached.base == self._base and (base is not None or not self._base):
            link = self._link = self._link or CaptureLink(self._attached)
            progress.begin("capturing")
            made = Capture(self._repository, link, base, self._base, writer, keep, progress)
            backing = self._attached.backing()
            try:
                made.run(backing)
            except Unusable:
                self._let_go()
            else:
                self._left = made.left
                self._is_captured = True
                self._pause = link.pause
                return made
            finally:
                os.close(backing)
        if self._is_shared:
            raise Conflict(
                f"{self._repository.path} must be scanned, which takes no instant",
                hint="commit it once by itself",
            )
        self._link = CaptureLink(self._attached, uncertain=True)
        return None

    def committed(self, root: bytes, *, problems: bool) -> None:
        """The commit is durable as this root. With `problems` a scan could not read everything, and
        the maps do not say what the root lacks."""
        with suppress(DriverError):  # it has ended meanwhile, and the commit has not failed
            if self._link is not None and (self._is_captured or not problems):
                self._link.committed(root, self._left)
            elif not self._whole and self._attached is not None and not problems:
                follow(self._attached, self._base, root.hex())


def freeze_together(instants: Sequence[Instant]) -> None:
    """Freeze several trees at one instant: all gates are closed, then all maps are swapped, then
    all gates opened. Conflict where one of them cannot; DriverError."""
    for instant in instants:
        instant.barrier()  # which may take long, before anybody waits
    links = [instant.hold() for instant in instants]
    for link in links:
        link.swap()
    for link in links:
        link.open()
