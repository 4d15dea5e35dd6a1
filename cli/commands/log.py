"""treering log: show history."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import click

from ...store.errors import NotFound
from ...store.history import Commit
from ...store.repository import Repository
from ..arguments import PathsCommand, revisions_and_paths
from ..commit_filter import CommitFilter, filter_options
from ..commit_text import decorations, full
from ..completion import offering, revisions
from ..context import Context, common_options, pass_context
from ..graph import Graph
from ..output import Json, commit_json, say, say_json
from ..ranges import Range, commits_of


class Wanted(NamedTuple):
    """What to show: commits, of them those that were chosen and changed what lies at `paths`, and
    how."""

    range: Range
    chosen: Callable[[Commit], bool]
    paths: list[bytes]
    limit: int | None
    oneline: bool
    stat: bool


@click.command("log", cls=PathsCommand)
@click.option("--oneline", is_flag=True, help="One line a commit.")
@click.option("--graph", is_flag=True, help="Draw which commit follows from which.")
@click.option("--stat", is_flag=True, help="With each commit the files it changed.")
@click.option("--all", "everything", is_flag=True, help="The commits of all branches and tags.")
@click.option(
    "-n", "--max-count", "limit", metavar="N", type=click.IntRange(min=0), help="At most N commits."
)
@filter_options
@click.argument(
    "arguments",
    nargs=-1,
    metavar="[REV | A..B | A...B] [-- PATH...]",
    shell_complete=offering(revisions),
)
@common_options
@pass_context
def command(
    context: Context,
    oneline: bool,
    graph: bool,
    stat: bool,
    everything: bool,
    limit: int | None,
    chosen: CommitFilter,
    arguments: tuple[str, ...],
) -> None:
    """Show commits, newest first: those of HEAD, of REV, those in B that A lacks (A..B), or those
    that only one of two has (A...B). With paths, those that changed what lies there.

    A DATE is 2026-11-25, '2026-11-25 10:30', '2 weeks ago', yesterday or the like; it is compared
    with when a commit was made. A PATTERN is a regular expression, looked for in NAME <EMAIL> or
    in the message; of several for one thing, one is enough.

    \b
    Example:
      treering log --oneline -n 10
      treering log --graph --oneline --all
      treering log --stat HEAD~1..HEAD -- photos
      treering log --since '2 weeks ago' --author ada --grep disk -i
    """
    repository = context.repository
    revisions, texts = revisions_and_paths(context, arguments)
    paths = context.history_paths(tuple(texts)) if texts else []
    found = _range(repository, revisions, everything)
    wanted = Wanted(found, chosen, paths, limit, oneline, stat)
    if context.json:
        commits = islice(filter(_is_shown(repository, wanted), _walk(repository, found)), limit)
        say_json([_json(repository, commit, paths, stat) for commit in commits])
    elif graph:
        context.page()
        _say_graph(repository, wanted)
    else:
        context.page()
        _say_list(repository, wanted)


def _range(repository: Repository, revisions: list[str], everything: bool) -> Range:
    history = repository.history
    if not everything:
        return commits_of(history, revisions or ["HEAD"])
    wanted, hidden, only = commits_of(history, revisions)
    head = history.head()
    wanted = [*wanted, *([head] if head else []), *history.tips().values()]
    if not wanted:
        raise NotFound("there are no commits yet", hint="make one with: treering commit")
    return Range(wanted, hidden, only)


def _walk(repository: Repository, found: Range) -> Iterator[Commit]:
    commits = repository.history.log(found.wanted, found.hidden)
    only = found.only
    return commits if only is None else (commit for commit in commits if commit.id in only)


def _is_shown(repository: Repository, wanted: Wanted) -> Callable[[Commit], bool]:
    """Whether a commit was chosen and changed what lies at the paths, where there are any."""
    chosen = wanted.chosen
    if not wanted.paths:
        return chosen
    from ...tracker.touching import Touching

    touches = Touching(repository.store, repository.history, wanted.paths)
    return lambda commit: chosen(commit) and touches(commit)


def _say_list(repository: Repository, wanted: Wanted) -> None:
    names = decorations(repository.history)
    commits = filter(_is_shown(repository, wanted), _walk(repository, wanted.range))
    for number, commit in enumerate(islice(commits, wanted.limit)):
        if number and not wanted.oneline:
            say()
        for line in _lines(repository, commit, names.get(commit.id, ""), wanted):
            say(line)
        sys.stdout.flush()


def _say_graph(repository: Repository, wanted: Wanted) -> None:
    """The same beside the graph. Parents that are outside of the range have no line."""
    history, graph = repository.history, Graph()
    names, is_shown = decorations(history), _is_shown(repository, wanted)
    found, shown = wanted.range, 0
    inside = found.only
    if found.hidden:
        inside = set(history.oldest_first(found.wanted, found.hidden))
    for commit in _walk(repository, found):
        if shown == wanted.limit:
            break
        parents = [parent for parent in commit.parents if inside is None or parent in inside]
        if not is_shown(commit):
            graph.skip(commit.id, parents)
            continue
        shown += 1
        before, drawn = graph.add(commit.id, parents)
        text = list(_lines(repository, commit, names.get(commit.id, ""), wanted))
        if not wanted.oneline:
            text.append("")
        for line in [*before, *drawn.beside(text)]:
            say(line)
        sys.stdout.flush()


def _lines(repository: Repository, commit: Commit, names: str, wanted: Wanted) -> Iterator[str]:
    if wanted.oneline:
        yield f"{commit.short}{names} {commit.title}"
    else:
        yield from full(commit, names)
    if wanted.stat:
        from ..changes import changes_of
        from ..diffstat import rows, stat_lines

        changes = changes_of(repository, commit, wanted.paths)
        yield from stat_lines(rows(repository.store, changes, repository.block_size))


def _json(repository: Repository, commit: Commit, paths: list[bytes], stat: bool) -> Json:
    if not stat:
        return commit_json(commit)
    from ..changes import changes_json, changes_of

    changes = changes_json(repository, changes_of(repository, commit, paths))
    return {**commit_json(commit), "changes": changes}
