"""treering log: show history."""

from __future__ import annotations

from itertools import islice

import click

from ...store.history import History
from ..commit_text import decorations, full
from ..context import Context, common_options, pass_context
from ..output import commit_json, say, say_json


@click.command("log")
@click.option("--oneline", is_flag=True, help="One line a commit.")
@click.option(
    "-n", "--max-count", "limit", metavar="N", type=click.IntRange(min=0), help="At most N commits."
)
@click.argument("revisions", nargs=-1, metavar="[REV | A..B]")
@common_options
@pass_context
def command(context: Context, oneline: bool, limit: int | None, revisions: tuple[str, ...]) -> None:
    """Show commits, newest first: those of HEAD, of REV, or those in B that A lacks.

    \b
    Example:
      treering log --oneline -n 10
      treering log main~20..main
    """
    history = context.repository.history
    wanted, hidden = _range(history, revisions or ("HEAD",))
    found = islice(history.log(wanted, hidden), limit)
    if context.json:
        say_json([commit_json(commit) for commit in found])
        return
    names = decorations(history)
    for number, commit in enumerate(found):
        if oneline:
            say(f"{commit.short}{names.get(commit.id, '')} {commit.title}")
        else:
            if number:
                say()
            for line in full(commit, names.get(commit.id, "")):
                say(line)


def _range(history: History, revisions: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """(ids to start from, ids to leave out) of revisions and ranges."""
    wanted, hidden = [], []
    for text in revisions:
        first, dots, last = text.partition("..")
        if dots:
            hidden.append(history.resolve(first or "HEAD").id)
            wanted.append(history.resolve(last or "HEAD").id)
        elif text.startswith("^"):
            hidden.append(history.resolve(text[1:]).id)
        else:
            wanted.append(history.resolve(text).id)
    return wanted, hidden
