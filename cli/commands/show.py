"""treering show: a commit and what it changed, or a file or folder of one."""

from __future__ import annotations

import click

from ..changes import Style, changes_json, changes_of, say_changes, style_options
from ..commit_text import decorations, full, full_tag, tag_json
from ..completion import offering, revisions
from ..context import Context, common_options, pass_context
from ..object_names import place_of
from ..output import commit_json, say, say_json
from ..ranges import split_path
from . import cat, ls


@click.command("show")
@click.argument(
    "what", metavar="[REV | REV:PATH]", default="HEAD", shell_complete=offering(revisions)
)
@style_options
@common_options
@pass_context
@click.pass_context
def command(
    ctx: click.Context, context: Context, what: str, stat: bool, names: bool, regions: bool
) -> None:
    """Show a commit: who, when, why, and what it changed against its first parent; of an annotated
    tag its message first.

    With REV:PATH, print a file or list a folder as it was.

    \b
    Example:
      treering show --stat HEAD
    """
    if split_path(what)[1] is not None:
        _show_path(ctx, context, what)
        return
    repository = context.repository
    commit = context.commit(what)
    tag = repository.history.named_tag(what)
    changes = changes_of(repository, commit)
    if context.json:
        found = {"tag": {"name": tag.name, **tag_json(tag)}} if tag is not None else {}
        say_json({**found, **commit_json(commit), "changes": changes_json(repository, changes)})
        return
    context.page()
    for line in full_tag(tag) if tag is not None else ():
        say(line)
    for line in full(commit, decorations(repository.history).get(commit.id, "")):
        say(line)
    if changes:
        say()
        say_changes(repository, changes, Style(stat, names, regions))


def _show_path(ctx: click.Context, context: Context, what: str) -> None:
    if place_of(context, what).entry.is_folder:
        ctx.invoke(ls.command, revision=what)
    else:
        ctx.invoke(cat.command, what=what, offset="0", length=None)
