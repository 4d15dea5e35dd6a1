"""treering restore: bring files back from a commit."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ...store.errors import InvalidInput
from ..completion import files, offering, revisions
from ..context import Context, common_options, pass_context
from ..object_names import tree_of
from ..output import Json, path_json, say, say_json, show_path, tell
from ..sizes import count, format_size
from ..summary import finish_report, report_json


@click.command("restore")
@click.option(
    "--source",
    "revision",
    metavar="REV",
    default="HEAD",
    show_default=True,
    shell_complete=offering(revisions),
)
@click.option("--target", metavar="DIR", help="Restore into DIR instead of the work tree.")
@click.option("--delete", is_flag=True, help="Delete what is not in the commit.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--force", is_flag=True, help="Overwrite uncommitted changes.")
@click.option("--no-sparse", is_flag=True, help="Write all-zero blocks instead of leaving holes.")
@click.option("-z", "zero", is_flag=True, help="Do not quote names.")
@click.argument("paths", nargs=-1, shell_complete=offering(files))
@common_options
@pass_context
def command(
    context: Context,
    revision: str,
    target: str | None,
    delete: bool,
    dry_run: bool,
    force: bool,
    no_sparse: bool,
    zero: bool,
    paths: tuple[str, ...],
) -> None:
    """Bring the work tree, or PATHS of it, back to a commit, or to the root that root:HEX names by
    7 or more digits of its id.

    Only what differs is written, in place. With PATHS what is there is overwritten; without, the
    command refuses to lose uncommitted changes unless --force is given. Ignored files are never
    deleted.

    \b
    Example:
      treering restore --source HEAD~1 notes.txt
      treering restore --source main~5 --target ../old
    """
    from ...store.trees import short_name
    from ...tracker.restore import restore_elsewhere, restore_in_place
    from ...tracker.restore_plan import Action, Options
    from ...tracker.scope import Scope

    tree = tree_of(context, revision)
    actions: list[Action] = []

    def on_action(action: Action) -> None:
        if context.json:
            if dry_run or context.verbose:
                actions.append(action)
        elif dry_run or context.verbose:
            say(f"{action.what:<9} {show_path(action.path, zero)}")

    scope = Scope(_paths(context, paths, target))
    options = Options(delete=delete, dry_run=dry_run, sparse=not no_sparse, scope=scope)
    with context.progress() as progress:
        if target is not None:
            where = Path(os.path.normpath(context.start / target))
            result = restore_elsewhere(
                context.repository, where, tree, options, progress=progress, on_action=on_action
            )
        else:
            result = restore_in_place(
                context.repository,
                context.work_tree(),
                tree,
                options,
                force=force,
                progress=progress,
                on_action=on_action,
            )
    if context.json:
        found: Json = {
            "source": tree.name,
            "commit": tree.commit,
            "dry_run": dry_run,
            "files": result.files,
        }
        found |= {"bytes": result.size, "deleted": result.deleted, **report_json(result.report)}
        found["half_restored"] = [path_json(path) for path in result.half]
        if dry_run or context.verbose:
            found["actions"] = [{"what": item.what, **path_json(item.path)} for item in actions]
        say_json(found)
    elif not dry_run and not context.quiet:
        gone = f", {count(result.deleted, 'name')} deleted" if result.deleted else ""
        say(
            f"Restored {count(result.files, 'file')} from {short_name(tree.name)}:"
            f" {format_size(result.size)} written{gone}"
        )
    if result.unowned:
        context.notice(f"the owners of {count(result.unowned, 'file')} could not be set")
    finish_report(context, result.report)
    if result.half_count and target is None and not context.json:
        tell(f"treering: {count(result.half_count, 'path')} half restored: commits are refused")
        tell("hint: run the same restore again; treering status shows what is left")


def _paths(context: Context, paths: tuple[str, ...], target: str | None) -> list[bytes]:
    """Paths from the top. Into another folder they are relative to the top of the commit, since
    there may be no work tree."""
    context.repository  # noqa: B018 - finds out whether there is a work tree
    if context.top is not None:
        return context.tree_paths(paths)
    if target is None and paths:
        raise InvalidInput("a bare repository needs --target DIR")
    return [os.fsencode(path.strip("/")) for path in paths]
