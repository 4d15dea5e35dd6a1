"""A restore in place, killed or refused by the disk at any system call that changes something: what
is half restored is not committed, and the same restore finishes it."""

from __future__ import annotations

from pathlib import Path

from fault_trees import read_tree
from faulting import (
    METADATA,
    RESTORE,
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
)
from running import succeed, treering


def restore_at(what: str, point: Point, folder: Path) -> None:
    top = folder / "tree"
    history = commits(top)
    before = read_tree(top)
    copy(top, folder / "wanted")
    succeed(folder / "wanted", *RESTORE)
    wanted = read_tree(folder / "wanted")
    done = inject(point, what, folder, RESTORE, top)
    check_end(what, done, folder, 3)
    assert done.code != 0 or read_tree(top) == wanted
    check_whole(top)
    assert commits(top) == history
    if (top / ".treering" / "tracker" / "restore").exists():
        assert done.code != 0
        refused = treering(top, "commit", "-m", "must not be")
        assert refused.code == 11, refused
        assert "restore" in refused.err and "hint: " in refused.err
        succeed(top, *RESTORE)
    else:  # not begun, or done, or done but for what was said
        assert done.code == 3 or read_tree(top) in (before, wanted)
        succeed(top, *RESTORE, "--force")
    assert read_tree(top) == wanted
    check_next_commit(top, folder / "out")


@faults(4, 2)
def test_a_restore(two_commits: Path, tmp_path: Path, what: str, count: int) -> None:
    calls = [*WRITING, *METADATA]
    fault_each(two_commits, RESTORE, what, count, tmp_path, restore_at, calls=calls)
