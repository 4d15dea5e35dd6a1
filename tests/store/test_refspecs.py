"""Refspecs as Git writes them, and those that mean nothing."""

from __future__ import annotations

import pytest

from treering.store.errors import InvalidInput
from treering.store.history import BRANCHES, TAGS
from treering.store.remotes.refspecs import Refspec, full_name, parse, target_name, words


def test_forms() -> None:
    assert parse("main") == Refspec("main", None, False)
    assert parse("a:b") == Refspec("a", "b", False)
    assert parse("+a:b") == Refspec("a", "b", True)
    assert parse(":b") == Refspec(None, "b", False)
    assert words(["tag", "v1", "main"]) == [TAGS + "v1", "main"]


@pytest.mark.parametrize("text", ["", "+", ":", "a:", "a:b:c", "a b", "refs/heads/*:x", "+:"])
def test_nonsense(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(text)


def test_names() -> None:
    refs = [BRANCHES + "main", BRANCHES + "both", TAGS + "both", TAGS + "v1"]
    assert full_name("main", refs) == BRANCHES + "main"
    assert full_name("tags/v1", refs) == TAGS + "v1"
    assert full_name("nowhere", refs) is None
    with pytest.raises(InvalidInput, match="branch and a tag"):
        full_name("both", refs)
    assert target_name("new", refs, BRANCHES + "main") == BRANCHES + "new"
    assert target_name("new", refs, TAGS + "v1") == TAGS + "new"
    for bad in ("a..b", "refs/remotes/o/x", "-x", "x.lock"):
        with pytest.raises(InvalidInput):
            target_name(bad, refs, None)
    with pytest.raises(InvalidInput):
        words(["tag"])
