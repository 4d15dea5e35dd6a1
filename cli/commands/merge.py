"""treering merge: bring another branch's changes into this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...store.errors import InvalidInput
from ..completion import offering, revisions
from ..context import Context, common_options, pass_context
from ..output import commit_json, say, say_json
from ..summary import message_of

if TYPE_CHECKING:
    from ...tracker.entry_merge import Side


@click.command("merge")
@click.option(
    "--regions", is_flag=True, help="Compose files of the regions that each side changed."
)
@click.option("--ours", is_flag=True, help="Take our version where both sides changed a path.")
@click.option("--theirs", is_flag=True, help="Take their version there.")
@click.option(
    "-m", "--message", metavar="MSG", multiple=True, help="The message; -m again: a paragraph."
)
@click.option("--no-ff", is_flag=True, help="Make a commit also where HEAD could move forwards.")
@click.option("--ff-only", is_flag=True, help="Only move HEAD forwards, or refuse.")
@click.option(
    "--allow-unrelated-histories", "unrelated", is_flag=True, help="Merge what shares no commit."
)
@click.option("--continue", "go_on", is_flag=True, help="Commit the merge that is under way.")
@click.option("--abort", is_flag=True, help="Give up the merge that is under way.")
@click.option("-f", "--force", is_flag=True, help="With --abort: give up changes made since, too.")
@click.argument("names", metavar="[REV | PATH...]", nargs=-1, shell_complete=offering(revisions))
@common_options
@pass_context
def command(
    context: Context,
    regions: bool,
    ours: bool,
    theirs: bool,
    message: tuple[str, ...],
    no_ff: bool,
    ff_only: bool,
    unrelated: bool,
    go_on: bool,
    abort: bool,
    force: bool,
    names: tuple[str, ...],
) -> None:
    """Merge REV into the current branch and its work tree.

    What only one side changed since their last common commit is taken, attributes one by one.
    A path that both sides changed is a conflict: our version stays, and theirs is put beside it as
    PATH~REV. Put what is right into PATH, delete PATH~REV, and --continue. With --regions, a file
    whose changed regions do not meet is no conflict. Where nothing is in dispute the merge is
    committed at once.

    While a merge is under way, --ours and --theirs settle conflicts (all, or those at PATHS) by
    taking one side, and --abort goes back. An interrupted merge is finished by --continue.

    \b
    Example:
      treering merge experiment
      treering merge --regions --theirs experiment
    """
    from ...tracker import merge_state

    if ours and theirs:
        raise InvalidInput("--ours and --theirs exclude each other")
    side: Side | None = "ours" if ours else "theirs" if theirs else None
    if sum((go_on, abort, no_ff, ff_only)) > 1:
        raise InvalidInput("--continue, --abort, --no-ff and --ff-only exclude each other")
    if force and not abort:
        raise InvalidInput("--force goes with --abort")
    context.work_tree()
    if (go_on or abort) and (names or side):
        raise InvalidInput("--continue and --abort stand alone")
    if go_on:
        _continue(context, message_of(message))
    elif abort:
        _abort(context, force)
    elif side and merge_state.pending(context.repository) is not None:
        _resolve(context, side, names)
    else:
        _merge(context, names, message_of(message), regions, side, unrelated, no_ff, ff_only)


def _merge(
    context: Context,
    names: tuple[str, ...],
    message: str,
    regions: bool,
    side: Side | None,
    unrelated: bool,
    no_ff: bool,
    ff_only: bool,
) -> None:
    from ..merging import Wish, done_json, finish, merge, refuse_unfinished, say_done

    if side or not names:
        refuse_unfinished(context)
    if len(names) != 1:
        raise InvalidInput(
            "which revision? one at a time" if not names else "one revision at a time",
            hint="see: treering merge --help",
        )
    forward = False if no_ff else True if ff_only else None
    done = merge(context, names[0], Wish(message, regions, side, forward, unrelated))
    if context.json:
        say_json(done_json(done))
    elif not context.quiet:
        say_done(context, done)
    finish(context, done.result, done.outcome)


def _resolve(context: Context, side: Side, names: tuple[str, ...]) -> None:
    from ...tracker.merge import resolve
    from ...tracker.scope import Scope
    from ..clashes import merging_json, say_merging
    from ..merging import finish

    top, scope = context.work_tree(), Scope(context.tree_paths(names))
    with context.progress() as progress:
        outcome = resolve(
            context.repository, top, scope, side, context.person(hint=False), progress=progress
        )
    if context.json:
        say_json(merging_json(outcome.merging, top))
    elif not context.quiet:
        say_merging(outcome.merging, top)
    finish(context, outcome.result, None)


def _continue(context: Context, message: str) -> None:
    from ...tracker.merge import finish_interrupted, under_way
    from ...tracker.snapshot import Request, commit
    from ..clashes import merging_json
    from ..merging import finish, say_outcome
    from ..summary import change_line, finish_report, say_commit

    top, person = context.work_tree(), context.person()
    with context.progress() as progress:
        outcome = finish_interrupted(context.repository, top, person, progress=progress)
    if outcome is not None and (outcome.commit is not None or outcome.merging.clashes):
        if context.json:
            made = outcome.commit
            say_json(commit_json(made) if made else merging_json(outcome.merging, top))
        elif not context.quiet:
            say_outcome(context, outcome)
        finish(context, outcome.result, outcome)
        return
    under_way(context.repository)
    with context.progress() as progress:
        done = commit(context.repository, top, Request(message, person, person), progress=progress)
    assert done.commit is not None
    if context.json:
        say_json(commit_json(done.commit))
    elif not context.quiet:
        say_commit(context, done.commit)
        say(f" {change_line(done.change)}")
    finish_report(context, done.report)


def _abort(context: Context, force: bool) -> None:
    from ...tracker.merge import abort
    from ..merging import finish, result_json
    from ..summary import say_moved

    with context.progress() as progress:
        result = abort(
            context.repository,
            context.work_tree(),
            context.person(hint=False),
            force=force,
            progress=progress,
        )
    if context.json:
        say_json(result_json(result))
    elif not context.quiet:
        say("The merge is given up")
        say_moved(result)
    finish(context, result, None)
