"""The carrier to a directory of this machine: the service of its repository, in this process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from ..config import Config
from ..errors import Corrupt, NoRepository, storage_error
from ..format import FILE_NAME
from ..repository import Repository
from .service import RepositoryService

WORK_TREE_FOLDER: Final = ".treering"
POINTER: Final = "repo"
WORK_TREE: Final = "core.worktree"
"""Config of a repository kept apart from its work tree: where that is."""
MAX_POINTER: Final = 8192


class Place(NamedTuple):
    """Where a repository lies, and whether it versions a work tree."""

    repository: Path
    has_work_tree: bool


def locate(path: Path) -> Place:
    """The repository of exactly this folder: a work tree, its `.treering`, or a bare repository.
    NoRepository when it is none of these; folders above are not looked at."""
    inside = path / WORK_TREE_FOLDER
    try:
        if (inside / POINTER).is_file():
            return Place(_pointed(inside / POINTER), True)
        if (inside / FILE_NAME).is_file():
            return Place(inside, True)
        if (path / FILE_NAME).is_file():
            return Place(path, path.name == WORK_TREE_FOLDER or _versions_another(path))
    except OSError as error:
        raise storage_error(f"looking at {path}", error) from error
    raise NoRepository(
        f"there is no treering repository at {path}", hint="make one with: treering init --bare"
    )


def _versions_another(path: Path) -> bool:
    """Whether a repository that lies by itself belongs to a work tree elsewhere."""
    return Config(path / "config").get(WORK_TREE) is not None


def _pointed(pointer: Path) -> Path:
    line = os.fsdecode(pointer.read_bytes()[:MAX_POINTER]).rstrip("\n")
    if not line or "\n" in line or "\0" in line:
        raise Corrupt(f"{pointer} should name a repository in one line")
    return (pointer.parent.parent / line).resolve()


def open_local(
    path: Path,
    *,
    threads: int | None = None,
    notice: Callable[[str], None] = lambda _message: None,
    clock: Callable[[], float] = time.time,
) -> RepositoryService:
    """The remote at `path`, an absolute path."""
    place = locate(path)
    repository = Repository(place.repository, notice=notice, clock=clock, threads=threads)
    return RepositoryService(repository, has_work_tree=place.has_work_tree)
