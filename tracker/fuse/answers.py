"""What a driver answers to the commands that ask it through its control socket.

| request | reply |
|---|---|
| `hello` | process, top folder, base root |
| `status` | the same, era, dirty files and bytes, requests, uptime |
| `changes` | paths that differ from the base root; folders with new names; in parts |
| `blocks` of a file by `serial` | runs, in parts; in each the `smallest` size that it had |
| `maps` | rows of the maps, in parts |
| `backing`, with `barrier` | the descriptor of the top folder below the mount; after a barrier |
| `found` with `rows`; at last `scanned` with `root` | what the scan at attach saw is taken in |
| `outsiders` | from now on it says that somebody may write past it |
| `clean`, of a `path` and an inode `number` | whether nothing there is marked |
| `moved` from the root `before` to `root` | whether the maps are relative to that now |
| `detach` | the mount is off |

The requests of a commit are in `captures`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from ...store.batches import batched
from ...store.errors import DriverError
from ..block_map import Serial
from ..journal import Journal
from ..map_changes import folders_with_new_names, map_changes
from ..map_listing import MapRow, map_rows, runs
from .captures import Captures
from .control import Reply, in_parts, raw, text
from .driver import Driver
from .found_changes import Row

DETACH_SECONDS: Final = 10.0
ROW_SIZE, TEXT_SIZE = 100, 6
"""Bytes of a row in a reply, and of a character of its texts, at most."""
RUNS_AT_ONCE: Final = 10_000
Detach = Callable[[bool, float], None]
Complete = Callable[[str, bool], None]


class Answers:
    """Of one mounted driver. `detach(force, seconds)` takes the mount off. `complete(root, known)`
    is told when the maps say all that differs from a root; `known`: that has all that was marked in
    earlier eras. `folder` takes what is saved during a commit. Any thread."""

    def __init__(
        self, driver: Driver, journal: Journal, detach: Detach, complete: Complete, folder: Path
    ) -> None:
        self._driver = driver
        self._captures = Captures(driver, folder, self._are_all_of)
        self._pair = driver.pair
        self._journal = journal
        self._detach = detach
        self._complete = complete
        self._started = time.monotonic()
        self.scanned = False
        self._outsiders = False
        self._ways: dict[str, Callable[[Reply], Reply | Iterator[Reply]]] = {
            "hello": lambda _: self._hello(),
            "status": lambda _: self._status(),
            "changes": lambda _: in_parts(_sized(self._changes())),
            "blocks": lambda request: self._blocks(Serial(request["serial"])),
            "maps": lambda _: in_parts(_sized(map(_map_row, map_rows(self._pair)))),
            "backing": self._backing,
            "found": self._found,
            "outsiders": self._has_outsiders,
            "scanned": lambda request: self._are_of(str(request["root"])),
            "moved": self._moved,
            "clean": self._clean,
            "detach": self._take_off,
        }

    def answer(self, request: Reply) -> Reply | Iterator[Reply]:
        """DriverError for what it does not know, Conflict for a mount in use."""
        way = self._ways.get(str(request.get("do")))
        reply = way(request) if way is not None else self._captures.answer(request)
        if reply is None:
            raise DriverError(f"the driver knows no {request.get('do')!r}")
        return reply

    def _backing(self, request: Reply) -> Reply:
        if request.get("barrier"):
            self._driver.barrier()
        return {"descriptors": [self._driver.open_backing()]}

    def _found(self, request: Reply) -> Reply:
        self._driver.found.take(msgspec.convert(request["rows"], list[Row]))
        return {}

    def _has_outsiders(self, _request: Reply) -> Reply:
        self._outsiders = True
        return {}

    def _clean(self, request: Reply) -> Reply:
        inode = self._driver.inodes.known(int(request["number"]))
        is_marked = inode is not None and self._pair.is_marked(inode.serial)
        return {"clean": not is_marked and self._pair.is_clean(raw(request["path"]))}

    def _moved(self, request: Reply) -> Reply:
        before, root = str(request["before"]), str(request["root"])
        moved = self._pair.rebase(before.encode(), root.encode())
        if moved:
            self._complete(root, False)
        return {"moved": moved}

    def _take_off(self, request: Reply) -> Reply:
        self._detach(bool(request.get("force")), float(request.get("wait", DETACH_SECONDS)))
        return {}

    def _hello(self) -> Reply:
        """What every command wants to know: no look at what changed."""
        with self._pair.lock:
            earlier, *_ = self._pair.maps()
            base = earlier.base.decode()
        return {
            "pid": os.getpid(),
            "top": str(self._driver.folder),
            "base": base if self.scanned else None,
            "outsiders": self._outsiders,
        }

    def _status(self) -> Reply:
        with self._pair.lock:
            active, frozen = self._pair.active, self._pair.frozen
            changed, changes = active.changed(), list(active.files.values())
            waiting = len(frozen.changed()) if frozen else 0
        seconds = time.monotonic() - self._started
        requests = self._driver.session.requests
        return {
            **self._hello(),
            "era": active.era,
            "dirty": len(changed),
            "dirty_bytes": sum(map(len, changes)) * self._pair.block_size,
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
        self._are_all_of(root)
        return {}

    def _are_all_of(self, root: str) -> None:
        self._complete(root, True)
        self.scanned = True

    def _changes(self) -> Iterator[Reply]:
        """Rows, and of folders that have new names another one."""
        for change in map_changes(self._pair):
            yield self._change(*change)
        for path, folder in folders_with_new_names(self._pair):
            yield self._change(path + b"/", "names", folder, False)

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

    def _blocks(self, serial: Serial) -> Iterator[Reply]:
        change = self._pair.file_change(serial)
        for some in batched(runs(change.blocks()), RUNS_AT_ONCE):
            yield {"smallest": change.smallest, "rows": some}
        yield {"smallest": change.smallest, "rows": []}


def _map_row(row: MapRow) -> Reply:
    return {
        "file": text(row.path),
        "base": None if row.base is None else text(row.base),
        "block": row.first,
        "count": row.blocks,
        "status": row.status.value,
    }


def _sized(rows: Iterable[Reply]) -> Iterator[tuple[Reply, int]]:
    for row in rows:
        texts = (len(value) for value in row.values() if isinstance(value, str))
        yield row, ROW_SIZE + TEXT_SIZE * sum(texts)
