"""Exit codes, and the one table from error categories to them."""

from __future__ import annotations

from typing import Final

from ..store import errors

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
WARNINGS: Final = 3
NO_REPOSITORY: Final = 10
CONFLICT: Final = 11
CORRUPT: Final = 12
UNSUPPORTED: Final = 13
INTERRUPTED: Final = 130

CODES: Final[tuple[tuple[type[errors.TreeringError], int], ...]] = (
    (errors.NoRepository, NO_REPOSITORY),
    (errors.Conflict, CONFLICT),
    (errors.Corrupt, CORRUPT),
    (errors.LostObject, CORRUPT),
    (errors.UnsupportedFormat, UNSUPPORTED),
    (errors.InvalidInput, USAGE),
    (errors.TreeringError, FAILED),
)
"""The first category that fits decides."""


def exit_code(error: errors.TreeringError) -> int:
    return next(code for category, code in CODES if isinstance(error, category))
