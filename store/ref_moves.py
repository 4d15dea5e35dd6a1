"""Several refs that move together, though a crash may fall between them.

The moves are written to `history/moving` first, durably, and that is deleted when all are made.
Whoever opens the history next, reader or writer, finds what a killed process left there, and makes
the rest of it: everything behind those refs had been verified. `move_refs` also keeps the record of
finalized refs so that a crash never leaves one there that was deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from .git_objects import clean_text
from .history_values import Person, RefUpdate
from .state_file import StateFile

if TYPE_CHECKING:
    from .repository import Repository

FILE: Final = "moving"


class Moves(NamedTuple):
    """What a process was about to do."""

    updates: list[RefUpdate]
    who: Person
    message: str


_FILE: Final = StateFile(
    FILE, "note of refs that move", Moves, "delete it, and look where the refs are"
)


def begin(history: Path, moves: Moves) -> None:
    """Note moves before the first of them is made."""
    who = moves.who._replace(name=clean_text(moves.who.name), email=clean_text(moves.who.email))
    _FILE.write(history, moves._replace(who=who))


def unfinished(history: Path) -> Moves | None:
    """What was noted and not ended. Corrupt."""
    return _FILE.read(history)


def end(history: Path) -> None:
    """Forget the note, durably."""
    _FILE.remove(history)


def move_refs(
    repository: Repository, updates: Sequence[RefUpdate], who: Person, message: str
) -> None:
    """Move refs, all or none, and record it. A deletion is recorded before it is made: a ref that
    is recorded and not there counts as lost."""
    gone = [update for update in updates if update.new is None]
    repository.mark_finalized(gone)
    try:
        repository.history.update_refs(updates, who, message)
    except BaseException:
        if (repository.path / "history" / FILE).exists():
            raise  # the next writer makes the rest, deletions included
        there = ((one.name, repository.history.ref(one.name)) for one in gone)
        repository.mark_finalized(RefUpdate(name, None, held) for name, held in there if held)
        raise
    repository.mark_finalized(update for update in updates if update.new is not None)
