"""The summary of a diff: a line a file, a bar of what was written, and a last line with the sums.

Counts regions and bytes, not lines: that is what a commit stores and a push sends, and it costs no
reading of data.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ..store.content import NodeSource
from ..store.quoting import quote_path
from ..tracker.diff import FileChange, change_regions
from .sizes import count, format_size

BAR: Final = 20
SPACE: Final = BAR + 32
"""Columns that are not the name's."""


class Row(NamedTuple):
    """One change: regions and bytes that it wrote; for what is gone, the bytes that were there."""

    change: FileChange
    regions: int
    size: int


def rows(source: NodeSource, changes: Iterable[FileChange], block_size: int) -> list[Row]:
    return [_row(source, change, block_size) for change in changes]


def _row(source: NodeSource, change: FileChange, block_size: int) -> Row:
    if change.new is None:
        size = change.old.size if change.old is not None and change.old.is_file else 0
        return Row(change, 0, size)
    found = [region.length for region in change_regions(source, change, block_size)]
    return Row(change, len(found), sum(found))


def stat_lines(found: list[Row]) -> Iterator[str]:
    """The lines of the table, and the last one."""
    if not found:
        return
    names = [_name(row.change) for row in found]
    room = max(20, shutil.get_terminal_size().columns - SPACE)
    width = min(room, max(map(len, names)))
    largest = max(row.size for row in found)
    for name, row in zip(names, found, strict=True):
        shown = name if len(name) <= width else "..." + name[3 - width :]
        yield f" {shown:<{width}} | {_what(row)} {_bar(row, largest)}".rstrip()
    yield " " + total(found)


def total(found: list[Row]) -> str:
    """3 files changed, 65 regions, 4.0 MiB (1 added, 1 deleted)"""
    written = [row for row in found if row.change.new is not None]
    line = (
        f"{count(len(found), 'file')} changed,"
        f" {count(sum(row.regions for row in written), 'region')},"
        f" {format_size(sum(row.size for row in written))}"
    )
    kinds = Counter(row.change.what for row in found if row.change.what != "modified")
    rest = ", ".join(f"{number} {what}" for what, number in sorted(kinds.items()))
    return f"{line} ({rest})" if rest else line


def _name(change: FileChange) -> str:
    name = quote_path(change.shown_path)
    return f"{quote_path(change.old_path)} => {name}" if change.what == "renamed" else name


def _what(row: Row) -> str:
    if row.change.new is None:
        return f"deleted, {format_size(row.size)}"
    if row.change.what == "renamed":
        return "renamed"
    if not row.regions:
        return "metadata" if row.change.what == "modified" else row.change.what
    return f"{count(row.regions, 'region')}, {format_size(row.size)}"


def _bar(row: Row, largest: int) -> str:
    length = -(-BAR * row.size // largest) if largest else 0
    return ("-" if row.change.new is None else "+") * length
