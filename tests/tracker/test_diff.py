"""Renames are looked for only among so many deleted files as may be held in memory."""

from __future__ import annotations

import pytest
from support import Memory, put_tree

from treering.tracker import diff


def whats(source: Memory, count: int) -> list[str]:
    """What is said of `count` files that move into a folder."""
    files = {b"%d" % number: b"content %d" % number for number in range(count)}
    old, new = put_tree(source, dict(files)), put_tree(source, {b"moved": dict(files)})
    return [change.what for change in diff.file_changes(source, old, new)]


def test_from_more_deleted_files_than_the_limit_on_none_is_renamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(diff, "MAX_RENAMES", 3)
    assert whats(Memory(), 3) == ["renamed"] * 3
    assert whats(Memory(), 4) == ["deleted"] * 4 + ["added"] * 4
