"""treering diff: what differs between two commits, or between one and the work tree."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from ...store.errors import InvalidInput
from ..arguments import PathsCommand, revisions_and_paths
from ..changes import Style, changes_json, say_changes, style_options
from ..completion import offering, revisions
from ..context import Context, common_options, pass_context
from ..object_names import place_of, tree_of
from ..output import say_json
from ..ranges import compared
from ..summary import finish_report, report_json

if TYPE_CHECKING:
    from ...store.nodes import Entry


@click.command("diff", cls=PathsCommand)
@style_options
@click.argument(
    "arguments",
    nargs=-1,
    metavar="[A [B] | A..B | A...B] [-- PATH...]",
    shell_complete=offering(revisions),
)
@common_options
@pass_context
def command(
    context: Context, arguments: tuple[str, ...], stat: bool, names: bool, regions: bool
) -> None:
    """Show what differs between the last commit and the work tree, between commit A and the work
    tree, or between commits A and B. A...B is what B changed since the two parted. A and B may also
    be root:HEX, and, where there are both, folders: REV:PATH or node:HEX.

    Texts are shown line by line, of anything else the byte ranges. Files that are equal are not
    read.

    \b
    Example:
      treering diff --stat HEAD~1 HEAD -- photos
    """
    revisions, texts = revisions_and_paths(context, arguments, lambda text: place_of(context, text))
    tops = _tops(context, revisions)
    paths = context.history_paths(tuple(texts)) if texts else []
    style = Style(stat, names, regions)
    if len(tops) == 2:
        from ...tracker.diff import file_changes

        changes = file_changes(context.repository.store, tops[0], tops[1], paths)
        if context.json:
            say_json({"changes": changes_json(context.repository, changes)})
        else:
            context.page()
            say_changes(context.repository, changes, style)
        return
    _with_work_tree(context, tops[0] if tops else None, paths, style)


def _tops(context: Context, revisions: list[str]) -> list[Entry]:
    """The folders to compare; one alone is compared with the work tree."""
    if len(revisions) == 1:
        revisions = compared(context.repository.history, revisions[0])
    if len(revisions) > 2:
        raise InvalidInput("diff takes one commit, or two", hint="see: treering diff --help")
    if len(revisions) == 1:
        return [tree_of(context, revisions[0]).top]
    return [_folder(context, text) for text in revisions]


def _folder(context: Context, text: str) -> Entry:
    entry = place_of(context, text).entry
    if not entry.is_folder:
        raise InvalidInput(
            f"'{text}' is not a folder", hint="of a file: treering diff REV REV -- PATH"
        )
    return entry


def _with_work_tree(context: Context, base: Entry | None, paths: list[bytes], style: Style) -> None:
    from ...tracker.live_diff import LiveDiff
    from ...tracker.snapshot import head_commit, top_entry

    top = context.work_tree()
    repository = context.repository
    with context.progress() as progress:
        progress.begin("comparing")
        base = base or top_entry(repository, head_commit(repository))
        live = LiveDiff(repository, top, base, progress)
        changes = live.changes(paths)
    with closing(live.source):
        if context.json:
            found = changes_json(repository, changes, live.source)
            say_json({"changes": found, **report_json(live.report)})
        else:
            context.page()
            say_changes(repository, changes, style, live.source)
    finish_report(context, live.report)
