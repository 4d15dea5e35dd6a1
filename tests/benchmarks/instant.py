"""`make bench-instant`: commits of an attached tree, which are one instant of it.

How long a commit of 64 changed regions of a 4 GiB image takes, beside ever more files; how long
for ever more changed bytes; for how long a freeze keeps writers waiting; and how long writes take
while a commit reads what they overwrite. Needs root.
Usage: instant.py [--work DIR] [--files N,N] [--rounds N] [--write docs/performance.md]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import data
import plot
import report
from measure import TREERING

from treering.store.repository import Repository
from treering.tracker.attached import attachment
from treering.tracker.capture.link import CaptureLink

REGION, REGIONS, IMAGE = 65536, 64, 4 << 30
FILES: Final = (1_000, 10_000, 100_000, 1_000_000)
DIRTY: Final = tuple(REGION * 4**power for power in range(8))
FREEZES, FROZEN, OPEN, PACES = 200, 10_000, 100, 4
IDLE: Final = 15.0
COMMITS: Final = 4
HERE: Final = Path(__file__).resolve().parents[2]
FIGURES: Final = HERE / "docs" / "figures"
WRITER: Final = """
import json, os, random, sys, time
path, until, kind = sys.argv[1:]
file = os.open(path, os.O_RDWR)
size = os.fstat(file).st_size // 65536
taken = []
data = os.urandom(4096)
while not os.path.exists(until):
    place = random.randrange(size) * 65536
    begun = time.perf_counter()
    if kind == "block":
        os.pwrite(file, os.pread(file, 65536, place), place)
    else:
        os.pwrite(file, data, place)
    taken.append((begun, time.perf_counter() - begun))
    time.sleep(0.0005)
