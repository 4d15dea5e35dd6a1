"""A glob over paths, with the meaning that patterns have in `.treeringignore` and in Git.

`*` and `?` match within a name, `**` across folders, `[a-z]` one of some bytes, a backslash takes
what follows as it is. A pattern without a slash fits the last name of a path, wherever it is; one
with a slash the whole path from the top; one that ends in a slash fits folders only. Bytes, not
text: names need not be UTF-8.
"""

from __future__ import annotations

import re
from typing import Final

from ..store.errors import InvalidInput

_TOKEN: Final = re.compile(
    rb"(?P<deep>\*\*/)|(?P<rest>\*\*\Z)|(?P<star>\*+)|(?P<one>\?)"
    rb"|(?P<set>\[[!^]?\]?[^\]]*\])|\\(?P<escaped>.)|(?P<plain>.)",
    re.DOTALL,
)
_MEANING: Final = {"deep": rb"(?:.*/)?", "rest": rb".+", "star": rb"[^/]*", "one": rb"[^/]"}


class Glob:
    """One pattern. InvalidInput when it can fit nothing, or makes no sense."""

    def __init__(self, pattern: bytes) -> None:
        self.folders_only = pattern.endswith(b"/")
        cleaned = pattern.removesuffix(b"/")
        self._names_only = b"/" not in cleaned
        cleaned = cleaned.removeprefix(b"/")
        if not cleaned:
            raise InvalidInput("an empty pattern fits nothing")
        try:
            self._fits = re.compile(_expression(cleaned), re.DOTALL).fullmatch
        except re.error as error:
            shown = pattern.decode(errors="replace")
            raise InvalidInput(f"pattern '{shown}' makes no sense: {error}") from error

    def __call__(self, path: bytes, is_folder: bool) -> bool:
        if self.folders_only and not is_folder:
            return False
        return bool(self._fits(path.rpartition(b"/")[2] if self._names_only else path))


def _expression(pattern: bytes) -> bytes:
    return b"".join(_meaning(token) for token in _TOKEN.finditer(pattern))


def _meaning(token: re.Match[bytes]) -> bytes:
    kind = token.lastgroup or "plain"
    if kind == "set":
        inner = token[kind][1:-1].replace(b"\\", b"\\\\").replace(b"[", b"\\[")
        negated = inner[:1] in (b"!", b"^")
        inner = inner[1:] if negated else inner
        return b"(?!/)[" + (b"^" if negated else b"") + inner.replace(b"]", b"\\]") + b"]"
    return _MEANING.get(kind) or re.escape(token[kind])
