"""What a fetch would do to the refs here: the moves, and what is refused and why.

In two steps, because whether a branch goes forwards is known only when its new commits are here:
`plan_fetch` before anything travels, `settle` after. What is refused stays where it is, and the
rest moves, as in Git. Pure but for questions to the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import InvalidInput, NotFound
from ..history import REMOTES, TAGS, History, RefUpdate, valid_branch
from .push_plan import Rejection, short
from .refspecs import check_distinct


class FetchUpdate(NamedTuple):
    """Bring the remote's ref `source` here and move the ref `target` to it (full names).
    Remote-tracking branches go where the remote's are; others need `force` to lose anything."""

    source: str
    target: str
    force: bool = False


class FetchPlan(NamedTuple):
    """`free` are the targets that may lose what they have."""

    moves: tuple[RefUpdate, ...]
    rejected: tuple[Rejection, ...]
    free: frozenset[str]


def plan_fetch(
    history: History,
    refs: Mapping[str, str],
    updates: Sequence[FetchUpdate],
    *,
    prune: str | None = None,
    checked_out: str | None = None,
) -> FetchPlan:
    """Compare updates with where the refs are here. `prune` is the prefix below which refs that no
    update moves are deleted; `checked_out` is not moved. NotFound for what the remote lacks."""
    check_distinct([update.target for update in updates])
    moves, rejected = _gone(history, updates, prune), []
    for update in updates:
        new = _source(refs, update)
        old = history.ref(update.target)
        if old == new:
            continue
        if update.target == checked_out:
            rejected.append(Rejection(update.target, f"{short(checked_out)} is checked out here"))
        elif old is not None and update.target.startswith(TAGS) and not update.force:
            reason = f"{short(update.target)} would clobber existing tag"
            rejected.append(Rejection(update.target, reason, "--force moves it"))
        else:
            moves.append(RefUpdate(update.target, old, new))
    free = [one.target for one in updates if one.force or one.target.startswith(REMOTES)]
    return FetchPlan(tuple(moves), tuple(rejected), frozenset(free))


def _gone(history: History, updates: Iterable[FetchUpdate], prune: str | None) -> list[RefUpdate]:
    if prune is None:
        return []
    kept = {update.target for update in updates}
    there = history.refs(prune)
    return [RefUpdate(name, old, None) for name, old in there.items() if name not in kept]


def _source(refs: Mapping[str, str], update: FetchUpdate) -> str:
    if not update.target.startswith("refs/") or not valid_branch(
        update.target.removeprefix("refs/")
    ):
        raise InvalidInput(f"not a ref name: {update.target[:80]!r}")
    if update.source not in refs:
        raise NotFound(f"the remote has no {short(update.source)}")
    return refs[update.source]


def settle(history: History, plan: FetchPlan) -> FetchPlan:
    """The plan once the commits are here: moves that lose something are known as forced, or
    refused."""
    moves, rejected = [], list(plan.rejected)
    for move in plan.moves:
        if not _loses(history, move):
            moves.append(move)
        elif move.name in plan.free:
            moves.append(move._replace(forced=True))
        else:
            reason = f"{short(move.name)} would lose commits that it has here"
            rejected.append(Rejection(move.name, reason, f"see: treering log {short(move.name)}"))
    return FetchPlan(tuple(moves), tuple(rejected), plan.free)


def _loses(history: History, move: RefUpdate) -> bool:
    if move.old is None or move.new is None:
        return False
    if move.name.startswith(TAGS):
        return True
    return not history.is_ancestor(move.old, move.new)