print(json.dumps(taken))
"""


def treering(top: Path, *words: str) -> str:
    command = [str(TREERING), "-C", str(top), *words]
    done = subprocess.run(command, cwd="/", check=True, capture_output=True, text=True)
    return str(done.stdout)


def timed(top: Path, *words: str) -> float:
    begun = time.perf_counter()
    treering(top, *words)
    return time.perf_counter() - begun


@contextmanager
def attached(top: Path) -> Iterator[None]:
    treering(top, "attach")
    try:
        yield
    finally:
        treering(top, "detach")


def change(image: Path, places: Sequence[int]) -> None:
    file = os.open(image, os.O_RDWR)
    for place in places:
        os.pwrite(file, os.urandom(REGION), place * REGION)
    os.close(file)


def add_files(top: Path, count: int) -> None:
    for number in range(count):
        folder = top / "files" / str(number // 500)
        if number % 500 == 0:
            folder.mkdir(parents=True, exist_ok=True)
        path = folder / str(number)
        if not path.exists():
            path.write_bytes(b"%d" % number)


def commits(top: Path, rounds: int) -> list[float]:
    """Of 64 regions of the image."""
    found = []
    for number in range(rounds + 1):
        change(top / "image", random.sample(range(IMAGE // REGION), REGIONS))
        found.append(timed(top, "commit", "-m", str(number)))
    return found[1:]  # the first finds the worker without its caches


def by_files(top: Path, counts: Sequence[int], rounds: int) -> str:
    rows = []
    for count in counts:
        add_files(top, count)
        treering(top, "commit", "-m", f"{count} files")
        with attached(top):
            seconds = commits(top, rounds)
            status = [timed(top, "status") for _ in range(rounds)]
        middle = statistics.median(seconds)
        spread = f"{middle:.3f} ({min(seconds):.3f} - {max(seconds):.3f})"
        rows.append([f"{count:,}", spread, f"{statistics.median(status):.3f}"])
        print(rows[-1], flush=True)
    return report.table(["files beside the image", "commit, s", "status, s"], rows)


def by_size(top: Path, rounds: int) -> str:
    rows, points = [], []
    with attached(top):
        for size in DIRTY:
            seconds = []
            for number in range(max(2, rounds // 2)):
                change(top / "image", range(size // REGION))
                seconds.append(timed(top, "commit", "-m", f"{size} {number}"))
            middle = statistics.median(seconds)
            points.append((size / 2**20, middle))
            rows.append([f"{size / 2**20:,.2f}", f"{middle:.3f}", f"{size / 2**20 / middle:,.0f}"])
            print(rows[-1], flush=True)
    plot.curves(
        FIGURES / "instant.svg",
        "A commit of an attached tree, the command included",
        "changed, MiB",
        "seconds",
        {"treering": points},
    )
    return report.table(["changed, MiB", "commit, s", "MiB/s"], rows)


def pauses(top: Path) -> str:
    """Freezes beside four writers, with so many dirty files."""
    folder = top / "dirty"
    folder.mkdir(exist_ok=True)
    for number in range(FROZEN):
        (folder / str(number)).write_bytes(b"x")
    treering(top, "commit", "-m", "before")
    found = []
    until = top.with_name("until")
    with attached(top):
        for number in range(FROZEN):
            with (folder / str(number)).open("r+b") as file:
                file.write(b"y")
        held = [os.open(folder / str(number), os.O_RDWR) for number in range(OPEN)]
        writers = [_writer(top / "image", until, "write") for _ in range(PACES)]
        repository = Repository(top / ".treering")
        try:
            there = attachment(repository)
            assert there is not None
            for _ in range(FREEZES):
                link = CaptureLink(there)
                found.append(link.pause * 1000)
                link.close()
                time.sleep(0.02)
        finally:
            repository.close()
            until.touch()
            for writer in writers:
                writer.communicate()
            until.unlink()
            for descriptor in held:
                os.close(descriptor)
    return report.table(["freezes", "p50, ms", "p99, ms", "longest, ms"], [_row(found)])


def _row(found: Sequence[float]) -> list[str]:
    ordered = sorted(found)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    middle = statistics.median(ordered)
    return [f"{len(ordered):,}", f"{middle:.3f}", f"{p99:.3f}", f"{ordered[-1]:.3f}"]


def _writer(image: Path, until: Path, kind: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(image), str(until), kind]
    return subprocess.Popen(command, cwd="/", stdout=subprocess.PIPE, text=True)


def _latencies(
    image: Path, until: Path, kind: str, meanwhile: Callable[[], list[tuple[float, float]]]
) -> list[float]:
    """Of writes, in ms, within the spans of time in which something was done meanwhile."""
    writer = _writer(image, until, kind)
    spans = meanwhile()
    until.touch()
    said, _ = writer.communicate()
    until.unlink()
    return [
        1000 * taken
        for moment, taken in json.loads(said)
        if any(begun <= moment < ended for begun, ended in spans)
    ]


def writers(top: Path) -> str:
    """Writes of 4 KiB, one at a time: beside nothing, and while commits read what they change."""
    image, until = top / "image", top.with_name("until")

    def wait() -> list[tuple[float, float]]:
        begun = time.perf_counter()
        time.sleep(IDLE)
        return [(begun, time.perf_counter())]

    def commit_all() -> list[tuple[float, float]]:
        spans = []
        for _ in range(COMMITS):
            change(image, range(0, IMAGE // REGION, 4))
            begun = time.perf_counter()
            treering(top, "commit", "-m", "all")
            spans.append((begun, time.perf_counter()))
        return spans

    with attached(top):
        found = {
            "a block read and written, idle": _latencies(image, until, "block", wait),
            "4 KiB written, idle": _latencies(image, until, "write", wait),
            "4 KiB written, during commits of 1 GiB": _latencies(image, until, "write", commit_all),
        }
    rows = [[name, *_row(values)] for name, values in found.items()]
    return report.table(["", "writes", "p50, ms", "p99, ms", "longest, ms"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/treering-bench-instant"))
    parser.add_argument("--files", default=",".join(map(str, FILES)))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    top = arguments.work / "tree"
    top.mkdir(parents=True)
    subprocess.run([TREERING, "init", "-q", top], check=True)
    (data.make_image(arguments.work) / "disk.img").rename(top / "image")
    counts = [*map(int, arguments.files.split(","))]
    made = {
        "pauses": pauses(top),
        "commits by size": by_size(top, arguments.rounds),
        "writes beside commits": writers(top),
        "commits by files": by_files(top, counts, arguments.rounds),
    }
    for name, text in made.items():
        print(f"\n{name}\n\n{text}")
    if arguments.write:
        report.fill(arguments.write, made)
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
