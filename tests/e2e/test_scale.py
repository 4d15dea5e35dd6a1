"""Memory stays flat where there is much: long runs, by the highest sum of anonymous memory of a
command and its processes. docs/scaling.md has the curves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from measure import treering

MIB = 1 << 20


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_folder_of_many_names(tmp_path: Path) -> None:
    """The names are listed, and the rows of the scan state loaded, neither of them twice."""
    top = tmp_path / "top"
    folder = top / "names"
    folder.mkdir(parents=True)
    for number in range(150_000):
        os.mknod(folder / f"name{number:07}")
    treering(top, "init", "-q")
    treering(top, "commit", "-q", "-m", "first")
    assert treering(top, "status").memory < 50 * MIB
    assert treering(top, "commit", "-q", "-m", "none").memory < 180 * MIB
