"""Progress as the store and the tracker report it; `cli.progress` draws it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives what long work has done. Called from any thread; must be quick and never raise."""

    def begin(self, task: str, *, total_bytes: int | None = None) -> None:
        """A new stage of the work starts; `task` is a word or two ("reading", "sending")."""

    def advance(self, *, files: int = 0, size: int = 0) -> None:
        """`files` more files and `size` more bytes are done."""


class Silent:
    """The progress that goes nowhere."""

    def begin(self, task: str, *, total_bytes: int | None = None) -> None:
        pass

    def advance(self, *, files: int = 0, size: int = 0) -> None:
        pass


SILENT = Silent()
