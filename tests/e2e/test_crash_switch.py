"""kill -9 at any system call of a switch: the same switch finishes it, going back undoes it, and
what is not committed is there in both cases."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import pytest
from fault_trees import edit, read_tree, write
from faulting import (
    METADATA,
    WRITING,
    Point,
    check_next_commit,
    check_whole,
    commits,
    copy,
    inject,
    kill_each,
    some_or_all,
    succeed,
    treering,
    was_injected,
)

SWITCH = ["switch", "old"]


def prepare(template: Path, folder: Path) -> Path:
    """The second of two commits on main, `old` at the first; something uncommitted."""
    copy(template, folder)
    top = folder / "tree"
    succeed(top, "branch", "old", "HEAD~1")
    edit(top)
    return folder


def kill_switch(point: Point, folder: Path) -> None:
    top = folder / "tree"
    before = read_tree(top)
    copy(top, folder / "wanted")
    succeed(folder / "wanted", *SWITCH)
    wanted = read_tree(folder / "wanted")
    shutil.rmtree(folder / "wanted")
    history = commits(top, "main")
    done = inject(point, "signal=SIGKILL", folder, SWITCH, top)
    assert done.code in (0, -9), done
    check_whole(top)
    if (top / ".treering" / "tracker" / "restore").exists():
        assert done.code == -9
        refused = treering(top, "commit", "-m", "must not be")
        assert refused.code == 11 and "hint: " in refused.err, refused
        assert "treering switch old" in succeed(top, "status").out
    else:
        assert read_tree(top) in (before, wanted)
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
    inject(Point("fsync", 1, "tree/.treering/history"), "signal=SIGKILL", folder, SWITCH, top)
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


@some_or_all(20)
def test_a_killed_switch_is_finished_or_undone(
    two_commits: Path, tmp_path: Path, count: int
) -> None:
    template = prepare(two_commits, tmp_path / "template")
    kill_each(template, SWITCH, count, tmp_path, kill_switch, [*WRITING, *METADATA])
