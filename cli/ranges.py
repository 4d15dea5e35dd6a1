"""Revisions and ranges of them, as Git writes them: A, ^A, A..B, A...B."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..store.errors import InvalidInput
from ..store.history import History


class Range(NamedTuple):
    """Commits to start from and to leave out, and where a set is given, only what is in it."""

    wanted: list[str]
    hidden: list[str]
    only: set[str] | None = None


REVISION: Final = re.compile(r"(?:[^:{]|\{[^}]*\}|\{(?!.*\}))*")


def split_path(text: str) -> tuple[str, str | None]:
    """The revision and the path of REV:PATH; no path where there is none. A colon in braces, as in
    `main@{2026-11-25 10:30}`, belongs to the revision."""
    found = REVISION.match(text)
    end = found.end() if found else 0
    return text[:end], text[end + 1 :] if end < len(text) else None


def ends(text: str) -> tuple[str, str, str] | None:
    """(A, dots, B) of A..B or A...B; None for anything else."""
    first, dots, last = text.partition("..")
    if not dots:
        return None
    if last.startswith("."):
        dots, last = "...", last[1:]
    return first or "HEAD", dots, last or "HEAD"


def names(text: str) -> list[str]:
    """The revisions that a revision or range is made of."""
    found = ends(text)
    return [found[0], found[2]] if found else [text.removeprefix("^") or "HEAD"]


def commits_of(history: History, revisions: Sequence[str]) -> Range:
    """The commits that revisions and ranges ask for. A...B, what only one of two has, stands
    alone."""
    wanted, hidden = [], []
    for text in revisions:
        ids = [history.resolve(name).id for name in names(text)]
        found = ends(text)
        if found and found[1] == "...":
            if len(revisions) > 1:
                raise InvalidInput(f"{text} stands alone: no other revision goes with it")
            return Range(ids, [], _either(history, *ids))
        if found or text.startswith("^"):
            hidden.append(ids[0])
        if found or not text.startswith("^"):
            wanted.append(ids[-1])
    return Range(wanted, hidden)


def _either(history: History, one: str, other: str) -> set[str]:
    return {*history.oldest_first([one], [other]), *history.oldest_first([other], [one])}


def compared(history: History, text: str) -> list[str]:
    """The two revisions that diff compares for a range: A and B, or for A...B where they parted
    and B. InvalidInput where they have nothing in common."""
    found = ends(text)
    if found is None:
        return [text]
    first, dots, last = found
    if dots == "..":
        return [first, last]
    base = history.merge_base(history.resolve(first).id, history.resolve(last).id)
    if base is None:
        raise InvalidInput(f"'{first}' and '{last}' have no commit in common")
    return [base, last]
