"""The figures of `make bench-scale`: printed as they come, kept in WORK/figures.tsv, and put side
by side as the tables of docs/scaling.md."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from measure import Figures, run

BUDGET: Final = 250 << 20
"""Anonymous memory that any command may take, in bytes."""
UNITS: Final = ("B", "KiB", "MiB", "GiB")


class Row(NamedTuple):
    """What one step of a part cost at one size."""

    part: str
    size: str
    step: str
    figures: Figures


class Sheet:
    """The figures of one part at one size."""

    def __init__(self, work: Path, part: str, size: str) -> None:
        self._file = work / "figures.tsv"
        self._part = part
        self.size = size

    def add(self, step: str, figures: Figures) -> None:
        over = "  OVER THE BUDGET" if figures.memory > BUDGET else ""
        print(f"{self._part} {self.size:>6}  {step:32} {figures}{over}", flush=True)
        values = (figures.wall, figures.cpu, figures.memory, figures.written)
        with self._file.open("a") as file:
            print(self._part, self.size, step, *values, sep="\t", file=file)

    def say(self, text: str) -> None:
        print(f"{self._part} {self.size:>6}  {text}", flush=True)


def read_rows(work: Path) -> list[Row]:
    """All figures, the latest of each step only."""
    found: dict[tuple[str, str, str], Row] = {}
    for line in (work / "figures.tsv").read_text().splitlines():
        part, size, step, wall, cpu, memory, written = line.split("\t")
        figures = Figures(float(wall), float(cpu), int(memory), int(written))
        found[part, size, step] = Row(part, size, step, figures)
    return list(found.values())


def print_tables(work: Path) -> None:
    """A table for each part, a column for each size: seconds (CPU seconds), MiB, bytes written."""
    rows = read_rows(work)
    for part in dict.fromkeys(row.part for row in rows):
        mine = {(row.step, row.size): row.figures for row in rows if row.part == part}
        sizes = list(dict.fromkeys(size for _, size in mine))
        print(f"\n| {part} | " + " | ".join(sizes) + " |\n|---|" + "---|" * len(sizes))
        for step in dict.fromkeys(step for step, _ in mine):
            cells = (mine.get((step, size)) for size in sizes)
            print(f"| {step} | " + " | ".join(shown(cell) for cell in cells) + " |")


def shown(figures: Figures | None) -> str:
    if figures is None:
        return ""
    seconds = f"{figures.wall:.2f} s ({figures.cpu:.2f})"
    return f"{seconds}, {amount(figures.memory)}, {amount(figures.written)}"


def amount(size: float) -> str:
    """A number of bytes, as people read it."""
    for unit in UNITS[:-1]:
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} {UNITS[-1]}"


def middle(rounds: int, measure: Callable[[], Figures]) -> Figures:
    """The figures of the round that took the median time, with the most memory of all."""
    found = sorted((measure() for _ in range(rounds)), key=lambda figures: figures.wall)
    chosen = found[len(found) // 2]
    memory = max(figures.memory for figures in found)
    return Figures(chosen.wall, chosen.cpu, memory, chosen.written)


def let_settle(made_at: float, seconds: float) -> None:
    """Wait until files are this old. A commit within 90 s of a change reads the file once more
    (see docs/architecture.md, MAPPED), which is not what the curves are about."""
    rest = made_at + seconds - time.time()
    if rest > 0:
        time.sleep(rest)
    run(["sync"])
