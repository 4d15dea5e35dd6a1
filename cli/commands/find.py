"""treering find: which paths history ever held."""

from __future__ import annotations

import os
import sys
from itertools import chain

import click

from ...store.errors import NotFound
from ...tracker.find import Find, Found
from ...tracker.glob import Glob
from .. import completion
from ..completion import offering
from ..context import Context, common_options, pass_context
from ..output import Json, format_day, path_json, say, say_json, show_path
from ..ranges import commits_of
from ..sizes import format_size


@click.command("find")
@click.option("-z", "zero", is_flag=True, help="Do not quote paths; end lines with NUL.")
@click.option("--all", "everything", is_flag=True, help="All refs and HEAD, also with a REV.")
@click.argument("pattern")
@click.argument(
    "revisions", nargs=-1, metavar="[REV | A..B]...", shell_complete=offering(completion.revisions)
)
@common_options
@pass_context
def command(
    context: Context, pattern: str, revisions: tuple[str, ...], zero: bool, everything: bool
) -> None:
    """Find paths in all of history, also those that are gone: for each the first and the last
    commit that hold it, its size then and at last, and which commit deleted it.

    A PATTERN without a slash fits the last name of a path in any folder; one with a slash the whole
    path from the top; one that ends in a slash folders only. * and ? stay within a name, ** crosses
    folders, [a-z] is one of these. All branches, tags and HEAD are looked through unless a REV is
    given, or a range as log takes it: of A..B the commits in B that A lacks, as if there were no
    others.

    \b
    Example:
      treering find '*.jpg'
      treering find 'photos/2024/**' main
      treering find 'photos/' HEAD~3..HEAD
    """
    history = context.repository.history
    wanted, hidden, only = commits_of(history, revisions)
    if everything or not revisions:
        head = history.head()
        wanted += [*([head] if head else []), *history.tips().values()]
        if not wanted:
            history.resolve("HEAD")  # which says that there are no commits yet
    glob = Glob(os.fsencode(pattern))
    repository = context.repository
    find = Find(lambda: repository.store, history, processes=repository.threads)
    found = find(glob, wanted, hidden, only)
    one = next(found, None)
    if one is None:
        where = " ".join(revisions) if revisions and not everything else "history"
        raise NotFound(f"nothing in {where} ever fitted '{pattern}'")
    if context.json:
        say_json([_json(item) for item in chain([one], found)])
        return
    for item in chain([one], found):
        _say(item, zero)


def _say(item: Found, zero: bool) -> None:
    name = show_path(item.path, zero) + ("/" if item.last_entry.is_folder else "")
    line = (
        f"{item.first.short} {format_day(item.first.author)}"
        f"  {item.last.short} {format_day(item.last.author)}"
        f"  {format_size(item.first_entry.size):>10}"
        f" -> {format_size(item.last_entry.size):<10}  {name}"
    )
    if item.deleted_by is not None and not zero:
        line += f"  (deleted by {item.deleted_by.short} {format_day(item.deleted_by.author)})"
    if zero:
        sys.stdout.buffer.write(line.encode("utf-8", "surrogateescape") + b"\0")
    else:
        say(line)


def _json(item: Found) -> Json:
    return {
        **path_json(item.path),
        "kind": item.last_entry.kind_name,
        "first": item.first.id,
        "first_time": item.first.author.time,
        "first_size": item.first_entry.size,
        "last": item.last.id,
        "last_time": item.last.author.time,
        "last_size": item.last_entry.size,
        "deleted_by": item.deleted_by.id if item.deleted_by else None,
    }
