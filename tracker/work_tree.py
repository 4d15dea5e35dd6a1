"""The work tree: a live folder and the repository that versions it.

The repository is `.treering/` in the folder, or elsewhere, named by the one line of
`.treering/repo`. A bare repository has no work tree.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..store.config import Config
from ..store.durable import fsync_folder, replace_file
from ..store.errors import Conflict, NoRepository
from ..store.format import FILE_NAME
from ..store.remotes.local import POINTER, WORK_TREE, WORK_TREE_FOLDER, locate
from ..store.repository import Repository


@dataclass(frozen=True)
class Found:
    """Where a repository was found, and the work tree it belongs to, if any."""

    repository: Path
    top: Path | None


def discover(start: Path) -> Found:
    """The repository of `start` or of the nearest folder above it. NoRepository when there is
    none. An unreadable `.treering` on the way is an error, not passed by."""
    for folder in (start, *start.parents):
        try:
            place = locate(folder)
        except NoRepository:
            if (folder / WORK_TREE_FOLDER).is_dir():
                raise
            continue
        return Found(place.repository, folder if (folder / WORK_TREE_FOLDER).is_dir() else None)
    raise NoRepository(
        f"no treering repository here or above: {start}", hint="make one with: treering init"
    )


def create_work_tree(top: Path, block_size: int, elsewhere: Path | None) -> Path:
    """Make a repository for the folder `top`, in it or `elsewhere`; where it is."""
    inside = top / WORK_TREE_FOLDER
    if (inside / FILE_NAME).exists() or (inside / POINTER).exists():
        raise Conflict(f"there is a repository in {top} already")
    if elsewhere is None:
        Repository.create(inside, block_size)
        return inside
    Repository.create(elsewhere, block_size)
    Config(elsewhere / "config").set(WORK_TREE, os.fspath(top))
    inside.mkdir(mode=0o700, exist_ok=True)
    (inside / "orphans").mkdir(exist_ok=True)
    replace_file(inside / POINTER, os.fsencode(elsewhere.resolve()) + b"\n")
    fsync_folder(top)
    return elsewhere
