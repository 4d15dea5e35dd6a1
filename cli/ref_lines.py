"""What push and fetch print of refs: one line for each that moved, and one JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..store.history import BRANCHES, REMOTES, TAGS, RefUpdate
from ..store.remotes.push_plan import Rejection
from .context import Context
from .output import Json, say, say_json
from .sizes import count, format_size

if TYPE_CHECKING:
    from ..store.remotes.transfer import FetchResult, PushResult


def short(ref: str) -> str:
    """A branch, tag or remote-tracking branch as people call it."""
    for prefix in (BRANCHES, TAGS, REMOTES):
        if ref.startswith(prefix):
            return ref.removeprefix(prefix)
    return ref


def move_line(move: RefUpdate) -> str:
    """How a ref moved: new, forwards, forced or deleted."""
    name = short(move.name)
    old, new = (move.old or "")[:10], (move.new or "")[:10]
    if move.new is None:
        return f" - {old}  {name} (deleted)"
    if move.old is None:
        return f"   new {new}  {name}"
    if move.forced:
        return f" + {old}...{new}  {name} (forced update)"
    return f"   {old}..{new}  {name}"


def amount(result: PushResult | FetchResult) -> str:
    return f"{count(result.objects, 'object')}, {format_size(result.bytes)}"


def say_transfer(
    context: Context, result: PushResult | FetchResult, moved: str, nothing: str
) -> None:
    """Say `moved` and which refs, or `nothing` where none moved."""
    if not result.moved:
        say(nothing)
    elif not context.quiet:
        say(moved)
        for move in result.moved:
            say(move_line(move))


def transfer_json(
    name: str,
    result: PushResult | FetchResult,
    *,
    dry_run: bool,
    rejected: Sequence[Rejection] = (),
) -> Json:
    return {
        "remote": name,
        "dry_run": dry_run,
        "commits": result.commits,
        "objects": result.objects,
        "bytes": result.bytes,
        "moved": [move._asdict() for move in result.moved],
        "rejected": [{"ref": one.ref, "reason": one.reason} for one in rejected],
    }


def say_documents(documents: list[Json]) -> None:
    """One document; a list where several remotes were asked for."""
    say_json(documents[0] if len(documents) == 1 else documents)
