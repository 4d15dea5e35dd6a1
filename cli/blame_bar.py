"""A blamed file as one bar that fits the terminal: each column an equal part of the file, with the
letter of the commit that wrote most of it; and a legend, the newest commit first."""

from __future__ import annotations

import shutil
import string
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Final

from ..store.history import Commit
from ..tracker.blame import Blamed
from .output import format_day
from .sizes import count, format_size

LETTERS: Final = string.ascii_uppercase
"""One for each commit of the legend; what more there are is OTHER."""
OTHER: Final = "+"
HOLE: Final = "."
COLORS: Final = ("green", "yellow", "blue", "magenta", "cyan", "red")
WIDEST: Final = 160


def bar_lines(found: list[Blamed]) -> Iterator[str]:
    """The bar, and a line for each commit in it: how much it wrote, which, when, who, why."""
    if not found:
        return
    sizes: Counter[str] = Counter()
    commits = {region.commit.id: region.commit for region in found}
    for region in found:
        sizes[HOLE if region.hole else region.commit.id] += region.length
    ranks = {region.commit.id: region.rank for region in found}
    older = {region.commit.id for region in found if region.older}
    letters = _letters(ranks, sizes)
    width = max(10, min(shutil.get_terminal_size().columns, WIDEST) - 2)
    yield "[" + "".join(map(_paint, _columns(found, letters, width))) + "]"
    total = sum(sizes.values())
    for commit_id, letter in letters.items():
        commit = commits[commit_id]
        yield _legend(letter, sizes[commit_id], total, _describe(commit, commit_id in older))
    others = [commit_id for commit_id in commits if sizes[commit_id] and commit_id not in letters]
    if others:
        size = sum(sizes[commit_id] for commit_id in others)
        yield _legend(OTHER, size, total, count(len(others), "other commit"))
    if sizes[HOLE]:
        yield _legend(HOLE, sizes[HOLE], total, "holes")


def _letters(ranks: dict[str, int], sizes: Counter[str]) -> dict[str, str]:
    """The letters of the commits that wrote most, the newest first."""
    wrote = sorted((commit for commit in ranks if sizes[commit]), key=lambda each: -sizes[each])
    shown = sorted(wrote[: len(LETTERS)], key=lambda each: ranks[each])
    return dict(zip(shown, LETTERS, strict=False))


def _columns(found: list[Blamed], letters: dict[str, str], width: int) -> Iterator[str]:
    """The letter of each column: of what fills most of it."""
    end = found[-1].offset + found[-1].length
    place = 0
    for column in range(min(width, end)):
        first, last = end * column // min(width, end), end * (column + 1) // min(width, end)
        inside: Counter[str] = Counter()
        while True:
            region = found[place]
            stop = region.offset + region.length
            name = HOLE if region.hole else letters.get(region.commit.id, OTHER)
            inside[name] += min(stop, last) - max(region.offset, first)
            if stop >= last:
                break
            place += 1
        yield inside.most_common(1)[0][0]


def _legend(letter: str, size: int, total: int, text: str) -> str:
    return f" {_paint(letter)} {100 * size / total:5.1f}% {format_size(size):>10}  {text}"


def _describe(commit: Commit, older: bool) -> str:
    short = f"^{commit.short[:9]}" if older else commit.short
    return f"{short} {format_day(commit.author)} {commit.author.name}  {commit.title}"


def _paint(letter: str) -> str:
    """Coloured on a terminal."""
    if not sys.stdout.isatty() or letter not in LETTERS:
        return letter
    import click

    return click.style(letter, fg=COLORS[LETTERS.index(letter) % len(COLORS)])
