"""Sending what a commit stores while it is stored, ahead of the push that makes it visible.

A pack goes to the remote when it is sealed: its objects are durable then, and not needed by anybody
until the remote finalizes a root that has them. The push that follows asks for what is missing, and
finds most of it there. What goes wrong here is not told: the push meets it, and says it.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import SimpleQueue

from ..errors import TreeringError
from ..packfile import PackInfo, pack_file_name, read_footer
from ..progress import SILENT
from ..repository import Repository
from .base import Remote
from .sending import Sender


class SendAhead:
    """Sends packs of `repository` to `remote`, which `close` leaves open. Use it in a `with`."""

    def __init__(self, repository: Repository, remote: Remote, *, jobs: int) -> None:
        self._folder = repository.store.packs
        self._sender = Sender(repository, remote, jobs=jobs, progress=SILENT)
        self._packs: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)
        self._thread.start()

    def __enter__(self) -> SendAhead:
        return self

    def __exit__(self, *_error: object) -> None:
        self.finish()

    def offer(self, pack: PackInfo) -> None:
        """A pack is sealed. From any thread; does not block."""
        self._packs.put(pack.name)

    def finish(self) -> None:
        """Wait for what is on its way. May be called twice."""
        self._packs.put(None)
        self._thread.join()

    @property
    def objects(self) -> int:
        """How many the remote has taken."""
        return self._sender.objects

    @property
    def bytes(self) -> int:
        """Of their payloads."""
        return self._sender.bytes

    def _run(self) -> None:
        with suppress(TreeringError):
            while (name := self._packs.get()) is not None:
                footer = read_footer(self._folder / pack_file_name(name))
                self._sender.offer([entry.key for entry in footer])
            self._sender.finish()
        self._sender.close()
