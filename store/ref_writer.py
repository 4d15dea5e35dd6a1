"""Moving refs: by compare-and-swap, durably, one or several.

Several are noted before the first of them moves (`ref_moves`), so that a crash in between leaves
the rest to the next writer. Used under the history's lock only, by `History`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pygit2

from . import ref_moves
from .durable import fsync_folder
from .errors import Conflict, TreeringError, storage_error
from .git_objects import clean_name
from .history_values import BRANCHES, Person, RefUpdate
from .loose_objects import LooseObjects
from .ref_reader import RefReader


class RefWriter:
    """The refs of the history at `path`."""

    def __init__(
        self, path: Path, repo: pygit2.Repository, loose: LooseObjects, reader: RefReader
    ) -> None:
        self._held = reader.held
        self._path = path
        self._repo = repo
        self._loose = loose

    def _compare(self, update: RefUpdate) -> None:
        current = self._held(update.name)
        if current != update.old:
            name = update.name.removeprefix(BRANCHES)
            where = current[:10] if current else "nothing"
            raise Conflict(f"rejected: {name} moved to {where}; fetch first")

    def move(self, update: RefUpdate, who: Person, message: str) -> None:
        """Move one ref, durably, with its line in the reflog. Conflict when it has moved."""
        self._compare(update)
        if update.new is None:
            self._repo.references.delete(update.name)
            self._sync_folders(update.name)
            return
        self._loose.check(update.new)
        self._repo.set_ident(clean_name(who.name), clean_name(who.email))
        self._repo.create_reference_direct(
            update.name, pygit2.Oid(hex=update.new), True, message=message
        )
        self._sync_folders(update.name)

    def _sync_folders(self, name: str) -> None:
        """libgit2 fsyncs the file of a ref, not the folder that names it; it deletes empty ones."""
        folder = (self._path / name).parent
        while folder != self._path.parent:
            if folder.exists():
                fsync_folder(folder)
            folder = folder.parent

    def move_all(self, updates: Sequence[RefUpdate], who: Person, message: str) -> None:
        """Move refs; all are compared before any moves, and put back if one cannot be moved.
        Deletions come first: `a` makes room for `a/b`."""
        for update in updates:
            self._compare(update)
        with git_errors("moving a ref"):
            self._make_all(updates, who, message)

    def _make_all(self, updates: Sequence[RefUpdate], who: Person, message: str) -> None:
        together = len(updates) > 1
        if together:
            ref_moves.begin(self._path, ref_moves.Moves(list(updates), who, message))
        try:
            for update in sorted(updates, key=lambda update: update.new is not None):
                self.move(update, who, message)
        except (OSError, pygit2.GitError, TreeringError):
            if self._taken_back(updates, who) and together:
                ref_moves.end(self._path)
            raise
        # Ctrl-C, like a kill, leaves the note: the next writer makes the rest.
        if together:
            ref_moves.end(self._path)

    def _taken_back(self, updates: Sequence[RefUpdate], who: Person) -> bool:
        """Whether all refs are where they were: one may have moved though its fsync failed. If the
        disk refuses this as well, the note stays, and the next writer makes the rest."""
        try:
            for name, old, new, _ in sorted(updates, key=lambda update: update.new is None):
                if self._held(name) == new != old:
                    self.move(RefUpdate(name, new, old), who, "taken back")
        except (OSError, pygit2.GitError, TreeringError):
            return False
        return True

    def finish(self) -> None:
        """Make the rest of the moves that a killed process had begun."""
        left = ref_moves.unfinished(self._path)
        if left is None:
            return
        for update in sorted(left.updates, key=lambda update: update.new is not None):
            if self._held(update.name) == update.old:
                self.move(update, left.who, left.message)
        ref_moves.end(self._path)


@contextmanager
def git_errors(action: str) -> Iterator[None]:
    """A disk that refuses, as StorageError: libgit2 reports a full disk or EIO as text only."""
    try:
        yield
    except OSError as error:
        raise storage_error(action, error) from error
    except pygit2.GitError as error:
        raise storage_error(action, OSError(str(error))) from error
