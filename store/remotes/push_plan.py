"""What a push would do to the refs of a remote: the moves, and what is refused and why.

Pure but for questions to the history: nothing is sent and nothing moves. A push is all or nothing,
so a plan with a refusal is not applied; the remote checks every rule again when it finalizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ..errors import Conflict, InvalidInput
from ..history import BRANCHES, TAGS, History, RefUpdate
from .base import Description
from .checking import valid_ref
from .refspecs import check_distinct

FETCH_HINT: Final = "see what it has with: treering fetch"


class Lease(NamedTuple):
    """A move is right only if the remote's ref is at `expected` now; None: if there is none."""

    expected: str | None


class PushUpdate(NamedTuple):
    """Bring the local commit or annotated tag `commit` to the remote's ref `ref` (a full name), or
    delete that for None. With `force` or a `lease` the ref may lose what it had."""

    commit: str | None
    ref: str
    force: bool = False
    lease: Lease | None = None


class Rejection(NamedTuple):
    """A ref that may not be moved; `reason` is what follows "rejected: "."""

    ref: str
    reason: str
    hint: str | None = None


class PushPlan(NamedTuple):
    """`moves` to make; `current` are the updates that have been made already."""

    moves: tuple[RefUpdate, ...]
    current: tuple[PushUpdate, ...]
    rejected: tuple[Rejection, ...]


def plan_push(
    history: History,
    refs: Mapping[str, str],
    updates: Sequence[PushUpdate],
    description: Description,
) -> PushPlan:
    """Compare updates with where the remote's refs are. InvalidInput or NotFound for updates that
    make no sense wherever those are."""
    check_distinct([update.ref for update in updates])
    moves, current, rejected = [], [], []
    for update in updates:
        _check(history, update)
        old = refs.get(update.ref)
        refusal = _refusal(history, old, update, description)
        if refusal is not None:
            rejected.append(refusal)
        elif old == update.commit:
            current.append(update)
        else:
            moves.append(RefUpdate(update.ref, old, update.commit, _loses(history, old, update)))
    return PushPlan(tuple(moves), tuple(current), tuple(rejected))


def _loses(history: History, old: str | None, update: PushUpdate) -> bool:
    """Whether a move that is allowed needs to be asked for as forced."""
    if old is None or update.commit is None:
        return False
    return stays(history, update.ref, old, update.commit) is not None


def _check(history: History, update: PushUpdate) -> None:
    if not valid_ref(update.ref):
        raise InvalidInput(f"not a branch or tag: {update.ref[:80]!r}")
    if update.commit is None:
        return
    tip = history.peeled(update.commit)
    if tip is None:
        raise InvalidInput(f"{short(update.ref)}: {update.commit[:10]} leads to no commit")
    if update.ref.startswith(BRANCHES) and tip != update.commit:
        raise InvalidInput(f"the branch {short(update.ref)} cannot be put at a tag")


def _refusal(
    history: History, old: str | None, update: PushUpdate, description: Description
) -> Rejection | None:
    ref, new = update.ref, update.commit
    if update.lease is not None and update.lease.expected != old:
        return moved(ref, old)
    if new is None and old is None:
        return Rejection(ref, f"there is no {short(ref)} to delete")
    if new == old:
        return None
    if ref == description.checked_out:
        return checked_out(ref)
    if new is None or old is None or update.force or update.lease is not None:
        return None
    refusal = stays(history, ref, old, new)
    if refusal is not None and ref.startswith(BRANCHES) and history.has(old):
        reason = f"{short(ref)} would lose commits that it has there, up to {old[:10]}"
        return Rejection(ref, reason, "push them too, or give them up with --force-with-lease")
    return refusal


def stays(history: History, ref: str, old: str, new: str) -> Rejection | None:
    """Why a ref may not go from `old` to `new` without force, if so."""
    if ref.startswith(TAGS):
        return Rejection(ref, f"tag {short(ref)} exists already", "--force moves it")
    return None if history.is_ancestor(old, new) else moved(ref, old)


def moved(ref: str, current: str | None) -> Rejection:
    """The ref has commits which the sender does not."""
    where = current[:10] if current else "nothing"
    return Rejection(ref, f"{short(ref)} moved to {where}; fetch first", FETCH_HINT)


def checked_out(ref: str) -> Rejection:
    return Rejection(
        ref,
        f"{short(ref)} is checked out in the remote's work tree",
        "push to another branch or to a bare repository, or pull from there",
    )


def rejected_error(rejected: Sequence[Rejection]) -> Conflict:
    """One error for all refusals: nothing was moved."""
    reasons = ", ".join(one.reason for one in rejected)
    return Conflict(f"rejected: {reasons}", hint=rejected[0].hint)


def short(ref: str) -> str:
    """A branch or tag as people call it."""
    return ref.removeprefix(BRANCHES).removeprefix(TAGS)
