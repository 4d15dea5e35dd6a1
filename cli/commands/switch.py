"""treering switch: move the work tree to another branch."""

from __future__ import annotations

from typing import NamedTuple

import click

from ...store.errors import Conflict, InvalidInput, NotFound, TreeringError
from ...store.history import BRANCHES, REMOTES, TAGS, Commit, RefUpdate
from ..completion import offering, revisions
from ..context import Context, common_options, pass_context
from ..output import Json, say, say_json
from ..refs import check_name, move_refs
from ..sizes import count
from ..summary import finish_report, report_json, say_moved
from ..upstreams import Upstream, set_upstream


class _Wish(NamedTuple):
    """Where to go: HEAD's new value and its commit (None for a branch without one); `new`: the
    branch is to be made, and follows `upstream` if that is given."""

    head: str
    commit: Commit | None
    new: bool = False
    upstream: Upstream | None = None

    @property
    def name(self) -> str:
        return self.head.removeprefix(BRANCHES)


@click.command("switch")
@click.option("-c", "--create", metavar="NEW", help="Make the branch NEW, here or at REV.")
@click.option("--detach", is_flag=True, help="Go to a commit, on no branch.")
@click.option("-f", "--force", is_flag=True, help="Give up uncommitted changes in the way.")
@click.argument(
    "target",
    metavar="[BRANCH | REV | -]",
    required=False,
    shell_complete=offering(revisions),
)
@common_options
@pass_context
def command(
    context: Context, create: str | None, detach: bool, force: bool, target: str | None
) -> None:
    """Move the work tree, in place, to another branch.

    Only what differs is written. Uncommitted changes elsewhere are carried along; where they would
    be lost the command refuses, unless --force is given. Ignored files are never deleted. A lone
    dash is the branch before this one. A branch that only one remote has is made here, to follow
    it.

    \b
    Example:
      treering switch main
      treering switch -c another-way HEAD~1
      treering switch -
    """
    from ...store.head import current
    from ...tracker.switch import Goal, switch

    top = context.work_tree()
    history = context.repository.history
    wish = _wish(context, create, detach, target)
    if wish.commit is None:
        _to_unborn(context, wish)
        return
    before = current(history)
    again = _arguments(create, wish, target)
    goal = Goal(wish.head, wish.commit, again, _to_head(before))
    with context.progress() as progress:
        result = switch(
            context.repository,
            top,
            goal,
            context.person(hint=False),
            force=force,
            make_branch=lambda: _make_branch(context, wish),
            progress=progress,
        )
    if context.json:
        branch = wish.name if wish.head.startswith(BRANCHES) else None
        document: Json = {"branch": branch, "commit": wish.commit.id, "created": wish.new}
        document |= {"files": result.files, "bytes": result.size, "deleted": result.deleted}
        say_json({**document, **report_json(result.report)})
    elif not context.quiet:
        _say(wish, wish.commit, before)
        say_moved(result)
    if result.unowned:
        context.notice(f"the owners of {count(result.unowned, 'file')} could not be set")
    finish_report(context, result.report)


def _say(wish: _Wish, commit: Commit, before: str) -> None:
    if not wish.head.startswith(BRANCHES):
        say(f"HEAD is now at {commit.short} {commit.title}")
    elif wish.new:
        follows = f", which follows {wish.upstream.name}" if wish.upstream else ""
        say(f"Switched to a new branch '{wish.name}'{follows}")
    elif before == wish.head:
        say(f"Already on '{wish.name}'")
    else:
        say(f"Switched to branch '{wish.name}'")


def _to_head(head: str) -> tuple[str, ...]:
    """The arguments that go to where HEAD is."""
    if head.startswith(BRANCHES):
        return "switch", head.removeprefix(BRANCHES)
    return "switch", "--detach", head[:10]


def _arguments(create: str | None, wish: _Wish, target: str | None) -> tuple[str, ...]:
    if create is not None and wish.commit is not None:
        return "switch", "-c", create, wish.commit.short
    return ("switch", target) if wish.new and target else _to_head(wish.head)


