"""The work tree: a live folder and the repository that versions it.

The repository is `.treering/` in the folder, or elsewhere, named by the one line of
`.treering/repo`. A bare repository has no work tree.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..store.durable import replace_file
from ..store.errors import Conflict, Corrupt, NoRepository
from ..store.repository import Repository

FOLDER: Final = ".treering"
POINTER: Final = "repo"
FORMAT_FILE: Final = "format"


@dataclass(frozen=True)
class Found:
    """Where a repository was found, and the work tree it belongs to, if any."""

    repository: Path
    top: Path | None


def discover(start: Path) -> Found:
    """The repository of `start` or of the nearest folder above it. NoRepository when there is
    none. An unreadable `.treering` on the way is an error, not passed by."""
    for folder in (start, *start.parents):
        inside = folder / FOLDER
        if inside.is_dir():
            pointer = inside / POINTER
            if pointer.is_file():
                return Found(_read_pointer(pointer), folder)
            return Found(inside, folder)
        if (folder / FORMAT_FILE).is_file() and (folder / "history").is_dir():
            return Found(folder, None)
    raise NoRepository(
        f"no treering repository here or above: {start}", hint="make one with: treering init"
    )


def _read_pointer(pointer: Path) -> Path:
    line = os.fsdecode(pointer.read_bytes()).rstrip("\n")
    if not line or "\n" in line:
        raise Corrupt(f"{pointer} should name a repository in one line")
    return (pointer.parent.parent / line).resolve()


def create_work_tree(top: Path, block_size: int, elsewhere: Path | None) -> Path:
    """Make a repository for the folder `top`, in it or `elsewhere`; where it is."""
    inside = top / FOLDER
    if (inside / FORMAT_FILE).exists() or (inside / POINTER).exists():
        raise Conflict(f"there is a repository in {top} already")
    if elsewhere is None:
        Repository.create(inside, block_size)
        return inside
    Repository.create(elsewhere, block_size)
    inside.mkdir(mode=0o700, exist_ok=True)
    (inside / "orphans").mkdir(exist_ok=True)
    replace_file(inside / POINTER, os.fsencode(elsewhere.resolve()) + b"\n")
    return elsewhere
