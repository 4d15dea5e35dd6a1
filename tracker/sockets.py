"""Sockets are never versioned; the commit that first meets one says so, and no command after it.

What was said is remembered in the catalog as hashes of paths. Losing that costs a line on stderr.
"""

from __future__ import annotations

from typing import Final

from blake3 import blake3

from ..store.catalog import Catalog
from .report import MAX_KEPT, Report

FACT: Final = "sockets-said"
HASH_SIZE: Final = 8


def unsaid(catalog: Catalog, report: Report, *, whole: bool) -> int:
    """How many sockets of a commit were not said before; remembers that they are said now.
    `whole`: the commit saw the whole tree, so that a socket which is gone is forgotten."""
    before = _said(catalog)
    met = {blake3(path).digest(HASH_SIZE) for path in report.socket_paths}
    said = met if whole else before | met
    if said != before:
        content = b"".join(sorted(said)[:MAX_KEPT])
        with catalog.transaction() as conn:
            conn.execute("insert or replace into facts values (?, ?)", (FACT, content))
    return len(met - before)


def _said(catalog: Catalog) -> set[bytes]:
    content = catalog.fact(FACT) or b""
    return {content[start : start + HASH_SIZE] for start in range(0, len(content), HASH_SIZE)}
