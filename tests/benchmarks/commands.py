"""Single commands that have a budget in seconds: how long the whole process takes."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from data import REGION, REGIONS, Scale
from measure import TREERING, run, treering


class Timed(NamedTuple):
    """What was run, its budget and its times in seconds."""

    what: str
    budget: float
    times: list[float]

    def row(self) -> tuple[str, ...]:
        median = statistics.median(self.times)
        span = f"{median:.2f} s ({min(self.times):.2f} - {max(self.times):.2f})"
        verdict = "met" if median <= self.budget else "**missed**"
        return self.what, span, f"{self.budget:.2f} s", verdict


def commands(work: Path, rounds: int, scale: Scale) -> Iterator[Timed]:
    yield version(rounds)
    yield status(work, rounds)
    yield switch(work, rounds, scale.image_size)


def version(rounds: int) -> Timed:
    times = [run([TREERING, "--version"]).wall for _ in range(max(rounds, 10))]
    return Timed("`treering --version`", 0.12, times)


def status(work: Path, rounds: int) -> Timed:
    """Of a hundred files."""
    folder = work / "small"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number in range(100):
        (folder / f"file{number}").write_text(f"{number}\n" * 100)
    treering(folder, "init", "-q")
    treering(folder, "commit", "-q", "-m", "files")
    times = [treering(folder, "status").wall for _ in range(max(rounds, 10))]
    shutil.rmtree(folder)
    return Timed("`treering status`, small, detached", 0.35, times)


def switch(work: Path, rounds: int, size: int) -> Timed:
    """Back and forth, each after a sync: what others have written is not to be waited for."""
    folder = make_switch(work, size)
    targets = (["--detach", "main~1"], ["main"])
    times = []
    for number in range(2 * rounds):
        os.sync()
        times.append(treering(folder, "switch", "-q", *targets[number % 2]).wall)
    return Timed(f"`treering switch`, {REGIONS} regions of {size / 2**30:g} GiB apart", 0.5, times)


def make_switch(work: Path, size: int) -> Path:
    """A work tree with an image of `size` bytes without holes, and two commits that are 64 regions
    apart. What these regions hold does not compress; the others are there for the size of the
    tree."""
    folder = work / "switch"
    if not folder.exists():
        unfinished = work / f"switch-{time.time_ns()}"
        unfinished.mkdir()
        image = unfinished / "disk.img"
        with image.open("wb") as file:
            for number in range(size // REGION):
                file.write((b"%08d" % number) * (REGION // 8))
        treering(unfinished, "init", "-q")
        for number in range(2):
            write_regions(image, size, random.Random(number))
            treering(unfinished, "commit", "-q", "-m", f"commit {number}")
        unfinished.rename(folder)
    return folder


def write_regions(image: Path, size: int, content: random.Random) -> None:
    """Always at the same places."""
    with image.open("r+b") as file:
        for place in random.Random(3).sample(range(0, size // REGION, 2), REGIONS):
            file.seek(place * REGION)
            file.write(content.randbytes(REGION))
