"""Progress on a terminal: one line on stderr, through rich, when the work takes over a second.

`advance` is called from worker threads at high rates, so it only counts; a timer draws four times a
second. rich is imported when the line first appears.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from ..store.progress import SILENT, Progress
from .sizes import format_seconds, format_size

if TYPE_CHECKING:
    from rich.live import Live

DELAY_SECONDS: Final = 1.0
INTERVAL_SECONDS: Final = 0.25


class TerminalProgress:
    """A context manager; `begin` and `advance` as in `Progress`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._task = "working"
        self._total: int | None = None
        self._files = 0
        self._size = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="progress", daemon=True)

    def __enter__(self) -> TerminalProgress:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join()

    def begin(self, task: str, *, total_bytes: int | None = None) -> None:
        with self._lock:
            self._task, self._total = task, total_bytes
            self._files = self._size = 0
            self._started = time.monotonic()

    def advance(self, *, files: int = 0, size: int = 0) -> None:
        with self._lock:
            self._files += files
            self._size += size

    def _draw(self) -> None:
        if self._stop.wait(DELAY_SECONDS):
            return
        from rich.console import Console  # 60 ms that short commands do not pay
        from rich.live import Live

        with Live(
            self.line(), console=Console(stderr=True), transient=True, auto_refresh=False
        ) as live:
            while not self._stop.wait(INTERVAL_SECONDS):
                self._update(live)

    def _update(self, live: Live) -> None:
        live.update(self.line(), refresh=True)

    def line(self) -> str:
        """What the line says now."""
        with self._lock:
            seconds = max(time.monotonic() - self._started, 0.001)
            parts = [self._task]
            if self._files:
                parts.append(f"{self._files:,} files")
            if self._size:
                done = format_size(self._size)
                parts.append(f"{done} of {format_size(self._total)}" if self._total else done)
                parts.append(f"{format_size(self._size / seconds)}/s")
            if self._total and self._size:
                left = seconds * (self._total - self._size) / self._size
                parts.append(f"ETA {format_seconds(max(left, 0))}")
            return "  ".join(parts)


class NoProgress:
    """The context manager for a stream that is no terminal."""

    def __enter__(self) -> Progress:
        return SILENT

    def __exit__(self, *_: Any) -> None:
        pass


def progress_for(quiet: bool) -> TerminalProgress | NoProgress:
    if quiet or not sys.stderr.isatty():
        return NoProgress()
    return TerminalProgress()
