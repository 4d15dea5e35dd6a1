"""A fast-forward: the current branch, or detached HEAD, and its work tree brought to a descendant.

It is a switch to where HEAD is: the branch moves between tree and HEAD, by compare-and-swap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..store.errors import Conflict
from ..store.head import current
from ..store.history import BRANCHES, Commit, RefUpdate
from ..tracker.restore_plan import Result
from ..tracker.switch import Goal, switch
from .context import Context
from .refs import move_refs


class Forward(NamedTuple):
    """From commit `old` (None: none yet) to `commit`. `again` are the arguments that finish it when
    it was interrupted, `verb` names it, and so does the line in the reflog."""

    old: str | None
    commit: Commit
    again: tuple[str, ...]
    verb: str


def forward(context: Context, step: Forward, ready: Callable[[], None] = lambda: None) -> Result:
    """Do it, or finish it. `ready` runs under the lock and may refuse. Conflict when HEAD has
    moved, or when uncommitted changes are in the way."""
    history = context.repository.history
    head, old, commit = current(history), step.old, step.commit
    branch = head if head.startswith(BRANCHES) else None
    undo = ", or undo them with: treering restore PATH" if old is not None else ""
    back = ("switch", head.removeprefix(BRANCHES)) if branch else ("switch", "--detach", head[:10])
    goal = Goal(branch or commit.id, commit, step.again, back, step.verb, f"move them away{undo}")

    def check() -> None:
        ready()
        if current(history) != head or history.head() != old:
            raise Conflict("HEAD has moved meanwhile", hint=f"run the {step.verb} again")

    def advance() -> None:
        if branch and old != commit.id:
            move_refs(context, [RefUpdate(branch, old, commit.id)], f"{step.verb}: fast-forward")

    with context.progress() as progress:
        return switch(
            context.repository,
            context.work_tree(),
            goal,
            context.person(hint=False),
            ready=check,
            make_branch=advance,
            progress=progress,
        )


def forward_line(context: Context, old: str | None, new: Commit) -> str:
    """Fast-forward of 'main': 0123456789..9876543210 title"""
    branch = context.repository.history.branch()
    what = f"'{branch}'" if branch else "HEAD"
    before = f"{old[:10]}.." if old else ""
    return f"Fast-forward of {what}: {before}{new.short} {new.title}"
