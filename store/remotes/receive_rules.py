"""Which moves of its refs a repository accepts: the rules of `receive.*` in its config.

`receive.denyNonFastForwards` (false) keeps branches from losing commits however they are pushed;
`receive.denyDeletes` (false) keeps refs from being deleted; `receive.denyCurrentBranch` (true)
keeps the branch that a work tree has checked out where it is. The branch of HEAD is never deleted.
Pure but for questions to the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import Corrupt, InvalidInput
from ..history import BRANCHES, History, RefUpdate
from ..repository import Repository
from .base import MAX_KEYS
from .checking import check_commit_ids, valid_ref
from .push_plan import Rejection, checked_out, moved, rejected_error, short, stays


class ReceiveRules(NamedTuple):
    """`head` is the full name of HEAD's branch; `checked_out` the same where pushes to it are
    refused."""

    head: str | None
    checked_out: str | None
    deny_non_fast_forwards: bool = False
    deny_deletes: bool = False


def receive_rules(repository: Repository, *, has_work_tree: bool) -> ReceiveRules:
    """The rules of a repository as they are now."""
    branch = repository.history.branch()
    head = None if branch is None else BRANCHES + branch
    config = repository.config
    guarded = has_work_tree and config.boolean("receive.denyCurrentBranch", True)
    return ReceiveRules(
        head,
        head if guarded else None,
        config.boolean("receive.denyNonFastForwards", False),
        config.boolean("receive.denyDeletes", False),
    )


def check_updates(history: History, updates: Sequence[RefUpdate], rules: ReceiveRules) -> None:
    """InvalidInput for what makes no sense, NotFound or Corrupt for what cannot be a ref's aim, and
    one Conflict that names every update that is refused."""
    names = [update.name for update in updates]
    if not updates or len(names) > MAX_KEYS or len(set(names)) != len(names):
        raise InvalidInput("finalize takes one update for each ref")
    for update in updates:
        _check_sense(history, update)
    refusals = [_refusal(history, update, rules) for update in updates]
    if rejected := [one for one in refusals if one is not None]:
        raise rejected_error(rejected)
    check_names(history.refs(), updates)


def _check_sense(history: History, update: RefUpdate) -> None:
    if not valid_ref(update.name):
        raise InvalidInput(f"not a branch or tag: {update.name[:80]!r}")
    check_commit_ids([found for found in (update.old, update.new) if found is not None])
    if update.old is None and update.new is None:
        raise InvalidInput(f"there is no {update.name} to delete")
    if update.new is None:
        return
    tip = history.peeled(update.new)
    if tip is None or (tip != update.new and update.name.startswith(BRANCHES)):
        history.commit(update.new)  # NotFound, or Corrupt, says why
        raise Corrupt(f"{update.name[:80]!r} cannot be put at {update.new[:10]}")
    history.commit(tip)


def _refusal(history: History, update: RefUpdate, rules: ReceiveRules) -> Rejection | None:
    name, old, new = update.name, update.old, update.new
    current = history.ref(name)
    if name == rules.checked_out and old != new:
        return checked_out(name)
    if current != old:
        return moved(name, current)
    if new is None:
        return _undeletable(name, rules)
    if old is None or old == new:
        return None
    refusal = stays(history, name, old, new)
    if refusal is not None and update.forced:
        denied = rules.deny_non_fast_forwards and name.startswith(BRANCHES)
        return Rejection(name, f"{short(name)} may only go forwards there") if denied else None
    return refusal


def _undeletable(name: str, rules: ReceiveRules) -> Rejection | None:
    if rules.deny_deletes:
        return Rejection(name, f"the remote lets nobody delete {short(name)}")
    if name == rules.head:
        return Rejection(name, f"{short(name)} is the branch that the remote's HEAD is on")
    return None


def check_names(refs: Mapping[str, str], updates: Iterable[RefUpdate]) -> None:
    """Conflict where a ref would be below another, as a/b and a: they are files and folders."""
    after = set(refs)
    for update in updates:
        if update.new is None:
            after.discard(update.name)
        else:
            after.add(update.name)
    for name in sorted(after):
        parts = name.split("/")
        for end in range(3, len(parts)):
            above = "/".join(parts[:end])
            if above in after:
                reason = f"{short(above)} and {short(name)} exclude each other"
                raise rejected_error([Rejection(name, reason)])
