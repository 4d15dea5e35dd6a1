"""treering log: show history."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice

import click

from ...store.history import Commit, History
from ...store.repository import Repository
from ..arguments import PathsCommand, revisions_and_paths
from ..commit_text import decorations, full
from ..context import Context, common_options, pass_context
from ..output import Json, commit_json, say, say_json


@click.command("log", cls=PathsCommand)
@click.option("--oneline", is_flag=True, help="One line a commit.")
@click.option("--stat", is_flag=True, help="With each commit the files it changed.")
@click.option(
    "-n", "--max-count", "limit", metavar="N", type=click.IntRange(min=0), help="At most N commits."
)
@click.argument("arguments", nargs=-1, metavar="[REV | A..B] [-- PATH...]")
@common_options
@pass_context
def command(
    context: Context, oneline: bool, stat: bool, limit: int | None, arguments: tuple[str, ...]
) -> None:
    """Show commits, newest first: those of HEAD, of REV, or those in B that A lacks. With paths,
    those that changed what lies there.

    \b
    Example:
      treering log --oneline -n 10
      treering log --stat main~20..main -- photos
    """
    repository = context.repository
    revisions, texts = revisions_and_paths(context, arguments)
    paths = context.tree_paths(tuple(texts)) if texts else []
    wanted, hidden = _range(repository.history, revisions or ["HEAD"])
    found = islice(_commits(repository, wanted, hidden, paths), limit)
    if context.json:
        say_json([_json(repository, commit, paths, stat) for commit in found])
        return
    names = decorations(repository.history)
    for number, commit in enumerate(found):
        if number and not oneline:
            say()
        _say_commit(commit, names.get(commit.id, ""), oneline)
        if stat:
            _say_stat(repository, commit, paths)
        sys.stdout.flush()


def _commits(
    repository: Repository, wanted: list[str], hidden: list[str], paths: list[bytes]
) -> Iterator[Commit]:
    commits = repository.history.log(wanted, hidden)
    if not paths:
        return commits
    from ...tracker.touching import Touching

    return filter(Touching(repository.store, repository.history, paths), commits)


def _say_commit(commit: Commit, names: str, oneline: bool) -> None:
    if oneline:
        say(f"{commit.short}{names} {commit.title}")
        return
    for line in full(commit, names):
        say(line)


def _say_stat(repository: Repository, commit: Commit, paths: list[bytes]) -> None:
    from ..changes import Style, changes_of, say_changes

    say_changes(repository, changes_of(repository, commit, paths), Style(stat=True))


def _json(repository: Repository, commit: Commit, paths: list[bytes], stat: bool) -> Json:
    if not stat:
        return commit_json(commit)
    from ..changes import changes_json, changes_of

    changes = changes_json(repository, changes_of(repository, commit, paths))
    return {**commit_json(commit), "changes": changes}


def _range(history: History, revisions: list[str]) -> tuple[list[str], list[str]]:
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
