"""treering tag: list, make and delete tags, light and annotated."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

import click

from ...store.errors import InvalidInput
from ...store.history import TAGS, Commit, History, RefUpdate, Tag
from ..commit_text import tag_json
from ..completion import offering, revisions, tags
from ..context import Context, common_options, pass_context
from ..output import Json, say, say_json
from ..refs import existing, make_ref, make_tag, move_refs


class Listed(NamedTuple):
    """A tag of the list; `tag` is None for a light one."""

    name: str
    commit: Commit
    tag: Tag | None

    @property
    def lines(self) -> list[str]:
        """Its message, or that of its commit."""
        return (self.tag or self.commit).message.strip().split("\n")


@click.command("tag")
@click.option("-a", "--annotate", is_flag=True, help="With a message, who made it and when.")
@click.option("-m", "--message", multiple=True, help="The message of an annotated tag.")
@click.option("-d", "--delete", is_flag=True, help="Delete tags.")
@click.option("-f", "--force", is_flag=True, help="Move a tag that exists.")
@click.option("-l", "--list", "pattern", metavar="GLOB", help="List the tags that fit.")
@click.option(
    "-n",
    "count",
    metavar="[N]",
    type=click.IntRange(min=0),
    is_flag=False,
    flag_value=1,
    help="List with N lines of each message (1).",
)
@click.argument(
    "arguments", nargs=-1, metavar="[NAME [REV]]", shell_complete=offering(tags, revisions)
)
@common_options
@pass_context
def command(
    context: Context,
    annotate: bool,
    message: tuple[str, ...],
    delete: bool,
    force: bool,
    pattern: str | None,
    count: int | None,
    arguments: tuple[str, ...],
) -> None:
    """List tags, or give HEAD or REV a name that stays where it is. With a message the tag is an
    object of its own, which says who made it, when and why.

    \b
    Example:
      treering tag before-migration
      treering tag -a v1.0 -m "as delivered"
      treering tag -n --list "v1.*"
    """
    if delete:
        _delete(context, arguments)
    elif arguments:
        if len(arguments) > 2 or pattern or count is not None:
            raise InvalidInput("tag takes a name and a revision")
        text = "\n\n".join(message) if annotate or message else None
        _make(context, arguments[0], (*arguments, "HEAD")[1], text, force)
    elif annotate or message:
        raise InvalidInput("an annotated tag needs a name", hint="treering tag -a NAME -m MESSAGE")
    else:
        _list(context, pattern or "*", count or 0)


def _make(context: Context, name: str, revision: str, message: str | None, force: bool) -> None:
    if message is None:
        make_ref(context, TAGS, name, revision, force=force)
    elif not message.strip():
        raise InvalidInput("an annotated tag needs a message", hint="give one with -m MESSAGE")
    else:
        make_tag(context, name, revision, message, force=force)


def _list(context: Context, pattern: str, count: int) -> None:
    found = _listed(context.repository.history, pattern)
    if context.json:
        say_json(list(map(_json, found)))
        return
    context.page()
    for item in found:
        if context.verbose:
            say(f"{item.name} {item.commit.short} {item.commit.title}")
        elif count:
            first, *others = item.lines[:count]
            say(f"{item.name:<15} {first}".rstrip())
            for line in others:
                say(f"    {line}".rstrip())
        else:
            say(item.name)


def _listed(history: History, pattern: str) -> Iterator[Listed]:
    held = history.refs(TAGS)
    for ref, commit_id in sorted(history.tips(TAGS).items()):
        name = ref.removeprefix(TAGS)
        if fnmatchcase(name, pattern):
            yield Listed(name, history.commit(commit_id), history.tag(held[ref]))


def _json(item: Listed) -> Json:
    found: Json = {"name": item.name, "commit": item.commit.id}
    if item.tag is not None:
        found["tag"] = tag_json(item.tag)
    return found


def _delete(context: Context, names: tuple[str, ...]) -> None:
    if not names:
        raise InvalidInput("which tag? see: treering tag --help")
    for name in names:
        target = existing(context, TAGS, name)
        move_refs(context, [RefUpdate(TAGS + name, target, None)], f"tag: deleted {name}")
        if not context.quiet and not context.json:
            say(f"Deleted tag {name} (was {target[:10]})")
