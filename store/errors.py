"""Every error a caller may want to tell apart.

A category is a class; `cli.exits` maps categories to exit codes. The message names what failed and
why on one line; `hint`, where there is one, says what to do. Nothing here formats for a terminal.
"""

from __future__ import annotations

import errno


class TreeringError(Exception):
    """Root of all errors that treering raises on purpose."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInput(TreeringError):
    """What the user asked for makes no sense (a bad option value, URL or revision syntax)."""


class NotFound(TreeringError):
    """A revision, path, object or remote that does not exist."""


class LostObject(NotFound):
    """An object that this repository should have: never stored, or found bad and dropped."""


class NoRepository(TreeringError):
    """There is no repository here."""


class Conflict(TreeringError):
    """Uncommitted changes in the way, or a race lost: another writer moved the ref first."""


class LockHeld(Conflict):
    """Another process holds the lock, and still did when the wait ended."""


class Corrupt(TreeringError):
    """Stored bytes are not what they were when written."""


class UnsupportedFormat(TreeringError):
    """A newer format, or a required feature this version does not know."""


class StorageError(TreeringError):
    """The disk or file system refused: full, read-only, EIO."""


class TransientStorageError(StorageError):
    """A refusal that a retry may cure."""


class RemoteError(TreeringError):
    """The remote broke the protocol, lied, or went away."""


class DriverError(TreeringError):
    """The driver of an attached tree is not there, does not answer, or refused."""


class MissingObjects(RemoteError):
    """A root cannot be finalized: objects of its closure are absent. `keys` names some of them."""

    def __init__(self, message: str, keys: list[bytes]) -> None:
        super().__init__(message)
        self.keys = keys


FULL_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})


def storage_error(action: str, error: OSError) -> StorageError:
    """The StorageError for an OSError met while doing `action`, with a hint for a full disk."""
    reason = error.strerror or str(error)
    hint = "free some space and run it again" if error.errno in FULL_DISK_ERRNOS else None
    return StorageError(f"{action}: {reason}", hint=hint)


def is_full(error: StorageError) -> bool:
    """Whether it was a full disk that refused."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in FULL_DISK_ERRNOS
