"""Several refs that move together, though a crash may fall between them.

The moves are written to `history/moving` first, durably, and that is deleted when all are made.
Whoever opens the history next, reader or writer, finds what a killed process left there, and makes
the rest of it: everything behind those refs had been verified. `move_refs` also keeps the record of
finalized refs so that a crash never leaves one there that was deleted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from .durable import fsync_folder, replace_file
from .errors import Corrupt
from .history_values import Person, RefUpdate

if TYPE_CHECKING:
    from .repository import Repository

FILE: Final = "moving"


class Moves(NamedTuple):
    """What a process was about to do."""

    updates: list[RefUpdate]
    who: Person
    message: str


def begin(history: Path, moves: Moves) -> None:
    """Note moves before the first of them is made."""
    replace_file(history / FILE, json.dumps(moves).encode())


def unfinished(history: Path) -> Moves | None:
    """What was noted and not ended."""
    try:
        content = (history / FILE).read_bytes()
    except FileNotFoundError:
        return None
    try:
        updates, who, message = json.loads(content)
        return Moves([RefUpdate(*one) for one in updates], Person(*who), str(message))
    except (ValueError, TypeError) as error:
        raise Corrupt(f"{history / FILE} is damaged: {error}") from error


def end(history: Path) -> None:
    """Forget the note, durably."""
    (history / FILE).unlink()
    fsync_folder(history)


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
        there = ((one.name, repository.history.ref(one.name)) for one in gone)
        repository.mark_finalized(RefUpdate(name, None, held) for name, held in there if held)
        raise
    repository.mark_finalized(update for update in updates if update.new is not None)
