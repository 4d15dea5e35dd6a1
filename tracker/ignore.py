"""`.treeringignore`: gitignore syntax, nested and negated, through pathspec.

The rules of a folder apply to what is below it; deeper files win over higher ones, later lines over
earlier ones; what lies in an ignored folder cannot be brought back. One `IgnoreRules` stands for
one folder and all above it; immutable, so a walk passes it down.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from ..store.errors import InvalidInput

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

FILE_NAME: Final = b".treeringignore"
MAX_RULES: Final = 1 << 20


class IgnoreRules:
    """The rules in force in one folder. `levels` are (folder path with a trailing slash or empty,
    spec), deepest last."""

    def __init__(self, levels: tuple[tuple[bytes, GitIgnoreSpec], ...] = ()) -> None:
        self._levels = levels

    def __bool__(self) -> bool:
        return bool(self._levels)

    def below(self, folder: bytes, text: bytes) -> IgnoreRules:
        """The rules for `folder` (empty, or ending in a slash), which has these lines of its own.
        InvalidInput for a pattern that makes no sense."""
        from pathspec import GitIgnoreSpec  # 30 ms that trees without rules do not pay

        lines = os.fsdecode(text).splitlines()
        try:
            spec = GitIgnoreSpec.from_lines(lines)
        except ValueError as error:
            raise InvalidInput(
                f"{os.fsdecode(folder + FILE_NAME)}: a pattern makes no sense: {error}"
            ) from error
        return IgnoreRules((*self._levels, (folder, spec)))

    def excludes(self, path: bytes, is_folder: bool) -> bool:
        """Whether the entry at `path` (from the top) is ignored, its folder not being so."""
        for folder, spec in reversed(self._levels):
            name = os.fsdecode(path[len(folder) :])
            verdict = spec.check_file(name + "/" if is_folder else name).include
            if verdict is not None:
                return verdict
        return False


NO_RULES: Final = IgnoreRules()


def read_rules(folder: int) -> bytes:
    """The text of an open folder's own rules; empty where what has their name is no file. OSError:
    FileNotFoundError where nothing has it."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(FILE_NAME, flags, dir_fd=folder)
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.read(descriptor, MAX_RULES) if is_file else b""
    finally:
        os.close(descriptor)
