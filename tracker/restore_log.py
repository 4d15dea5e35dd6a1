"""The restore log: what an in-place restore or a move was doing, so that it can be finished or
undone.

A small file in the repository's `tracker/`, written durably before the first change to the tree and
deleted after the last, unless something was left half restored: a file in which some blocks could
be written and others not. Then it stays, and names what. While it is there, commits are refused:
they would record a tree, or a file, that is half one snapshot and half another. The same restore,
run again, finishes what is left, since it writes only what differs; restoring HEAD undoes it.
"""

from __future__ import annotations

import os
import shlex
from typing import Final, NamedTuple

from ..store.errors import Conflict
from ..store.quoting import quote_path
from ..store.repository import Repository
from ..store.state_file import StateFile
from ..store.trees import short_name
from .merge_state import Merging
from .restore_plan import Earlier
from .scope import Relation, Scope

NAMED: Final = 5
"""So many paths are spelled out in a message."""


class Move(NamedTuple):
    """A work tree on its way from one root to another (empty: no commit yet), after which `head`
    (a full ref name or a commit id) is to be HEAD. `again` and `back` are the arguments that finish
    and undo it; where it goes back itself, `back` is empty. `equal` are paths that stood there as
    the target has them, uncommitted, and `spared` those that it leaves alone: going back touches
    neither. `merging`: the merge that is under way, or made, once the tree is there; a move of one
    that is given up has none."""

    verb: str
    base: bytes
    target: bytes
    head: str
    again: tuple[str, ...]
    back: tuple[str, ...]
    equal: tuple[bytes, ...] = ()
    spared: tuple[bytes, ...] = ()
    merging: Merging | None = None

    @property
    def name(self) -> str:
        """What it is, before the commit that it is about."""
        return f"a {self.verb} {'of' if self.merging or not self.back else 'to'}"


class Restore(NamedTuple):
    """A restore: from which commit or root (the name of a `Tree`), of which paths (none: all), and
    whether what is not in there was to be deleted. `failed`: it came to its end, but for these
    paths. `move`: it is no restore but a move to this commit."""

    commit: str
    paths: tuple[bytes, ...]
    delete: bool
    failed: tuple[bytes, ...] = ()
    move: Move | None = None

    def earlier(self) -> Earlier:
        return Earlier(self.failed or None)

    def left(self) -> tuple[bytes, ...]:
        """The paths that are left to be restored; none for all."""
        return self.failed or self.paths

    def is_same(self, other: Restore) -> bool:
        """Whether both were asked for the same."""
        return self._replace(failed=()) == other._replace(failed=())


_FILE: Final = StateFile(
    "restore",
    "restore log",
    Restore,
    "delete it, and look with treering status: the tree may be between two commits",
)


def begin(repository: Repository, restore: Restore) -> None:
    """Note durably that a restore starts."""
    _FILE.write(repository.path / "tracker", restore)


def end(repository: Repository) -> None:
    """The restore is done."""
    _FILE.remove(repository.path / "tracker")


def pending(repository: Repository) -> Restore | None:
    """The restore that was interrupted, if one was."""
    return _FILE.read(repository.path / "tracker")


def command(restore: Restore) -> str:
    """The command that finishes it."""
    if restore.move is not None:
        return shlex.join(["treering", *restore.move.again])
    delete = " --delete" if restore.delete and not restore.failed else ""
    source = f"{delete} --source {short_name(restore.commit)}"
    return f"treering restore --force{source}{_arguments(restore)}"


def undo(restore: Restore) -> str | None:
    """The command that goes back to where it began; None where that is what it does."""
    if restore.move is not None:
        back = restore.move.back
        return shlex.join(["treering", *back]) if back else None
    return f"treering restore --force{_arguments(restore)}"


def _arguments(restore: Restore) -> str:
    """What is left, as arguments from the top; all that was asked for where that is too much."""
    paths = restore.left() if len(restore.left()) <= NAMED else restore.paths
    texts = [os.fsdecode(path) for path in paths if path]
    return "".join(" " + shlex.quote(f"./{text}" if text[0] == "-" else text) for text in texts)


def summary(restore: Restore) -> str:
    """What became of it, in a line."""
    if restore.move is not None:
        return f"{restore.move.name} {restore.commit[:10]} was interrupted"
    name = f"a restore of {short_name(restore.commit)}"
    if not restore.failed:
        return f"{name} was interrupted"
    paths = ", ".join(quote_path(path or b".") for path in restore.failed[:NAMED])
    more = f" and {len(restore.failed) - NAMED} more" if len(restore.failed) > NAMED else ""
    return f"{name} failed at {paths}{more}"


def refuse_if_pending(repository: Repository, scope: Scope | None = None) -> None:
    """Conflict while a restore is not finished, unless all that it left is in `scope`: restoring
    that finishes or undoes it."""
    found = pending(repository)
    if found is None or (scope is not None and _covers(scope, found)):
        return
    what = "what is there" if found.failed else "the tree"
    state = "half restored" if found.move is None else "between two commits"
    back = undo(found)
    raise Conflict(
        f"{summary(found)}: {what} is {state}",
        hint=f"finish it with: {command(found)}" + (f"; or go back with: {back}" if back else ""),
    )


def _covers(scope: Scope, found: Restore) -> bool:
    if found.move is not None:
        return False
    if scope.whole:
        return True
    left = found.left()
    return bool(left) and all(scope.relation(path) is Relation.INSIDE for path in left)
