"""The last sign of life of a driver: until when changes of its tree went by way of it.

A driver that was killed writes no more, so what it wrote last tells a later attach which files
cannot have changed since: those whose ctime is older. It holds within one run of the machine, and
only while nobody set the clock back; after a power cut a machine may wake with a clock that is
wrong, so nothing is believed then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from .scan_state import COARSE_NS

NAME: Final = "driver/alive"
"""Apart, as the log is: what lies in tracker/ itself has a sum, which fsck checks."""
SECONDS: Final = 1.0
SLACK_NS: Final = 1_000_000_000
"""By so much a clock that is being adjusted may have gone back."""
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class _Sign(msgspec.Struct, frozen=True):
    """`offset`: the clock less the time since the machine was started, in nanoseconds."""

    boot: str
    offset: int


def _sign() -> _Sign:
    offset = time.clock_gettime_ns(time.CLOCK_REALTIME) - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return _Sign(BOOT_ID.read_text().strip(), offset)


class Heartbeat:
    """Beats into `folder`, the `tracker/` of a repository, while `changes` goes on growing. A beat
    that the disk refuses is left out: the tree is read more, then."""

    def __init__(self, folder: Path, changes: Callable[[], int]) -> None:
        self._path = folder / NAME
        self._path.parent.mkdir(exist_ok=True)
        self._changes = changes
        self._seen = -1
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self.beat()
        self._thread.start()

    def beat(self) -> None:
        """The kernel's own clock stamps it, as it does the changes."""
        with suppress(OSError):
            self._path.write_bytes(msgspec.json.encode(_sign()))

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(SECONDS):
            seen = self._changes()
            if seen != self._seen:
                self._seen = seen
                self.beat()


def last_beat(folder: Path) -> int | None:
    """A moment, in nanoseconds as files have it, up to which all changes went by way of the driver;
    None if that cannot be told."""
    path = folder / NAME
    try:
        sign = msgspec.json.decode(path.read_bytes(), type=_Sign)
        moment = path.stat().st_mtime_ns
        now = _sign()
    except (OSError, msgspec.MsgspecError):
        return None
    if sign.boot != now.boot or now.offset < sign.offset - SLACK_NS:
        return None
    return moment - COARSE_NS
