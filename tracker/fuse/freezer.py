"""The freeze: one instant at which the maps swap, with no change half made.

First a barrier, while all goes on: what was stored through mappings until then is in. Then the gate
closes, what is under way ends, the maps swap, and the gate opens. While it is closed nothing is
waited for but changes that were let in before, so nobody can hang. Where one of them takes long - a
sync of the journal on a slow disk - the gate opens again, and it is tried once more.

There is no second barrier behind the closed gate. It would let in more of what was stored meanwhile
and not msync-ed, of which nothing is promised; but of a file that is stored to without a pause it
would never come back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from ...store.errors import Conflict
from .gate import Gate
from .protocol import Request

ROUNDS: Final = 5
STILL_SECONDS: Final = 0.05
"""For what is under way to end, in the first round; twice as long in each that follows."""


class Freezer:
    """`barrier` has the kernel hand over what was stored through mappings until now; `again` takes
    up requests that were parked. Used by one thread, which is not the reader."""

    def __init__(
        self, gate: Gate, barrier: Callable[[], None], again: Callable[[Iterable[Request]], None]
    ) -> None:
        self._gate = gate
        self._barrier = barrier
        self._again = again

    def freeze(self, swap: Callable[[], None]) -> float:
        """Call `swap` at such an instant; for so many seconds the gate was closed. Conflict when
        none was found."""
        self._barrier()
        for number in range(ROUNDS):
            begun = time.monotonic()
            if self._try(STILL_SECONDS * 2**number, swap):
                return time.monotonic() - begun
        raise Conflict(
            "no moment was found at which the tree stands still",
            hint="the disk is very slow to answer; try again",
        )

    def _try(self, seconds: float, swap: Callable[[], None]) -> bool:
        parked: list[Request] = []
        try:
            with self._gate.closed(parked):
                if not self._gate.wait_until_still(seconds):
                    return False
                swap()
                return True
        finally:
            self._again(parked)
