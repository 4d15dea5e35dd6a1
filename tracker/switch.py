"""A switch: the work tree moved to another commit, and then HEAD to its branch, or detached. A pull
is one to the same branch, which moves between the two.

One that was interrupted is finished by the same switch, and undone by one to where HEAD still is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..store.head import current, set_head
from ..store.history import Commit, Person
from ..store.progress import SILENT, Progress
from ..store.repository import Repository
from . import merge_state, move, restore_log
from .restore_plan import Result
from .snapshot import head_commit


class Goal(NamedTuple):
    """Where to: HEAD's new value (a full ref name, or a commit id to be detached at) and its
    commit. `again` and `back` are the arguments that finish and undo the move, whose name is
    `verb`; `rescue` says what to do about changes that would be lost."""

    head: str
    commit: Commit
    again: tuple[str, ...]
    back: tuple[str, ...]
    verb: str = "switch"
    rescue: str = "commit them, or give them up with --force"


def switch(
    repository: Repository,
    top: Path,
    goal: Goal,
    who: Person,
    *,
    force: bool = False,
    ready: Callable[[], None] = lambda: None,
    make_branch: Callable[[], None] = lambda: None,
    progress: Progress = SILENT,
) -> Result:
    """Move the work tree to the goal. `ready` runs under the lock and may refuse; `make_branch`
    when the tree is durable, before HEAD moves. Conflict when changes would be lost, or when
    another switch is not finished."""
    with repository.lock("commit", f"a {goal.verb}"):
        merge_state.clear(repository)
        ready()
        result = _resume(repository, top, goal, progress)
        if result is None:
            head = head_commit(repository)
            plan = restore_log.Move(
                goal.verb,
                head.root if head else b"",
                goal.commit.root,
                goal.head,
                goal.again,
                goal.back,
            )
            result = move.begin(
                repository,
                top,
                plan,
                goal.commit.id,
                force=force,
                rescue=goal.rescue,
                progress=progress,
            )
        make_branch()
        if current(repository.history) != goal.head:
            set_head(repository.history, goal.head, who)
        move.end(repository)
        return result


def empty(repository: Repository, top: Path, branch: str, who: Person) -> None:
    """Put HEAD on a branch (a full ref name) without commits, which leaves the work tree as it is;
    a switch away from there that was interrupted is undone."""
    with repository.lock("commit", "a switch"):
        merge_state.clear(repository)
        pending = restore_log.pending(repository)
        plan = pending.move if pending else None
        if plan is not None and _has_arrived(repository, plan):
            move.end(repository)
        elif plan is not None and not plan.base and branch == current(repository.history):
            move.again(repository, top, plan, back=True)
            move.end(repository)
        restore_log.refuse_if_pending(repository)
        set_head(repository.history, branch, who)


def _has_arrived(repository: Repository, plan: restore_log.Move) -> bool:
    """Whether nothing of a switch or pull is left to do but to delete its log: HEAD moves when the
    tree is durable. Of a merge HEAD does not tell, when it is given up."""
    head = head_commit(repository)
    there = plan.merging is None and current(repository.history) == plan.head
    return there and head is not None and head.root == plan.target


def _resume(repository: Repository, top: Path, goal: Goal, progress: Progress) -> Result | None:
    """Go on with a switch that was interrupted, or back; None when there is none."""
    pending = restore_log.pending(repository)
    if pending is None:
        return None
    plan = pending.move
    if plan is not None and _has_arrived(repository, plan):
        move.end(repository)
        return None
    if plan is not None and plan.head == goal.head and plan.target == goal.commit.root:
        return move.again(repository, top, plan, back=False, progress=progress)
    here = goal.head == current(repository.history)
    if plan is not None and here and plan.base == goal.commit.root:
        return move.again(repository, top, plan, back=True, progress=progress)
    restore_log.refuse_if_pending(repository)
    return None
