"""What a driver answers to the commands that ask it through its control socket.

| request | reply |
|---|---|
| `status` | era, base root, dirty files and bytes, requests, uptime |
| `changes`, from behind `after` on | paths that differ from the base root; folders with new names |
| `blocks` of a file by `serial`, from the block `from` on | runs; the `smallest` size it had |
| `maps`, from the position `from` on | rows of the maps |
| `backing` | the descriptor of the top folder below the mount, after a barrier |
| `found` with `rows`; at last `scanned` with `root` | what the scan at attach saw is taken in |
| `detach` | the mount is off |

Long answers come by pages: `next` is what to ask for to get on, null at the end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, Final

import msgspec

from ...store.errors import DriverError
from ..block_map import Serial
from ..journal import Journal
from ..map_changes import folders_with_new_names, map_changes
from ..map_listing import MapRow, Position, map_rows, runs
from .control import MAX_MESSAGE, Reply, raw, text
from .driver import Driver
from .found_changes import Row

DETACH_SECONDS: Final = 10.0
ROW_SIZE, BYTE_SIZE = 100, 6
"""Bytes of a row in a reply, and of a byte of its paths, at most."""
Detach = Callable[[bool, float], None]
Complete = Callable[[str], None]


class Answers:
    """Of one mounted driver. `detach(force, seconds)` takes the mount off; `complete(root)` is told
    when the maps say all that differs from a root. Any thread."""

    def __init__(
        self, driver: Driver, journal: Journal, detach: Detach, complete: Complete
    ) -> None:
        self._driver = driver
        self._pair = driver.pair
        self._journal = journal
        self._detach = detach
        self._complete = complete
        self._started = time.monotonic()
        self.scanned = False

    def answer(self, request: dict[str, Any]) -> Reply:
        """DriverError for what it does not know, Conflict for a mount in use."""
        match request.get("do"):
            case "status":
                return self._status()
            case "changes":
                return self._changes(raw(request.get("after") or ""))
            case "blocks":
                return self._blocks(Serial(request["serial"]), int(request.get("from", 0)))
            case "maps":
                return self._maps(Position(*request.get("from", ())))
            case "backing":
                self._driver.barrier()
                return {"descriptor": self._driver.open_backing()}
            case "found":
                self._driver.found.take(msgspec.convert(request["rows"], list[Row]))
                return {}
            case "scanned":
                return self._are_of(str(request["root"]))
            case "detach":
                self._detach(bool(request.get("force")), float(request.get("wait", DETACH_SECONDS)))
                return {}
        raise DriverError(f"the driver knows no {request.get('do')!r}")

    def _status(self) -> Reply:
        with self._pair.lock:
            active, frozen = self._pair.active, self._pair.frozen
            files, size = len(active.changed()), active.dirty_bytes()
            waiting = len(frozen.changed()) if frozen else 0
            base = (frozen or active).base.decode()
        seconds = time.monotonic() - self._started
        requests = self._driver.session.requests
        return {
            "pid": os.getpid(),
            "top": str(self._driver.folder),
            "base": base if self.scanned else None,
            "era": active.era,
            "dirty": files,
            "dirty_bytes": size,
            "frozen": waiting,
            "requests": requests,
            "requests_per_second": round(requests / max(seconds, 0.001), 1),
            "inodes": len(self._driver.inodes),
            "uptime": round(seconds, 1),
            "journal": not self._journal.off,
            "journal_syncs": self._journal.syncs,
        }

    def _are_of(self, root: str) -> Reply:
        """From now on the maps say all that differs from this root."""
        with self._pair.lock:
            self._pair.active.base = root.encode()
        self._complete(root)
        self.scanned = True
        return {}

    def _changes(self, after: bytes) -> Reply:
        folders = folders_with_new_names(self._pair)
        names = [(path + b"/", "names", folder, False) for path, folder in folders]
        found = sorted([*map_changes(self._pair), *names], key=itemgetter(0))
        behind = (each for each in found if not after or each[0] > after)
        return _page((self._change(*each), text(each[0]), each[0]) for each in behind)

    def _change(self, path: bytes, what: str, serial: Serial | None, other: bool) -> Reply:
        inode = self._driver.inodes.find(serial or Serial(0))
        is_folder = inode is not None and inode.is_folder
        return {
            "path": text(path),
            "what": what,
            "folder": is_folder,
            "other": other,
            "serial": serial,
        }

    def _blocks(self, serial: Serial, start: int) -> Reply:
        change = self._pair.file_change(serial)
        found = runs(change.blocks, start)
        rows = (({"first": first, "count": count}, first + count, b"") for first, count in found)
        return {"smallest": change.smallest, **_page(rows)}

    def _maps(self, start: Position) -> Reply:
        return _page(
            (_map_row(row), row.following, row.path) for row in map_rows(self._pair, start)
        )


def _map_row(row: MapRow) -> Reply:
    return {
        "file": text(row.path),
        "base": None if row.base is None else text(row.base),
        "block": row.first,
        "count": row.blocks,
        "status": row.status.value,
    }


def _page(found: Iterable[tuple[Reply, object, bytes]]) -> Reply:
    """As many rows as a message takes. Each comes with where to ask on behind it, and its paths."""
    rows: list[Reply] = []
    size = 0
    for row, following, paths in found:
        rows.append(row)
        size += ROW_SIZE + BYTE_SIZE * len(paths)
        if size > MAX_MESSAGE // 2:
            return {"rows": rows, "next": following}
    return {"rows": rows, "next": None}
