"""`make bench-history`: looking through long histories, each command as a whole process.

Makes two repositories in WORK, once, at the level of nodes and history: *files* has COMMITS commits
of 100,000 small files, *image* has 200 commits of one 4 GiB image whose blocks are ids alone (no
command here reads blocks of it). Each commit has a pack of its own, as real ones have. Prints
medians, goals, and each figure as a multiple of `treering --version` in the same run.
Usage: history.py [--work DIR] [--rounds N] [files|image ...]
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from measure import TREERING

from treering.store.codec import Codec
from treering.store.content import IndexBuilder
from treering.store.directories import DirectoryBuilder
from treering.store.history import Person
from treering.store.ids import NodeId, block_id, block_key
from treering.store.nodes import Entry, EntryKind
from treering.store.object_writer import ObjectWriter
from treering.store.packfile import Record
from treering.store.repository import Repository
from treering.store.root_record import Change, RootRecord
from treering.store.trees import encode_root

COMMITS = 2_000
TOPS, MIDDLES, FILES, LARGE = 18, 50, 100, 10_000
"""Folders, folders in each, files in each of those; files of one large folder beside them."""
IMAGE_COMMITS, IMAGE_BLOCKS, IMAGE_WRITES = 200, 65_536, 64
REF = "refs/heads/main"
START = 1_700_000_000


class Case(NamedTuple):
    """A command line to time in one of the repositories. With `first_line`, until its first line
    is there."""

    repository: str
    goal: float | None
    command: Sequence[str]
    first_line: bool = False


DEEP = "folder07/part31/file042"
CASES = (
    Case("files", 0.4, ("log", "-n", "20")),
    Case("files", 0.4, ("diff", "HEAD~1", "HEAD", "--stat")),
    Case("files", 0.4, ("show",)),
    Case("files", 2.0, ("log", "--oneline", "--", DEEP)),
    Case("files", 2.0, ("log", "--oneline", "--", "large/file07777")),
    Case("files", 2.0, ("find", "added01*")),
    Case("files", None, ("log",), True),
    Case("files", None, ("ls", "-lR"), True),
    Case("image", 2.0, ("blame", "HEAD:disk.img")),
    Case("image", 2.0, ("blame", "--bar", "HEAD:disk.img")),
)


class Builder:
    """Writes commits into a new repository, a pack each."""

    def __init__(self, path: Path) -> None:
        Repository.create(path)
        self.repository = Repository(path)
        self.writer: ObjectWriter = self.repository.writer()
        self.codec = Codec()
        self.commits: list[str] = []

    def block(self, plain: bytes) -> bytes:
        identity = block_id(plain)
        key = block_key(identity)
        if self.writer.claim([key])[0]:
            self.writer.append([Record(key, *self._packed(plain))])
        return identity

    def _packed(self, plain: bytes) -> tuple[int, int, bytes]:
        codec, payload = self.codec.compress(plain)
        return codec, len(plain), payload

    def folder(self, name: bytes, entries: dict[bytes, Entry]) -> Entry:
        builder = DirectoryBuilder(self.writer.put_node)
        for key in sorted(entries):
            builder.add(entries[key])
        made = builder.finish()
        kind, when = EntryKind.FOLDER, START * 10**9
        return Entry(name, kind, 0o755, 0, 0, when, made.size, made.files, made.node)

    def commit(self, top: Entry, change: Change) -> None:
        root = NodeId(self.writer.put_node(encode_root(top, self.repository.block_size)))
        self.writer.flush()
        number = len(self.commits)
        who = Person("Ada", "ada@example.org", START + 3600 * number)
        self.repository.mark_held([root], "whole")
        record = RootRecord(root, change=change)
        made = self.repository.history.create_commit(
            record, self.commits[-1:], who, who, f"commit {number}\n", REF
        )
        self.commits.append(made.id)

    def finish(self) -> None:
        self.writer.finish()
        self.repository.record_packs(self.writer.packs)
        self.repository.close()


def file_entry(name: bytes, size: int, content: bytes, number: int) -> Entry:
    when = (START + number) * 10**9
    return Entry(name, EntryKind.FILE, 0o644, 0, 0, when, size, 0, content)


class Tree:
    """The 100,000 files: three levels, and one large folder."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.parts: dict[tuple[bytes, ...], dict[bytes, Entry]] = {}
        for top in range(TOPS):
            for middle in range(MIDDLES):
                names = b"folder%02d" % top, b"part%02d" % middle
                self.parts[names] = self.files(b"file%03d", FILES)
        self.parts[(b"large",)] = self.files(b"file%05d", LARGE)
        self.folders: dict[tuple[bytes, ...], dict[bytes, Entry]] = {(): {}}
        for place in self.parts:
            self.update(place, whole=False)
        for top in range(TOPS):
            self.raise_to_top((b"folder%02d" % top,))

    def files(self, pattern: bytes, count: int) -> dict[bytes, Entry]:
        names = [pattern % number for number in range(count)]
        return {name: self.file(name, 0) for name in names}

    def file(self, name: bytes, number: int) -> Entry:
        plain = b"%s\n" % name * 5 + b"as of %d\n" % number
        return file_entry(name, len(plain), self.builder.block(plain), number)

    def update(self, place: tuple[bytes, ...], *, whole: bool = True) -> None:
        """Make the folder at `place` anew, and with `whole` those above it."""
        made = self.builder.folder(place[-1], self.parts[place])
        self.folders.setdefault(place[:-1], {})[place[-1]] = made
        if whole:
            self.raise_to_top(place[:-1])

    def raise_to_top(self, place: tuple[bytes, ...]) -> None:
        while place:
            made = self.builder.folder(place[-1], self.folders[place])
            self.folders.setdefault(place[:-1], {})[place[-1]] = made
            place = place[:-1]

    def top(self) -> Entry:
        return self.builder.folder(b"", self.folders[()])

    def change(self, number: int, chance: random.Random) -> int:
        """Change a few files, now and then add one, and delete it later; how many."""
        places = chance.sample(list(self.parts), 3)
        if number % 20 == 0:
            places.append((b"large",))
        for place in places:
            names = chance.sample(sorted(self.parts[place]), 2)
            for name in names:
                self.parts[place][name] = self.file(name, number)
            self.parts[place].pop(b"added%04d" % (number - 300), None)
        if number % 10 == 0:
            name = b"added%04d" % number
            self.parts[places[0]][name] = self.file(name, number)
        for place in places:
            self.update(place)
        return 2 * len(places)


