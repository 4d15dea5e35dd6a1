"""A commit of an attached tree is made of the maps, and says what a scan would say."""

from __future__ import annotations

from pathlib import Path

import pytest
from attached_trees import attached, away, some_files, told
from live_trees import Work
from random_changes import Changes, copied, root_of

ROUNDS = 6


@pytest.fixture
def here(work: Work) -> Work:
    return some_files(work)


@pytest.mark.parametrize("seed", range(16))
def test_it_is_what_a_scan_of_a_copy_says(here: Work, tmp_path: Path, seed: int) -> None:
    """Same content, same root: whatever had been done, and from where it is known."""
    changes = Changes(here.top, seed)
    changes.some(60)
    away(here, "commit", "-m", "before", "--allow-empty")
    roots, copies = [], []
    with attached(here):
        for number in range(ROUNDS):
            changes.some(25)
            copies.append(copied(here.top, tmp_path / f"copy{number}"))
            done = away(here, "commit", "-m", f"{number}", "--allow-empty", "--json").json
            roots.append(done["root"])
            assert done["pause_seconds"] is not None, "a scan made it"
            assert told(here) == ({}, 0)
    assert roots == [root_of(here, copy) for copy in copies]