def _wish(context: Context, create: str | None, detach: bool, target: str | None) -> _Wish:
    history = context.repository.history
    if target is not None and (target == "-" or target.startswith("@{-")):
        target = _before(context, target)
        if create is None and history.ref(BRANCHES + target) is None:
            detach = True
    if create is not None:
        if detach:
            raise InvalidInput("-c and --detach exclude each other")
        return _new(context, create, target)
    if detach:
        commit = context.commit(target or "HEAD")
        return _Wish(commit.id, commit)
    if target is None:
        raise InvalidInput("to which branch? see: treering switch --help")
    found = history.ref(BRANCHES + target)
    if found is not None:
        return _Wish(BRANCHES + target, history.commit(found))
    if target == history.branch():
        return _Wish(BRANCHES + target, None)
    return _from_remote(context, target)


def _before(context: Context, target: str) -> str:
    from ...store.head import previous

    steps = "1" if target == "-" else target[3:-1]
    if not steps.isdecimal():
        raise InvalidInput(f"'{target}' should be @{{-N}}")
    return previous(context.repository, int(steps))


def _new(context: Context, name: str, revision: str | None) -> _Wish:
    check_name(name, "branch")
    history = context.repository.history
    there = history.ref(BRANCHES + name)
    if history.head() is None and revision is None:
        return _Wish(BRANCHES + name, None, new=True)
    commit = context.commit(revision or "HEAD")
    if there is not None and not (there == commit.id and _is_pending(context, name)):
        raise Conflict(
            f"a branch named '{name}' exists already", hint=f"go to it with: treering switch {name}"
        )
    return _Wish(BRANCHES + name, commit, new=True)


def _is_pending(context: Context, name: str) -> bool:
    """Whether a switch that was to make this branch was interrupted."""
    from ...tracker import restore_log

    pending = restore_log.pending(context.repository)
    return bool(pending and pending.move and pending.move.head == BRANCHES + name)


def _from_remote(context: Context, name: str) -> _Wish:
    """A branch that only one remote has."""
    history = context.repository.history
    refs = history.refs(REMOTES)
    remotes = [
        remote
        for remote in context.repository.config.subsections("remote")
        if f"{REMOTES}{remote}/{name}" in refs
    ]
    if len(remotes) == 1:
        upstream = Upstream(remotes[0], BRANCHES + name)
        commit = history.commit(refs[upstream.tracking])
        return _Wish(BRANCHES + name, commit, new=True, upstream=upstream)
    if remotes:
        raise InvalidInput(
            f"several remotes have a branch '{name}': {', '.join(remotes)}",
            hint=f"treering switch -c {name} {remotes[0]}/{name} takes that of {remotes[0]}",
        )
    raise _no_branch(context, name)


def _no_branch(context: Context, name: str) -> TreeringError:
    try:
        context.commit(name)
    except (NotFound, InvalidInput) as error:
        if "ambiguous" in error.message:
            return error
        hint = f"see: treering branch -a; make it with: treering switch -c {name}"
        return NotFound(f"there is no branch '{name}'", hint=hint)
    tag = context.repository.history.ref(TAGS + name)
    what = "a tag" if tag is not None else "a commit"
    return InvalidInput(
        f"'{name}' is {what}, not a branch",
        hint=f"treering switch --detach {name} goes there on no branch",
    )


def _make_branch(context: Context, wish: _Wish) -> None:
    repository, commit = context.repository, wish.commit
    assert commit is not None
    if not wish.new:
        return
    if wish.upstream is not None:
        set_upstream(repository, wish.name, wish.upstream)
    if repository.history.ref(wish.head) is None:
        source = wish.upstream.name if wish.upstream else commit.short
        move_refs(
            context, [RefUpdate(wish.head, None, commit.id)], f"branch: created from {source}"
        )


def _to_unborn(context: Context, wish: _Wish) -> None:
    """A branch without commits: there is nothing to move."""
    from ...tracker.switch import empty

    empty(context.repository, context.work_tree(), wish.head, context.person(hint=False))
    if context.json:
        say_json({"branch": wish.name, "commit": None, "created": wish.new})
    elif not context.quiet:
        say(f"On branch '{wish.name}', which has no commits yet")
