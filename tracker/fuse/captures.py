"""What the driver answers to a commit of the tree: from the freeze to its end.

| request | reply |
|---|---|
| `freeze`; `uncertain`, if the commit will scan | for how long changes waited, in seconds |
| the same with `hold`; `swap`; `open` | changes wait; the maps are swapped; as `freeze` |
| `frozen`, `frozen names` | rows of what is frozen, in parts |
| `frozen blocks` of `serial` | all runs of a file, in parts |
| `changed names` of the folder with inode `number` | its serial, and rows, in parts |
| `unchanged`: `names`, inode numbers, in the folder `number` | those that are not, by serial |
| `attributes` of `serials` | as at the swap; descriptors of those that are there |
| `settle` `files`: blocks that were just read | those that had been saved, and their bytes |
| `failed` | all that was frozen is active again |
| `committed` as `root`, without what is `left` | the maps are relative to that root |

A freeze belongs to the connection that asked for it: when that ends, and the commit was not said to
be durable, everything frozen is active again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from ...store.batches import batched
from ...store.errors import Conflict, DriverError, StorageError
from ..block_map import Serial
from ..capture.wire import GONE, FileRuns, FrozenName, FrozenObject, SavedBlock
from ..map_listing import runs
from ..metadata import Attributes
from ..saved_blocks import SavedBlocks
from ..swap import Swap
from .control import MAX_DESCRIPTORS, Caller, Reply, in_parts, raw
from .driver import Driver
from .frozen_rows import FrozenRows
from .held_freeze import HeldFreeze

RUNS_AT_ONCE: Final = 10_000
FREE_SECONDS: Final = 10.0
ROW_SIZE, TEXT_SIZE, RUN_SIZE = 120, 6, 24


class Captures:
    """`folder` takes what is saved beyond memory; `committed(root)` is told when a commit is
    durable and all that was frozen is in it. Any thread."""

    def __init__(self, driver: Driver, folder: Path, committed: Callable[[str], None]) -> None:
        self._driver = driver
        self._pair = driver.pair
        self._folder = folder
        self._committed = committed
        self._free = threading.Condition()
        self._caller: Caller | None = None
        self._saved: SavedBlocks | None = None
        self._held: HeldFreeze | None = None
        self._failure: StorageError | None = None

    def answer(self, request: dict[str, Any]) -> Reply | Iterator[Reply] | None:
        """None for what is no request of a commit. Conflict while another commit is at it."""
        match request["do"]:
            case "freeze":
                uncertain, hold = bool(request.get("uncertain")), bool(request.get("hold"))
                return self._freeze(request["caller"], uncertain=uncertain, hold=hold)
            case "swap":
                return self._swap_held(request["caller"])
            case "open":
                return {"pause": self._held_of(request["caller"]).open()}
            case "frozen":
                return in_parts(_sized(self._rows().objects()))
            case "frozen names":
                return in_parts(_sized(self._rows().names()))
            case "frozen blocks":
                return self._frozen_blocks(Serial(request["serial"]))
            case "changed names":
                return self._changed_names(int(request["number"]))
            case "unchanged":
                return self._unchanged(int(request["number"]), request["names"])
            case "attributes":
                return self._attributes(request["serials"])
            case "settle":
                return self._settle(msgspec.convert(request["files"], list[FileRuns]))
            case "failed":
                self._end(request["caller"])
                return {}
            case "committed":
                return self._end_well(request["caller"], str(request["root"]), request["left"])
        return None

    # -- begin and end ---------------------------------------------------------------------------

    def _freeze(self, caller: Caller, *, uncertain: bool, hold: bool) -> Reply:
        with self._free:
            # One that was killed has ended for its repository before we know.
            if not self._free.wait_for(lambda: self._caller is None, FREE_SECONDS):
                raise Conflict("another commit has frozen the maps")
            self._caller, self._failure = caller, None
            caller.at_end.append(lambda: self._end(caller))
            self._saved = None if uncertain else SavedBlocks(self._folder, self._pair.block_size)
            try:
                if hold:
                    self._held = HeldFreeze(partial(self._driver.freeze, self._saved))
                    return {}
                pause = self._driver.freeze(self._saved, uncertain=uncertain)
            except BaseException:
                self._forget()
                raise
            self._watch(caller)
            return {"pause": pause}

    def _watch(self, caller: Caller) -> None:
        if self._pair.swap is not None:
            self._pair.swap.on_failure = lambda: self._give_up(caller)

    def _held_of(self, caller: Caller) -> HeldFreeze:
        if self._caller is not caller or self._held is None:
            raise self._failure or DriverError("this commit holds nothing back")
        return self._held

    def _swap_held(self, caller: Caller) -> Reply:
        self._held_of(caller).swap()
        self._watch(caller)
        return {}

    def _give_up(self, caller: Caller) -> None:
        """The commit has failed, whether it knows it or not: nobody waits for it any more. Whoever
        found out may hold locks."""
        threading.Thread(target=self._end, args=(caller,), daemon=True).start()

    def _end_well(self, caller: Caller, root: str, left: Iterable[int]) -> Reply:
        with self._free:
            if self._caller is not caller:
                raise self._failure or DriverError("this commit has frozen nothing")
            serials = [*map(Serial, left)]
            self._pair.committed(root.encode(), left=serials)
            self._forget()
        self._committed(root)
        return {}

    def _end(self, caller: Caller) -> None:
        with self._free:
            if self._caller is caller:
                if self._held is not None:
                    self._held.give_up()
                if self._pair.swap is not None:
                    self._failure = self._pair.swap.failure
                self._pair.failed()
                self._forget()

    def _forget(self) -> None:
        self._driver.inodes.let_go()
        if self._saved is not None:
            self._saved.close()
        self._caller = self._saved = self._held = None
        self._free.notify_all()

    # -- what is frozen --------------------------------------------------------------------------

    def _swap(self) -> Swap[Attributes]:
        swap = self._pair.swap
        if swap is None:
            raise self._failure or DriverError("nothing is frozen")
        swap.step()
        return swap

    def _rows(self) -> FrozenRows:
        with self._pair.lock:
            frozen, log, swap = self._pair.frozen, self._pair.log, self._pair.swap
        if frozen is None or log is None or swap is None:
            raise self._failure or DriverError("nothing is frozen")
        return FrozenRows(self._pair, swap, self._driver.inodes, frozen, log)

    def _frozen_blocks(self, serial: Serial) -> Iterator[Reply]:
        frozen = self._pair.frozen
        change = frozen.files.get(serial) if frozen is not None else None
        if change is not None:
            for some in batched(runs(change.blocks()), RUNS_AT_ONCE):
                yield {"rows": some}

    def _changed_names(self, number: int) -> Iterator[Reply]:
        folder = self._driver.inodes.known(number)
        if folder is None:
            yield {"serial": GONE, "rows": []}  # nothing in it was ever looked up
            return
        yield {"serial": folder.serial, "rows": []}
        for part in in_parts(_sized(self._rows().changed_since(folder.serial))):
            yield {"serial": folder.serial, **part}

    # -- what it was -----------------------------------------------------------------------------

    def _unchanged(self, number: int, names: list[tuple[str, int]]) -> Reply:
        """Of things in a folder that were just looked at and read by name, those that are not what
        they were at the swap; all others count as captured."""
        swap, inodes = self._swap(), self._driver.inodes
        folder = inodes.known(number)
        with self._pair.lock:
            log = self._pair.log
            was = dict(log.changed(folder.serial)) if folder is not None and log is not None else {}
        changed = []
        for name, child in names:
            if was and raw(name) in was:
                serial = was[raw(name)]
                changed.append((name, GONE if serial is None else serial))
                continue
            inode = inodes.known(child)
            if inode is not None and not swap.is_unchanged(inode.serial):
                changed.append((name, inode.serial))
        return {"changed": changed}

    def _attributes(self, serials: list[int]) -> Reply:
        """One row for each, and for each its descriptor."""
        swap, objects = self._swap(), self._driver.objects
        if len(serials) > MAX_DESCRIPTORS:
            raise DriverError("too many at once")
        rows, descriptors = [], []
        try:
            for serial in map(Serial, serials):
                rows.append(msgspec.to_builtins(swap.attributes(serial)))
                descriptors.append(objects.open(serial))
        except OSError as error:
            for descriptor in descriptors:
                os.close(descriptor)
            raise DriverError(f"what a commit wants cannot be reached: {error.strerror}") from error
        return {"rows": rows, "descriptors": descriptors}

    def _settle(self, files: list[FileRuns]) -> Reply:
        swap = self._swap()
        rows, parts = [], []
        for file in files:
            serial = Serial(file.serial)
            numbers = [n for first, count in file.runs for n in range(first, first + count)]
            for number, data in swap.settle(serial, numbers).items():
                rows.append(SavedBlock(serial, number, len(data)))
                parts.append(data)
        reply: Reply = {"rows": msgspec.to_builtins(rows)}
        if rows:
            reply["descriptors"] = [_in_memory(parts)]
        return reply


def _in_memory(parts: Iterable[bytes]) -> int:
    """An unnamed file of these bytes."""
    descriptor = os.memfd_create("saved")
    for part in parts:
        view = memoryview(part)
        while view:
            view = view[os.write(descriptor, view) :]
    return descriptor


def _sized(rows: Iterable[FrozenObject | FrozenName]) -> Iterator[tuple[object, int]]:
    for row in rows:
        if isinstance(row, FrozenName):
            size = ROW_SIZE + TEXT_SIZE * len(row.name)
        else:
            texts = sum(len(name) for _, name in row.homes) + len(row.bound or "")
            size = ROW_SIZE * (1 + len(row.homes)) + TEXT_SIZE * texts + RUN_SIZE * len(row.runs)
        yield msgspec.to_builtins(row), size
