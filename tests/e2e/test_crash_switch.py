"""A switch, killed or refused by the disk at any system call that changes something: the same
switch finishes it, going back undoes it, and what is not committed is there in both cases."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import pytest
from fault_trees import edit, read_tree, write
from faulting import (
    KILL,
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
    was_injected,
)
from running import succeed, treering

SWITCH = ["switch", "old"]


def prepare(template: Path, folder: Path) -> Path:
    """The second of two commits on main, `old` at the first; something uncommitted."""
    copy(template, folder)
    top = folder / "tree"
    succeed(top, "branch", "old", "HEAD~1")
    edit(top)
    return folder


def switch_at(what: str, point: Point, folder: Path) -> None:
    top = folder / "tree"
    before = read_tree(top)
    copy(top, folder / "wanted")
    succeed(folder / "wanted", *SWITCH)
    wanted = read_tree(folder / "wanted")
    shutil.rmtree(folder / "wanted")
    history = commits(top, "main")
    done = inject(point, what, folder, SWITCH, top)
    check_end(what, done, folder)
    check_whole(top)
    if (top / ".treering" / "tracker" / "restore").exists():
        assert done.code != 0
        refused = treering(top, "commit", "-m", "must not be")
        assert refused.code == 11 and "hint: " in refused.err, refused
        assert "treering switch old" in succeed(top, "status").out
    else:
        assert read_tree(top) == wanted or (done.code != 0 and read_tree(top) == before)
    back = bool(zlib.crc32(repr(point).encode()) % 2)
    succeed(top, "switch", "main" if back else "old")
    assert read_tree(top) == (before if back else wanted)
    assert commits(top, "main") == history
    assert commits(top) == (history if back else history[1:])
    check_next_commit(top, folder / "out")


@pytest.mark.parametrize("target", ["main", "old", "-", "other"])
def test_a_switch_killed_when_head_had_moved_is_done(
    two_commits: Path, tmp_path: Path, target: str
) -> None:
    """Only its log is left: the next switch is one like any other, to wherever."""
    folder = prepare(two_commits, tmp_path / "case")
    top = folder / "tree"
    succeed(top, "branch", "other", "HEAD~1")
    before = read_tree(top)
    inject(Point("fsync", 1, "tree/.treering/history"), KILL, folder, SWITCH, top)
    assert was_injected(folder)
    assert (top / ".treering" / "tracker" / "restore").exists()
    old = read_tree(top)
    write(top / "text", b"edited since\n")  # the same in both: it is carried along
    succeed(top, "switch", target)
    assert not (top / ".treering" / "tracker" / "restore").exists()
    found, wanted = read_tree(top), before if target in ("main", "-") else old
    assert found["text"][2] == found["sub/same"][2] == b"edited since\n"
    edited = {"text": found["text"], "sub/same": found["sub/same"]}
    assert found == wanted | edited


@pytest.fixture(scope="module")
def with_old(two_commits: Path) -> Path:
    return prepare(two_commits, two_commits.with_name("switching"))


@faults(4, 2)
def test_a_switch(with_old: Path, tmp_path: Path, what: str, count: int) -> None:
    calls = [*WRITING, *METADATA]
    fault_each(with_old, SWITCH, what, count, tmp_path, switch_at, calls=calls)
