"""Paths in messages and listings, quoted as Git does (core.quotePath=false).

A path of printable text stands as it is; one with control characters, quotes, backslashes or bytes
that are not UTF-8 stands in double quotes with C escapes, so that a line is always one path.
"""

from __future__ import annotations

from typing import Final

_ESCAPES: Final = {
    0x07: "\\a",
    0x08: "\\b",
    0x09: "\\t",
    0x0A: "\\n",
    0x0B: "\\v",
    0x0C: "\\f",
    0x0D: "\\r",
    0x22: '\\"',
    0x5C: "\\\\",
}


def quote_path(path: bytes) -> str:
    """One line of text for any path."""
    text = path.decode("utf-8", "surrogateescape")
    if all(_plain(letter) for letter in text):
        return text
    return '"' + "".join(_quote(letter) for letter in text) + '"'


def _plain(letter: str) -> bool:
    code = ord(letter)
    return (
        code >= 0x20
        and code not in _ESCAPES
        and code != 0x7F
        and not 0x80 <= code < 0xA0
        and (not 0xD800 <= code <= 0xDFFF)
    )


def _quote(letter: str) -> str:
    if _plain(letter):
        return letter
    raw = letter.encode("utf-8", "surrogateescape")
    if len(raw) == 1 and raw[0] in _ESCAPES:
        return _ESCAPES[raw[0]]
    return "".join(f"\\{byte:03o}" for byte in raw)
