"""A sparse file of 1 TiB with 10,000 regions of 64 KiB scattered over it, each of random bytes."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Final

from measure import TREERING, run, treering
from scale_sheet import Sheet, amount, let_settle, middle

LENGTH: Final = 1 << 40
REGION: Final = 1 << 16
REGIONS: Final = 10_000
ROUNDS: Final = 3
SETTLED: Final = 95


def make_sparse(path: Path) -> None:
    chance = random.Random(1)
    with path.open("wb") as file:
        file.truncate(LENGTH)
        for place in sorted(chance.sample(range(LENGTH // REGION), REGIONS)):
            file.seek(place * REGION)
            file.write(chance.randbytes(REGION))


def change_region(path: Path, number: int) -> None:
    """Overwrite one of the regions."""
    places = random.Random(1).sample(range(LENGTH // REGION), REGIONS)
    with path.open("r+b") as file:
        file.seek(places[number] * REGION)
        file.write(random.Random(-number).randbytes(REGION))


def measure_sparse(work: Path) -> None:
    sheet, top = Sheet(work, "sparse", "1 TiB"), work / "sparse"
    remote, clone, restored = (work / f"sparse-{what}" for what in ("remote", "clone", "restored"))
    made = (top, remote, clone, restored)
    for path in made:
        shutil.rmtree(path, ignore_errors=True)
    top.mkdir()
    image = top / "disk.img"
    make_sparse(image)
    let_settle(time.time(), SETTLED)
    treering(work, "init", "-q", "--bare", str(remote))
    treering(top, "init", "-q")
    treering(top, "remote", "add", "origin", str(remote))
    sheet.add("commit, first", treering(top, "commit", "-m", "first"))
    sheet.add("commit, nothing changed", treering(top, "commit", "-m", "none"))
    sheet.add("status", middle(ROUNDS, lambda: treering(top, "status")))
    sheet.add("push, first", treering(top, "push", "origin"))
    change_region(image, 1)
    sheet.add("status, one region changed", treering(top, "status"))
    sheet.add("commit, one region changed", treering(top, "commit", "-m", "one"))
    change_region(image, 2)
    _say_written(sheet, top)
    stored = ("diff", "--regions", "HEAD~1", "HEAD")
    sheet.add("diff --regions HEAD~1 HEAD", middle(ROUNDS, lambda: treering(top, *stored)))
    sheet.add("push, two regions changed", treering(top, "push", "origin"))
    back = ("restore", "--source", "HEAD~1")
    sheet.add("restore in place, one region", treering(top, *back))
    sheet.add("clone", treering(work, "clone", str(remote), str(clone)))
    sheet.add("restore --target", treering(top, "restore", "--target", str(restored)))
    kept = os.stat(restored / "disk.img").st_blocks * 512
    sheet.say(f"restored on disk: {amount(kept)} of {amount(LENGTH)}")
    for path in made:
        shutil.rmtree(path)


def _say_written(sheet: Sheet, top: Path) -> None:
    """Commit, and say what is written into each part of the repository, call by call."""
    trace = top.parent / "sparse-trace"
    calls = ("strace", "-f", "-y", "-e", "trace=write,writev,pwrite64,pwritev", "-o", str(trace))
    run([*calls, TREERING, "-C", top, "commit", "-m", "two"])
    pattern = re.compile(
        r"write\w*\(\d+<" + re.escape(f"{top}/.treering/") + r"([^/>]+).* = (\d+)$"
    )
    parts: Counter[str] = Counter()
    for line in trace.read_text(errors="replace").splitlines():
        if found := pattern.search(line):
            parts[found[1]] += int(found[2])
    trace.unlink()
    listed = ", ".join(f"{part} {amount(size)}" for part, size in parts.most_common())
    sheet.say(f"one region changed: {amount(parts.total())} written: {listed}")
