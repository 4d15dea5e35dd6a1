"""The lines of `log --graph`: which commit follows from which, drawn beside them.

Fed commit by commit, children before their parents; each answer is complete, so that nothing is
held but a column for each line that is still open, with the commit it leads to. A column lies two
characters wide; a line moves one column a row. A merge opens a column to its right for each
parent after the first, one a row, pushing those behind it to the right. Lines that lead to one
commit run together in the leftmost of their columns: those on the way are crossed, not moved. All
that move do so at once and equally fast, so no two of them ever lie on each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Drawn(NamedTuple):
    """What stands beside one commit: `first` by its first line, `rows` by what follows (or by
    nothing), then `rest` for as long as there is text. All of them have one width."""

    first: str
    rows: list[str]
    rest: str

    def beside(self, lines: Sequence[str]) -> Iterator[str]:
        """The text of a commit with its graph. Rows that text is too short for come bare."""
        head, *others = lines or [""]
        yield f"{self.first}{head}".rstrip()
        for place in range(max(len(others), len(self.rows))):
            prefix = self.rows[place] if place < len(self.rows) else self.rest
            yield (prefix + (others[place] if place < len(others) else "")).rstrip()


class Graph:
    """The open lines, from left to right."""

    def __init__(self) -> None:
        self._columns: list[str] = []
        self._waiting: list[str] = []

    def skip(self, commit: str, parents: Sequence[str]) -> None:
        """A commit that is not shown: what led to it leads to its parents."""
        while commit in self._columns:
            place = self._columns.index(commit)
            self._waiting += self._open(place, parents) if parents else self._close(place)
        self._waiting += self._run_together()

    def add(self, commit: str, parents: Sequence[str]) -> tuple[list[str], Drawn]:
        """A commit that is shown: rows to print before it, and what stands beside it."""
        before, self._waiting = self._waiting, []
        if commit not in self._columns:
            self._columns.append(commit)
        place = self._columns.index(commit)
        marks = ["*" if to == commit else "|" for to in self._columns]
        rows = self._open(place, parents) if parents else self._close(place)
        width = 2 * max(len(marks), len(self._columns))
        lines = [" ".join(marks), *rows, *self._run_together()]
        rest = " ".join("|" * len(self._columns))
        first, *following = (line.ljust(width) for line in lines)
        return before, Drawn(first, following, rest.ljust(width))

    def _open(self, place: int, parents: Sequence[str]) -> list[str]:
        """Lead the column of a commit to its parents."""
        self._columns[place] = parents[0]
        rows = []
        for parent in reversed(parents[1:]):
            pushed = range(place, len(self._columns))
            straight = dict.fromkeys((2 * column for column in range(place + 1)), "|")
            rows.append(_row(straight | {2 * column + 1: "\\" for column in pushed}))
            self._columns.insert(place + 1, parent)
        return rows

    def _close(self, place: int) -> list[str]:
        """End the column of a commit without parents; those behind it move up."""
        del self._columns[place]
        if place == len(self._columns):
            return []
        straight = dict.fromkeys((2 * column for column in range(place)), "|")
        moved = range(place, len(self._columns))
        return [_row(straight | {2 * column + 1: "/" for column in moved})]

    def _run_together(self) -> list[str]:
        """Join columns that lead to one commit."""
        kept = list(dict.fromkeys(self._columns))
        goals = [kept.index(to) for to in self._columns]
        places = list(range(len(goals)))
        self._columns = kept
        rows = []
        while places != goals:
            drawn = {}
            for line, (place, goal) in enumerate(zip(places, goals, strict=True)):
                drawn[2 * place - (place > goal)] = "/" if place > goal else "|"
                places[line] = max(goal, place - 1)
            rows.append(_row(drawn))
        return rows


def _row(drawn: dict[int, str]) -> str:
    return "".join(drawn.get(place, " ") for place in range(max(drawn) + 1))
