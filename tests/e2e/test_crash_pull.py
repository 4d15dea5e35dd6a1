"""A pull, killed or refused by the disk at any system call that changes something: the same pull
finishes it, going back undoes it, and what is not committed is there in both cases."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from fault_trees import edit, read_tree
from faulting import (
    METADATA,
    WRITING,
    Point,
    check_end,
    check_next_commit,
    check_whole,
    commits,
    copy,
    fault_each,
    faults,
    inject,
    repoint,
)
from running import succeed, treering

PULL = ["pull"]


def prepare(one: Path, two: Path, folder: Path) -> Path:
    """`remote` with two commits, `tree` a clone from when there was one; something uncommitted."""
    folder.mkdir()
    top = folder / "tree"
    copy(two / "tree", folder / "remote")
    succeed(folder, "clone", str(one / "tree"), "tree")
    repoint(folder)
    edit(top)
    return folder


def pull_at(what: str, point: Point, folder: Path) -> None:
    repoint(folder)
    top = folder / "tree"
    before = read_tree(top)
    copy(top, folder / "whole")
    succeed(folder / "whole", *PULL)
    wanted, history = read_tree(folder / "whole"), commits(folder / "whole")
    done = inject(point, what, folder, PULL, top)
    check_end(what, done, folder)
    check_whole(top)
    pending = (top / ".treering" / "tracker" / "restore").exists()
    if pending:
        refused = treering(top, "commit", "-m", "must not be")
        assert refused.code == 11 and "treering pull origin main" in refused.err, refused
    else:
        assert (read_tree(top), commits(top)) in ((before, history[1:]), (wanted, history))
    if pending and zlib.crc32(repr(point).encode()) % 2:
        succeed(top, "switch", "main")
        there = commits(top) == history  # the branch had moved: the switch is to the new commit
        assert read_tree(top) == (wanted if there else before)
    succeed(top, *PULL)
    assert (read_tree(top), commits(top)) == (wanted, history)
    check_next_commit(top, folder / "out")


@pytest.fixture(scope="module")
def behind(one_commit: Path, two_commits: Path) -> Path:
    return prepare(one_commit, two_commits, two_commits.with_name("pulling"))


@faults(3, 1)
def test_a_pull(behind: Path, tmp_path: Path, what: str, count: int) -> None:
    calls = [*WRITING, *METADATA]
    fault_each(behind, PULL, what, count, tmp_path, pull_at, calls=calls)
