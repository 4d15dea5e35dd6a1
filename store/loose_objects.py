"""A guard before libgit2: loose objects that were cut short.

libgit2 1.9 waits forever for the rest of a loose object whose zlib stream does not end; any other
damage it finds by itself. So each file is inflated here before libgit2 is asked for it: that of the
object that is read, or, before a walk, those of all. There are about 3,000 at most before they are
packed, which takes 60 ms. (An object database backend in Python would be asked for each object at
the right moment, but what it raises is lost in half of the calls of pygit2.)
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .errors import Corrupt

SEE_FSCK: Final = "see what else is damaged with: treering fsck"
FULL_ID: Final = re.compile("[0-9a-f]{40}")


def loose_paths(objects: Path) -> Iterator[Path]:
    """The files of all loose objects."""
    return (path for path in objects.glob("[0-9a-f][0-9a-f]/*") if len(path.name) == 38)


def is_cut_short(path: Path) -> bool:
    """Whether the file of a loose object ends before its zlib stream does."""
    stream = zlib.decompressobj()
    try:
        stream.decompress(path.read_bytes())
    except (FileNotFoundError, zlib.error):
        return False
    return not stream.eof


class LooseObjects:
    """The loose objects in a folder. Each is looked at once: they never change."""

    def __init__(self, objects: Path) -> None:
        self._objects = objects
        self._seen: set[str] = set()
        self._seen_all = False

    def check(self, object_id: str) -> None:
        """Corrupt if this object is loose and cut short. Of a revision that is no full id nobody
        knows what libgit2 will read: all are checked."""
        if not FULL_ID.fullmatch(object_id):
            self.check_all()
        elif not self._seen_all and object_id not in self._seen:
            self._check(self._objects / object_id[:2] / object_id[2:])

    def check_all(self) -> None:
        """Corrupt if any loose object is cut short."""
        if not self._seen_all:
            for path in loose_paths(self._objects):
                if path.parent.name + path.name not in self._seen:
                    self._check(path)
            self._seen_all = True

    def _check(self, path: Path) -> None:
        name = path.parent.name + path.name
        if is_cut_short(path):
            raise Corrupt(
                f"history object {name[:10]} is cut short",
                hint=SEE_FSCK,
            )
        self._seen.add(name)
