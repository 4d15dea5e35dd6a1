"""The unified diff of two texts, by libgit2's xdiff: the hunks that Git itself would print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pygit2

PROBE: Final = 8000
"""Bytes looked at for a NUL, as Git does."""
MAX_TEXT: Final = 1 << 20
"""Longer files are not shown as text."""
_NO_NEWLINE: Final = frozenset("<>=")


def is_text(content: bytes) -> bool:
    """Whether Git would take it for text."""
    return b"\0" not in content[:PROBE]


def hunks(old: bytes, new: bytes, context: int = 3) -> Iterator[bytes]:
    """The lines of the hunks, each with its end: headers, and lines with their signs."""
    patch = pygit2.Patch.create_from(old, new, context_lines=context)
    for hunk in patch.hunks:
        yield hunk.header.encode("utf-8", "surrogateescape")
        for line in hunk.lines:
            if line.origin in _NO_NEWLINE:
                yield b"\n\\ No newline at end of file\n"
            else:
                yield line.origin.encode() + line.raw_content