def make_files(path: Path) -> None:
    builder = Builder(path)
    chance, tree = random.Random(1), Tree(builder)
    builder.commit(tree.top(), Change(100_000, 100_000, 1, 1))
    for number in range(1, COMMITS):
        count = tree.change(number, chance)
        builder.commit(tree.top(), Change(count, count, 100 * count, 100 * count))
    builder.finish()


def make_image(path: Path) -> None:
    builder = Builder(path)
    chance = random.Random(2)
    ids = [chance.randbytes(32) for _ in range(IMAGE_BLOCKS)]
    size = IMAGE_BLOCKS * builder.repository.block_size
    for number in range(IMAGE_COMMITS):
        for place in chance.sample(range(IMAGE_BLOCKS), IMAGE_WRITES):
            ids[place] = chance.randbytes(32)
        index = IndexBuilder(builder.writer.put_node)
        index.add(b"".join(ids))
        entry = file_entry(b"disk.img", size, index.finish(), number)
        top = builder.folder(b"", {entry.name: entry})
        builder.commit(top, Change(1, IMAGE_WRITES, IMAGE_WRITES << 16, IMAGE_WRITES << 16))
    builder.finish()


MAKERS = {"files": make_files, "image": make_image}


def made(work: Path, name: str) -> Path:
    """The repository of this name, made when it is not there whole."""
    path = work / name
    if not path.exists():
        started = time.monotonic()
        unfinished = work / f"{name}-{time.time_ns()}"
        MAKERS[name](unfinished)
        unfinished.rename(path)
        print(f"made {name} in {time.monotonic() - started:.0f} s", flush=True)
    return path


def timed(command: Sequence[str], first_line: bool = False) -> float:
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        first = time.monotonic() - started
        if not first_line:
            child.stdout.read()
    if child.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {child.returncode}")
    return first if first_line else time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/treering-bench-history"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("what", nargs="*", default=list(MAKERS))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    start = statistics.median(
        timed([str(TREERING), "--version"]) for _ in range(2 * arguments.rounds)
    )
    print(f"treering --version: {start:.2f} s")
    print("| command | median | goal | x --version |\n|---|---|---|---|")
    for case in CASES:
        if case.repository not in arguments.what:
            continue
        line = [str(TREERING), "-C", str(made(arguments.work, case.repository)), *case.command]
        times = [timed(line, case.first_line) for _ in range(arguments.rounds)]
        median = statistics.median(times)
        what = " ".join(case.command) + (", first line" if case.first_line else "")
        goal = f"{case.goal:.1f} s" if case.goal else ""
        print(f"| `{what}` | {median:.2f} s | {goal} | {median / start:.1f} |", flush=True)


if __name__ == "__main__":
    main()
