"""Programs that change a tree without a pause and say when: each change has a number, and its times
before and after the call are in a log outside of the tree.

    python stamped.py KIND TREE LOGS

A kind has one or several *streams*: changes numbered from 0, one after the other. Of stream S the
log `LOGS/S` has at 16 * number the monotonic clock, which all processes share, before the change
and after it. So of each snapshot it can be told which changes of each stream it has: the first so
many, or it is no snapshot of one instant.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

RECORD, SLOTS, STEP = 1024, 2048, 1237
LINE = struct.Struct("<QQ")
LANES = 16
PRIME, FACTOR = 1_000_003, 13
KEPT = 40
PAUSE = 0.0004
WRITING = os.O_CREAT | os.O_RDWR


class Stream:
    """The log of one stream."""

    def __init__(self, logs: Path, name: str) -> None:
        self._file = os.open(logs / name, os.O_CREAT | os.O_RDWR)

    def begin(self, number: int) -> None:
        os.pwrite(self._file, time.monotonic_ns().to_bytes(8, "little"), 16 * number)

    def end(self, number: int) -> None:
        os.pwrite(self._file, time.monotonic_ns().to_bytes(8, "little"), 16 * number + 8)

    @contextmanager
    def change(self, number: int) -> Iterator[None]:
        self.begin(number)
        yield
        self.end(number)


def record(number: int, size: int = RECORD) -> bytes:
    return number.to_bytes(8, "little") * (size // 8)


def place(number: int) -> int:
    return number * STEP % SLOTS * RECORD


def numbers() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1
        time.sleep(PAUSE)


# -- kinds ----------------------------------------------------------------------------------------


def writes(top: Path, logs: Path) -> None:
    stream, file = Stream(logs, "writes"), os.open(top / "written", WRITING)
    for number in numbers():
        os.lseek(file, place(number), os.SEEK_SET)
        with stream.change(number):
            os.write(file, record(number))


def pwrites(top: Path, logs: Path) -> None:
    """Into a file whose folder is renamed all the time."""
    stream = Stream(logs, "pwrites")
    file = os.open(top / "moving" / "m0" / "inside", WRITING)
    for number in numbers():
        with stream.change(number):
            os.pwrite(file, record(number), place(number))


def moves(top: Path, logs: Path) -> None:
    """A folder, and a file from folder to folder."""
    folders, files = Stream(logs, "folders"), Stream(logs, "files")
    (top / "from0").mkdir()
    (top / "from1").mkdir()
    (top / "from0" / "f0").write_bytes(b"moved")
    while not (top / "moving" / "m0" / "inside").exists():
        time.sleep(0.01)
    for number in numbers():
        with folders.change(number):
            os.rename(top / "moving" / f"m{number}", top / "moving" / f"m{number + 1}")
        old, new = (top / f"from{n % 2}" / f"f{n}" for n in (number, number + 1))
        with files.change(number):
            os.rename(old, new)
        time.sleep(0.002)


def appends(top: Path, logs: Path, which: int = 0) -> None:
    stream = Stream(logs, f"appends{which}")
    file = os.open(top / "appended", WRITING | os.O_APPEND)
    for number in numbers():
        with stream.change(number):
            os.write(file, LINE.pack(which, number))


def other_appends(top: Path, logs: Path) -> None:
    appends(top, logs, 1)


def mapped(top: Path, logs: Path) -> None:
    stream, file = Stream(logs, "mapped"), os.open(top / "mapped", WRITING)
    os.ftruncate(file, SLOTS * RECORD)
    memory = mmap.mmap(file, SLOTS * RECORD)
    for number in numbers():
        start = place(number)
        with stream.change(number):
            memory[start : start + RECORD] = record(number)
            page = start - start % mmap.PAGESIZE
            memory.flush(page, mmap.PAGESIZE)
        time.sleep(PAUSE)


def names(top: Path, logs: Path) -> None:
    """Made, and removed again: of what is frozen, much is deleted before it is read."""
    made, removed = Stream(logs, "made"), Stream(logs, "removed")
    folder = top / "names"
    folder.mkdir()
    for number in numbers():
        with made.change(number):
            os.link(_beside(folder, number), folder / str(number))
        os.unlink(top / "beside")
        if number >= KEPT:
            with removed.change(number - KEPT):
                os.unlink(folder / str(number - KEPT))


def _beside(folder: Path, number: int) -> Path:
    """A file that gets its name only when it is there as a whole."""
    path = folder.parent / "beside"
    path.write_bytes(record(number, 64))
    return path


def sizes(top: Path, logs: Path) -> None:
    stream, file = Stream(logs, "sizes"), os.open(top / "sized", WRITING)
    os.ftruncate(file, size_of(0))
    for number in numbers():
        with stream.change(number):
            os.ftruncate(file, size_of(number))
        time.sleep(PAUSE)


def size_of(number: int) -> int:
    return (number + 1) * FACTOR % PRIME


def replaces(top: Path, logs: Path) -> None:
    """As editors save: the old file is gone."""
    stream = Stream(logs, "replaces")
    for number in numbers():
        (top / "new").write_bytes(record(number, 80_000))
        with stream.change(number):
            os.rename(top / "new", top / "replaced")
        time.sleep(0.001)


def links(top: Path, logs: Path) -> None:
    """Written by one name, while others come and go."""
    linked, stream = Stream(logs, "links"), Stream(logs, "linked")
    folder = top / "links"
    folder.mkdir()
    file = os.open(folder / "first", WRITING)
    os.link(folder / "first", folder / "l0")
    for number in numbers():
        with stream.change(number):
            os.pwrite(file, record(number), 0)
        with linked.change(number):
            os.rename(folder / f"l{number}", folder / f"l{number + 1}")
        os.link(folder / "first", folder / "x")
        os.unlink(folder / "x")


class _Control(ctypes.Structure):
    """struct iocb"""

    _fields_ = (
        ("data", ctypes.c_uint64), ("key", ctypes.c_uint32), ("flags", ctypes.c_uint32),
        ("opcode", ctypes.c_uint16), ("priority", ctypes.c_int16), ("file", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64), ("size", ctypes.c_uint64), ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64), ("more", ctypes.c_uint32), ("event", ctypes.c_uint32),
    )  # fmt: skip


class _Event(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_uint64), ("control", ctypes.c_uint64),
        ("result", ctypes.c_int64), ("more", ctypes.c_int64),
    )  # fmt: skip


SETUP, GET_EVENTS, SUBMIT = 206, 208, 209
PWRITE = 1


def asynchronous(top: Path, logs: Path) -> None:
    """By io_submit(2), sixteen at once: each lane has one under way."""
    libc = ctypes.CDLL(None, use_errno=True)
    context = ctypes.c_ulong()
    assert libc.syscall(SETUP, LANES, ctypes.byref(context)) == 0
    file = os.open(top / "asynchronous", WRITING | os.O_DIRECT)
    streams = [Stream(logs, f"lane{lane}") for lane in range(LANES)]
    controls = (_Control * LANES)()
    memory = [mmap.mmap(-1, 4096) for _ in range(LANES)]
    counts = [0] * LANES

    def submit(lane: int) -> None:
        memory[lane][:] = record(counts[lane], 4096)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory[lane]))
        slot = (counts[lane] % 64 * LANES + lane) * 4096
        controls[lane] = _Control(
            data=lane, opcode=PWRITE, file=file, buffer=address, size=4096, offset=slot
        )
        pointer = ctypes.pointer(controls[lane])
        streams[lane].begin(counts[lane])
        assert libc.syscall(SUBMIT, context, 1, ctypes.byref(pointer)) == 1

    for lane in range(LANES):
        submit(lane)
    events = (_Event * LANES)()
    while True:
        count = libc.syscall(GET_EVENTS, context, 1, LANES, events, None)
        for event in events[:count]:
            lane = event.data
            assert event.result == 4096, event.result
            streams[lane].end(counts[lane])
            counts[lane] += 1
        time.sleep(0.002)
        for event in events[:count]:
            submit(event.data)


KINDS: dict[str, Callable[[Path, Path], None]] = {
    each.__name__: each
    for each in (
        writes, pwrites, moves, appends, other_appends, mapped, names, sizes, replaces, links,
        asynchronous,
    )
}  # fmt: skip


if __name__ == "__main__":
    random.seed(sys.argv[1])
    KINDS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
