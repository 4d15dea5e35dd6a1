"""treering commit: record the work tree as a snapshot."""

from __future__ import annotations

import re

import click

from ...store.errors import InvalidInput
from ...store.history import Person
from ..context import Context, common_options, pass_context
from ..output import commit_json, say, say_json
from ..sizes import format_seconds
from ..summary import change_line, finish_report, message_of, report_json, say_commit


@click.command("commit")
@click.option(
    "-m", "--message", metavar="MSG", multiple=True, help="The message; -m again: a paragraph."
)
@click.option("--allow-empty", is_flag=True, help="Commit even when nothing has changed.")
@click.option("--author", metavar="A", help="Whose work it is: 'Name <email>'.")
@click.option("--push", "push_after", is_flag=True, help="Push to the upstream afterwards.")
@click.option(
    "--wait",
    metavar="SECONDS",
    type=float,
    default=60.0,
    show_default=True,
    help="How long to wait for another commit.",
)
@click.argument("paths", nargs=-1)
@common_options
@pass_context
def command(
    context: Context,
    message: tuple[str, ...],
    allow_empty: bool,
    author: str | None,
    push_after: bool,
    wait: float,
    paths: tuple[str, ...],
) -> None:
    """Record the work tree, or only PATHS of it, as a snapshot.

    There is no staging area: a commit takes everything that .treeringignore does not exclude. While
    a merge is under way it is the merge's.

    \b
    Example:
      treering commit -m "before the upgrade"
    """
    from ...tracker.scope import Scope
    from ...tracker.snapshot import Request, commit
    from ...tracker.sockets import unsaid

    context.lock_wait = wait
    top = context.work_tree()
    committer = context.person()
    writer = _author(author, committer) if author else committer
    scope = Scope(context.tree_paths(paths))
    request = Request(message_of(message), writer, committer, scope, allow_empty)
    with context.progress() as progress:
        outcome = commit(context.repository, top, request, progress=progress)
    made = outcome.commit
    if context.json:
        document = {
            "committed": made is not None,
            "root": outcome.root.hex(),
            "seconds": round(outcome.seconds, 3),
            "pause_seconds": None if outcome.pause is None else round(outcome.pause, 6),
            **report_json(outcome.report),
        }
        say_json({**document, **(commit_json(made) if made else {})})
    elif made is None:
        say("nothing to commit, work tree clean")
    elif not context.quiet:
        say_commit(context, made)
        say(f" {change_line(outcome.change)} in {format_seconds(outcome.seconds)}")
    heard = not context.json and not context.quiet
    new = unsaid(context.repository.catalog, outcome.report, whole=scope.whole) if heard else 0
    finish_report(context, outcome.report, new)
    if push_after:
        from ..pushing import PushRequest, push_refs

        push_refs(context, PushRequest())


def _author(text: str, committer: Person) -> Person:
    found = re.fullmatch(r"\s*(.*?)\s*<([^<>]*)>\s*", text)
    if not found or not found[1]:
        raise InvalidInput(f"--author '{text}' should be 'Name <email>'")
    return committer._replace(name=found[1], email=found[2])
