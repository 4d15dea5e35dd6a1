"""treering commit: record the work tree as a snapshot."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from ...store.errors import InvalidInput
from ...store.history import Person
from ..context import Context, common_options, pass_context
from ..output import Json, commit_json, say, say_json
from ..sizes import format_seconds
from ..summary import change_line, finish_report, message_of, report_json, say_commit

if TYPE_CHECKING:
    from ...store.packfile import PackInfo
    from ...tracker.snapshot import Outcome, Request


@click.command("commit")
@click.option(
    "-m", "--message", metavar="MSG", multiple=True, help="The message; -m again: a paragraph."
)
@click.option("--allow-empty", is_flag=True, help="Commit even when nothing has changed.")
@click.option("--author", metavar="A", help="Whose work it is: 'Name <email>'.")
@click.option(
    "--push",
    "push_after",
    is_flag=True,
    help="Push to the upstream: send what is stored at once, and finish it afterwards.",
)
@click.option(
    "--wait",
    metavar="SECONDS",
    type=float,
    default=60.0,
    show_default=True,
    help="How long to wait for another commit.",
)
@click.option(
    "--with",
    "others",
    metavar="DIR",
    multiple=True,
    help="Commit this attached tree too, as it is at the same instant: all of them, or none.",
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
    others: tuple[str, ...],
    paths: tuple[str, ...],
) -> None:
    """Record the work tree, or only PATHS of it, as a snapshot.

    There is no staging area: a commit takes everything that .treeringignore does not exclude. While
    a merge is under way it is the merge's. Of an attached tree it is one instant, while programs go
    on; of several with --with.

    \b
    Example:
      treering commit -m "before the upgrade"
    """
    from ...tracker.scope import Scope
    from ...tracker.snapshot import Request, commit

    context.lock_wait = wait
    top = context.work_tree()
    committer = context.person()
    writer = _author(author, committer) if author else committer
    scope = Scope(context.tree_paths(paths))
    request = Request(message_of(message), writer, committer, scope, allow_empty)
    if others:
        if paths or push_after:
            what = "paths" if paths else "--push"
            raise InvalidInput(f"--with commits whole trees, and only that: leave {what} away")
        _commit_all(context, others, request)
        return
    with ExitStack() as stack:
        ahead = None
        if push_after:
            from ..pushing import sending_ahead

            ahead = stack.enter_context(sending_ahead(context))
        on_pack = ahead.offer if ahead is not None else _ignore
        progress = stack.enter_context(context.progress())
        outcome = commit(context.repository, top, request, progress=progress, on_pack=on_pack)
    if context.json:
        say_json(_document(outcome))
    _say(context, outcome, whole=scope.whole)
    if push_after:
        from ..pushing import PushRequest, push_refs

        push_refs(context, PushRequest(), ahead)


def _ignore(_pack: PackInfo) -> None:
    pass


def _commit_all(context: Context, others: tuple[str, ...], request: Request) -> None:
    """The tree that we are in and others."""
    from ...tracker.snapshot import Place, commit_together
    from ...tracker.work_tree import discover

    with ExitStack() as stack:
        contexts = [context]
        for folder in others:
            found = discover(context.start / folder)
            other = Context(**{**vars(context), "_repository": None, "top": None})
            other.use(found.repository, found.top)
            stack.callback(other.close)
            contexts.append(other)
        if len({each.work_tree() for each in contexts}) < len(contexts):
            raise InvalidInput("--with names a tree twice")
        places = [Place(each.repository, each.work_tree()) for each in contexts]
        with context.progress() as progress:
            outcomes = commit_together(places, request, progress=progress)
        documents = []
        for each, outcome in zip(contexts, outcomes, strict=True):
            documents.append({"tree": str(each.work_tree()), **_document(outcome)})
            if not (context.json or context.quiet):
                say(f"{each.work_tree()}:")
            _say(each, outcome, whole=True)
            context.exit_code = context.exit_code or each.exit_code
        if context.json:
            say_json(documents)


def _document(outcome: Outcome) -> Json:
    made = outcome.commit
    document = {
        "committed": made is not None,
        "root": outcome.root.hex(),
        "seconds": round(outcome.seconds, 3),
        "pause_seconds": None if outcome.pause is None else round(outcome.pause, 6),
        **report_json(outcome.report),
    }
    return {**document, **(commit_json(made) if made else {})}


def _say(context: Context, outcome: Outcome, *, whole: bool) -> None:
    from ...tracker.sockets import unsaid

    made = outcome.commit
    if made is None and not context.json:
        say("nothing to commit, work tree clean")
    elif made is not None and not (context.json or context.quiet):
        say_commit(context, made)
        say(f" {change_line(outcome.change)} in {format_seconds(outcome.seconds)}")
    heard = not context.json and not context.quiet
    new = unsaid(context.repository.catalog, outcome.report, whole=whole) if heard else 0
    finish_report(context, outcome.report, new)


def _author(text: str, committer: Person) -> Person:
    found = re.fullmatch(r"\s*(.*?)\s*<([^<>]*)>\s*", text)
    if not found or not found[1]:
        raise InvalidInput(f"--author '{text}' should be 'Name <email>'")
    return committer._replace(name=found[1], email=found[2])
