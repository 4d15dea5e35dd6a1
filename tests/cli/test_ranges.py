"""What a revision is, and what a path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering.cli.ranges import split_path


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("HEAD", ("HEAD", None)),
        ("HEAD:a/b", ("HEAD", "a/b")),
        ("HEAD:", ("HEAD", "")),
        (":a", ("", "a")),
        ("", ("", None)),
        ("HEAD:a:b", ("HEAD", "a:b")),
        ("main@{2026-11-25 10:30}", ("main@{2026-11-25 10:30}", None)),
        ("main@{10:30}:a{b}:c", ("main@{10:30}", "a{b}:c")),
        ("HEAD^{/fix: it}~2:a", ("HEAD^{/fix: it}~2", "a")),
        ("odd{:a", ("odd{", "a")),
        ("odd}{b:c", ("odd}{b", "c")),
    ],
)
def test_a_colon_in_braces_is_no_path(text: str, parts: tuple[str, str | None]) -> None:
    assert split_path(text) == parts


@given(st.text("a:{}/ \n", max_size=12))
def test_nothing_is_lost(text: str) -> None:
    revision, path = split_path(text)
    assert (revision if path is None else f"{revision}:{path}") == text
    assert path is not None or ":" not in text or "{" in text
