"""The driver over a folder, in a process of its own, which tells its maps when asked.

A process that serves a mount must not use it: a page fault would hold the interpreter's lock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK = 65536


@dataclass
class Mounted:
    """`top` is the mount, `backing` the same folder past it, `journal` where the journal lies."""

    top: Path
    backing: Path
    journal: Path
    process: subprocess.Popen[bytes]

    def ask(self, *words: str) -> Any:
        """A command to the driver's process; its answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the driver has ended"
        return json.loads(line)

    def blocks(self) -> dict[str, set[int]]:
        """The marked blocks of each file by path, sizes as they are now and were 0 before."""
        return {path: set(found) for path, found in self.ask("blocks").items()}

    def commit(self) -> None:
        """As if all had been committed: the active map is empty."""
        self.ask("commit")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


SCRIPT = """
import json, os, resource, sys, threading, traceback
from pathlib import Path
from treering.store.errors import TreeringError
from treering.tracker.fuse.driver import Driver
from treering.tracker.journal import Journal
from treering.tracker.map_changes import map_changes
from treering.tracker.map_pair import MapPair

folder, journal_folder, block, journalled, inodes, descriptors = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(descriptors),) * 2)
pair = MapPair(int(block))
journal = Journal(Path(journal_folder), int(block), off=journalled == "off")
journal.begin(1)
driver = Driver(Path(folder), pair, journal, max_inodes=int(inodes))

def text(name):
    return name.decode("utf-8", "surrogateescape")

at_swap = None
swap = driver._swap

def look_and_swap(*saved, **how):
    "Of each file that is open, while nobody may change it: where its data end, in the backing."
    global at_swap
    swap(*saved, **how)
    files = {file.inode.serial: file for file in driver.content.files.copy().values()}
    at_swap = {path(s): data_end(file.descriptor) for s, file in files.items()}

def data_end(descriptor):
    end = 0
    try:
        while True:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
    except OSError:
        return end

driver._swap = look_and_swap

def path(serial):
    found = pair.names.path(serial)
    return "?" if found is None else text(found)

def answer(word):
    if word == "commit":
        driver.freeze()
        pair.committed(b"root")
        journal.done(pair.active.era - 1)
        return True
    if word == "freeze":
        try:
            pause = driver.freeze()
        except TreeringError as error:
            return {"error": error.message}
        frozen = pair.frozen
        assert at_swap is not None
        blocks = {path(s): list(c.blocks()) for s, c in frozen.files.items()}
        names = {path(s): [text(n) for n in names] for s, names in frozen.names.items()}
        pair.committed(b"root")
        journal.done(pair.active.era - 1)
        return {"pause": pause, "blocks": blocks, "names": names, "data": at_swap}
    if word == "changes":
        return [[c.path.decode(), c.what] for c in sorted(map_changes(pair))]
    with pair.lock:
        active = pair.active
        if word == "blocks":
            return {path(s): list(c.blocks()) for s, c in active.files.items()}
        if word == "smallest":
            return {path(s): c.smallest for s, c in active.files.items()}
        if word == "names":
            return {path(s): sorted(n.decode("utf-8", "surrogateescape") for n in names)
                    for s, names in active.names.items()}
        if word == "attributes":
            return sorted(path(s) for s in active.attributes)
    if word == "state":
        return {"inodes": len(driver.inodes), "names": len(pair.names), "syncs": journal.syncs,
                "requests": driver.session.requests, "era": pair.active.era,
                "files": len(driver.content.files)}

def listen():
    try:
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line)[0])), flush=True)
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # or whoever asked would wait for good

threading.Thread(target=listen, daemon=True).start()
print(json.dumps("ready"), flush=True)
driver.serve()
journal.close()
"""


@contextmanager
def mounted(
    folder: Path,
    *,
    block: int = BLOCK,
    journal: bool = True,
    inodes: int = 1 << 18,
    descriptors: int = 1 << 14,
) -> Iterator[Mounted]:
    """The driver over `folder/tree`, unmounted at the end whatever happened. `inodes` and
    `descriptors` are how many of them it may have."""
    top, backing, records = folder / "tree", folder / "backing", folder / "journal"
    for path in (top, backing, records):
        path.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", top, backing], check=True)
    process = None
    try:
        switch, bounds = "on" if journal else "off", (inodes, descriptors)
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *map(str, (top, records, block, switch, *bounds))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline(), "the driver did not start"
        yield Mounted(top, backing, records, process)
    finally:
        if process is not None:
            _take_off(top, process)
        subprocess.run(["umount", "-l", backing], check=True)


def _take_off(top: Path, process: subprocess.Popen[bytes]) -> None:
    if os.path.ismount(top) or process.poll() is not None:
        subprocess.run(["umount", "-l", top], check=False, capture_output=True)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    process.kill()
    process.communicate()
