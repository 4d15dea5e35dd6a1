"""Which commits log shows: by date, author and message."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import click

from ..store.errors import InvalidInput
from ..store.history import Commit

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class CommitFilter:
    """Each limit holds; of several patterns for one thing, one has to be found. Times are seconds
    since the epoch, compared with when a commit was made, both ends included."""

    since: float | None = None
    until: float | None = None
    authors: tuple[re.Pattern[str], ...] = ()
    messages: tuple[re.Pattern[str], ...] = ()

    def __call__(self, commit: Commit) -> bool:
        made = commit.committer.time
        return (
            (self.since is None or made >= self.since)
            and (self.until is None or made <= self.until)
            and _any(self.authors, f"{commit.author.name} <{commit.author.email}>")
            and _any(self.messages, commit.message)
        )


def _any(patterns: tuple[re.Pattern[str], ...], text: str) -> bool:
    return not patterns or any(pattern.search(text) for pattern in patterns)


def filter_options(function: Function) -> Function:
    """--since, --until, --author, --grep and -i: the command gets them as `chosen`, a filter."""

    @wraps(function)
    def wrapped(
        *arguments: Any,
        since: str | None,
        until: str | None,
        author: tuple[str, ...],
        grep: tuple[str, ...],
        ignore_case: bool,
        **others: Any,
    ) -> Any:
        flags = re.MULTILINE | (re.IGNORECASE if ignore_case else 0)
        chosen = CommitFilter(
            _moment(since),
            _moment(until, end=True),
            tuple(_pattern(text, flags) for text in author),
            tuple(_pattern(text, flags) for text in grep),
        )
        return function(*arguments, chosen=chosen, **others)

    made: Any = wrapped
    for option in reversed(
        (
            click.option("--since", "--after", metavar="DATE", help="Not older than this."),
            click.option("--until", "--before", metavar="DATE", help="Not newer than this."),
            click.option("--author", metavar="PATTERN", multiple=True, help="By such an author."),
            click.option("--grep", metavar="PATTERN", multiple=True, help="With such a message."),
            click.option("-i", "ignore_case", is_flag=True, help="Patterns fit A and a alike."),
        )
    ):
        made = option(made)
    found: Function = made
    return found


def _moment(text: str | None, *, end: bool = False) -> float | None:
    if text is None:
        return None
    from .dates import parse_moment  # only here: most logs have no dates

    return parse_moment(text, time.time(), end=end)


def _pattern(text: str, flags: int) -> re.Pattern[str]:
    try:
        return re.compile(text, flags)
    except (re.error, RecursionError) as error:
        raise InvalidInput(f"'{text}' is not a regular expression: {error}") from error
