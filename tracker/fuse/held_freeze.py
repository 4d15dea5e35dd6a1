"""A freeze in steps, for a commit of several trees at one instant: changes are held back, the maps
swapped, and changes let go on, each when whoever commits says so. Who says nothing for some seconds
has lost: changes go on, and if the maps were not swapped yet, they are not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

from ...store.errors import Conflict

SECONDS: Final = 3.0
"""For which changes may be held back: there may be many trees, each with a gate to be closed."""


class Freeze(Protocol):
    """As `Driver.freeze`."""

    def __call__(self, *, around: Callable[[], AbstractContextManager[None]]) -> float: ...


class HeldFreeze:
    """Made, changes are held back. Conflict where that cannot be."""

    def __init__(self, freeze: Freeze) -> None:
        self._freeze = freeze
        self._held, self._go, self._swapped, self._open = (threading.Event() for _ in range(4))
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._pause = 0.0
        threading.Thread(target=self._run, name="held", daemon=True).start()
        self._wait(self._held)

    def swap(self) -> None:
        """Swap the maps. Conflict where it took too long to ask."""
        self._go.set()
        self._wait(self._swapped)

    def open(self) -> float:
        """Let changes go on; for how long they had to wait, in seconds."""
        self._open.set()
        self._done.wait()
        return self._pause

    def give_up(self) -> None:
        """Let changes go on, whatever has been done."""
        self._error = self._error or Conflict("the commit has ended")
        for event in (self._go, self._open):
            event.set()
        self._done.wait()

    def _wait(self, event: threading.Event) -> None:
        while not event.wait(0.0005):
            if self._done.is_set() and not event.is_set():
                raise self._error or Conflict("changes could not be held back")

    def _run(self) -> None:
        try:
            self._pause = self._freeze(around=self._around)
        except BaseException as error:
            self._error = self._error or error
        finally:
            self._done.set()

    @contextmanager
    def _around(self) -> Iterator[None]:
        """While nothing changes: wait for the word to swap, and after it for the word to go on."""
        self._held.set()
        if not self._go.wait(SECONDS) or self._error is not None:
            raise self._error or Conflict("the other trees were not ready in time")
        yield
        self._swapped.set()
        self._open.wait(SECONDS)
