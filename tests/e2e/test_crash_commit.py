"""A commit, and a rebuild of the index, killed or refused by the disk at any system call that
changes something: nothing acknowledged is lost, the repository is whole, and the next run goes
through."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from fault_trees import first_tree, read_tree, third_tree
from faulting import (
    COMMIT,
    REBUILD,
    Point,
    check_end,
    check_next_commit,
    check_snapshot,
    check_whole,
    commits,
    fault_each,
    faults,
    inject,
)
from running import succeed, treering

FIRST = ["commit", "-m", "first"]


def commit_at(what: str, point: Point, folder: Path) -> None:
    top = folder / "tree"
    (old,) = commits(top)
    before = read_tree(top)
    done = inject(point, what, folder, COMMIT, top)
    check_end(what, done, folder)
    assert read_tree(top) == before
    after = commits(top)
    assert after[-1] == old and len(after) <= 2
    assert done.code != 0 or len(after) == 2
    check_whole(top)
    if len(after) == 2:
        check_snapshot(top, folder / "second")
    third_tree(top)
    check_next_commit(top, folder / "out")
    assert commits(top)[-len(after) :] == after


@faults(4, 2)
def test_a_commit(one_commit: Path, tmp_path: Path, what: str, count: int) -> None:
    fault_each(one_commit, COMMIT, what, count, tmp_path, commit_at)


@pytest.fixture(scope="module")
def no_commit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "empty"
    (folder / "tree").mkdir(parents=True)
    succeed(folder / "tree", "init")
    first_tree(folder / "tree")
    return folder


def first_commit_at(what: str, point: Point, folder: Path) -> None:
    top = folder / "tree"
    done = inject(point, what, folder, FIRST, top)
    check_end(what, done, folder)
    log = treering(top, "log", "--oneline")
    assert log.code == 0 or (done.code != 0 and "no commits yet" in log.err), (log, done)
    check_whole(top)
    third_tree(top)
    check_next_commit(top, folder / "out")


@faults(2, 1)
def test_a_first_commit(no_commit: Path, tmp_path: Path, what: str, count: int) -> None:
    fault_each(no_commit, FIRST, what, count, tmp_path, first_commit_at)


def rebuild_at(what: str, point: Point, folder: Path) -> None:
    """It is repeated, or not even that."""
    top = folder / "tree"
    history = commits(top)
    check_end(what, inject(point, what, folder, REBUILD, top), folder)
    assert commits(top) == history
    if zlib.crc32(repr(point).encode()) % 2:
        succeed(top, *REBUILD)
        check_whole(top)
    third_tree(top)
    check_next_commit(top, folder / "out")
    assert commits(top)[1:] == history


@faults(3, 1)
def test_a_rebuild_of_the_index(two_commits: Path, tmp_path: Path, what: str, count: int) -> None:
    fault_each(two_commits, REBUILD, what, count, tmp_path, rebuild_at)
