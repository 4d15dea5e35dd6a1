"""treering tag: list, make and delete tags."""

from __future__ import annotations

from fnmatch import fnmatchcase

import click

from ...store.errors import InvalidInput
from ...store.history import TAGS, RefUpdate
from ..context import Context, common_options, pass_context
from ..output import say, say_json
from ..refs import existing, make_ref, move_refs


@click.command("tag")
@click.option("-d", "--delete", is_flag=True, help="Delete tags.")
@click.option("-f", "--force", is_flag=True, help="Move a tag that exists.")
@click.option("-l", "--list", "pattern", metavar="GLOB", help="List the tags that fit.")
@click.argument("arguments", nargs=-1, metavar="[NAME [REV]]")
@common_options
@pass_context
def command(
    context: Context, delete: bool, force: bool, pattern: str | None, arguments: tuple[str, ...]
) -> None:
    """List tags, or give HEAD or REV a name that stays where it is.

    \b
    Example:
      treering tag before-migration
      treering tag --list "v1.*"
    """
    if delete:
        _delete(context, arguments)
    elif arguments:
        if len(arguments) > 2 or pattern:
            raise InvalidInput("tag takes a name and a revision")
        make_ref(context, TAGS, arguments[0], (*arguments, "HEAD")[1], force=force)
    else:
        _list(context, pattern or "*")


def _list(context: Context, pattern: str) -> None:
    history = context.repository.history
    found = [
        (name, history.resolve(ref))
        for ref in sorted(history.refs(TAGS))
        if fnmatchcase(name := ref.removeprefix(TAGS), pattern)
    ]
    if context.json:
        say_json([{"name": name, "commit": commit.id} for name, commit in found])
        return
    for name, commit in found:
        say(f"{name} {commit.short} {commit.title}" if context.verbose else name)


def _delete(context: Context, names: tuple[str, ...]) -> None:
    if not names:
        raise InvalidInput("which tag? see: treering tag --help")
    for name in names:
        target = existing(context, TAGS, name)
        move_refs(context, [RefUpdate(TAGS + name, target, None)], f"tag: deleted {name}")
        if not context.quiet and not context.json:
            say(f"Deleted tag {name} (was {target[:10]})")
