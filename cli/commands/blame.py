"""treering blame: which commit last wrote each region of a file."""

from __future__ import annotations

import os

import click

from ...store.errors import InvalidInput
from ...store.history import Commit
from ...tracker.blame import Blame, Blamed
from ..arguments import PATHS, PathsCommand
from ..blame_bar import bar_lines
from ..completion import files, offering, revisions
from ..context import Context, common_options, pass_context
from ..output import Json, commit_json, format_day, path_json, say, say_json
from ..ranges import ends, split_path


@click.command("blame", cls=PathsCommand)
@click.option("--bar", is_flag=True, help="One bar of the whole file, with a legend.")
@click.argument(
    "arguments",
    nargs=-1,
    metavar="[REV | A..B] FILE | REV:FILE | [REV | A..B] -- FILE",
    shell_complete=offering(revisions, files),
)
@common_options
@pass_context
def command(context: Context, arguments: tuple[str, ...], bar: bool) -> None:
    """Show for each region of a file the commit that last wrote it: offset+length, commit, date,
    author, title. A region counts in whole blocks; zeros that take no space are marked as a hole. A
    rename without a change is followed. Of A..B FILE, regions that none of these commits wrote are
    marked with ^ before the last commit that was left out.

    \b
    Example:
      treering blame disk.img
      treering blame --bar HEAD~3:disk.img
      treering blame HEAD~3.. disk.img
    """
    commit, path, hidden = _what(context, arguments)
    repository = context.repository
    blame = Blame(repository.store, repository.history, repository.block_size)
    found = blame(commit, path, hidden)
    if context.json:
        say_json(_json(commit, path, found))
    elif bar:
        for line in bar_lines(found):
            say(line)
    else:
        _say_table(found)


def _what(context: Context, arguments: tuple[str, ...]) -> tuple[Commit, bytes, list[str]]:
    """The commit and the path that are meant, and the commits to stop at. Without `--` the last
    argument is the file."""
    behind = click.get_current_context().meta.get(PATHS)
    parts = [*arguments, *(behind or [])]
    alone = behind is None and len(parts) == 1
    if (
        alone
        and split_path(parts[0])[1] is not None
        and not os.path.lexists(context.start / parts[0])
    ):
        commit, path = context.split_revision(parts[0])
        return commit, path, []
    if not parts or len(parts) > 2 or (behind is not None and len(behind) != 1):
        raise InvalidInput("blame takes one file", hint="see: treering blame --help")
    commit, hidden = _revision(context, parts[0] if len(parts) == 2 else "HEAD")
    return commit, context.history_paths((parts[-1],))[0], hidden


def _revision(context: Context, text: str) -> tuple[Commit, list[str]]:
    """The commit to begin with, and those that are left out."""
    found = ends(text)
    if found is None:
        return context.commit(text), []
    first, dots, last = found
    if dots == "...":
        raise InvalidInput(f"blame takes no '{text}'", hint=f"write it as {first}..{last}")
    return context.commit(last), [context.commit(first).id]


def _say_table(found: list[Blamed]) -> None:
    places = [f"{region.offset}+{region.length}" for region in found]
    width = max(map(len, places), default=0)
    names = max((len(region.commit.author.name) for region in found), default=0)
    told: dict[str, str] = {}
    """What is said of each commit: there are far more regions than commits."""
    for place, region in zip(places, found, strict=True):
        commit, author = region.commit, region.commit.author
        if commit.id not in told:
            short = f"^{commit.short[:9]}" if region.older else commit.short
            day = format_day(author)
            told[commit.id] = f"{short} {day} {author.name:<{names}}  {commit.title}"
        say(f"{place:<{width}}  {told[commit.id]}" + ("  (hole)" if region.hole else ""))


def _json(commit: Commit, path: bytes, found: list[Blamed]) -> Json:
    commits = {region.commit.id: region.commit for region in found}
    return {
        **path_json(path),
        "commit": commit.id,
        "regions": [
            {
                "offset": region.offset,
                "length": region.length,
                "commit": region.commit.id,
                "hole": region.hole,
                "older": region.older,
            }
            for region in found
        ],
        "commits": [commit_json(each) for each in commits.values()],
    }
