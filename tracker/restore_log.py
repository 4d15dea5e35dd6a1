"""The restore log: what an in-place restore was doing, so that it can be finished or undone.

A small file in the repository's `tracker/`, written durably before the first change to the tree and
deleted after the last. While it is there, commits are refused: they would record a tree that is
half one snapshot and half another. The same restore, run again, finishes what is left, since it
writes only what differs; restoring HEAD undoes it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ..store.durable import fsync_folder, replace_file
from ..store.errors import Conflict, Corrupt, storage_error
from ..store.repository import Repository

MAGIC: Final = b"treering restore 1\n"


class Restore(NamedTuple):
    """A restore: from which commit, of which paths (none: the whole tree), and whether what is not
    in the commit was to be deleted."""

    commit: str
    paths: tuple[bytes, ...]
    delete: bool


def _path(repository: Repository) -> Path:
    return repository.path / "tracker" / "restore"


def begin(repository: Repository, restore: Restore) -> None:
    """Note durably that a restore starts."""
    content = MAGIC + msgspec.msgpack.encode(restore)
    try:
        replace_file(_path(repository), content)
    except OSError as error:
        raise storage_error("writing the restore log", error) from error


def end(repository: Repository) -> None:
    """The restore is done."""
    _path(repository).unlink(missing_ok=True)
    fsync_folder(_path(repository).parent)


def pending(repository: Repository) -> Restore | None:
    """The restore that was interrupted, if one was."""
    try:
        content = _path(repository).read_bytes()
    except FileNotFoundError:
        return None
    if not content.startswith(MAGIC):
        raise Corrupt(f"{_path(repository)} is not a restore log", hint="delete it")
    try:
        return msgspec.msgpack.decode(content[len(MAGIC) :], type=Restore)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"{_path(repository)} is damaged", hint="delete it") from error


def command(restore: Restore) -> str:
    """The command that finishes it."""
    paths = "".join(f" {os.fsdecode(path)}" for path in restore.paths)
    delete = " --delete" if restore.delete else ""
    return f"treering restore --force{delete} --source {restore.commit[:10]}{paths}"


def refuse_if_pending(repository: Repository, allowed: Restore | None = None) -> None:
    """Conflict while an interrupted restore, other than the allowed one, is not finished."""
    found = pending(repository)
    if found is not None and found != allowed:
        raise Conflict(
            f"a restore of {found.commit[:10]} was interrupted: the tree is half restored",
            hint=f"finish it with: {command(found)}; or go back with: treering restore --force",
        )
