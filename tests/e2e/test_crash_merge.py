"""A merge, and giving one up, killed or refused by the disk at any system call that changes
something: it can be finished, it can be taken back, and what is not committed is there in both
cases."""

from __future__ import annotations

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
)
from running import succeed, treering

MERGE = ["merge", "night"]
ABORT = ["merge", "--abort"]


def prepare(template: Path, folder: Path, *, clash: bool) -> Path:
    """Two commits on main; `night` from the first of them, with changes elsewhere, and, for a
    clash, in a file that main changed, too. Something is not committed."""
    copy(template, folder)
    top = folder / "tree"
    succeed(top, "switch", "-c", "night", "HEAD~1")
    write(top / "text", b"night\n" * 1000)
    write(top / "sub" / "new" / "file", b"night")
    (top / "many" / "007").unlink()
    if clash:
        write(top / "many" / "003", b"of the night")
    succeed(top, "commit", "-m", "night")
    succeed(top, "switch", "main")
    edit(top)
    return folder


def merge_at(what: str, point: Point, folder: Path) -> None:
    top = folder / "tree"
    before, history = read_tree(top), commits(top)
    copy(top, folder / "wanted")
    succeed(folder / "wanted", *MERGE)
    wanted = read_tree(folder / "wanted")
    done = inject(point, what, folder, MERGE, top)
    check_end(what, done, folder)
    check_whole(top)
    if (top / ".treering" / "tracker" / "restore").exists():
        refused = treering(top, "commit", "-m", "must not be")
        assert refused.code == 11 and "treering merge --continue" in refused.err, refused
        if zlib.crc32(repr(point).encode()) % 2:
            gone_back = treering(top, *ABORT)
            assert gone_back.code == (0 if commits(top) == history else 11), gone_back
        else:
            succeed(top, "merge", "--continue")
    merged = commits(top) != history
    assert read_tree(top) == (wanted if merged else before)
    if not merged:
        succeed(top, *MERGE)
        assert read_tree(top) == wanted
    assert len(commits(top)) == len(history) + 2
    check_next_commit(top, folder / "out")


@pytest.fixture(scope="module")
def clean(two_commits: Path) -> Path:
    return prepare(two_commits, two_commits.with_name("clean"), clash=False)


@faults(3, 1)
def test_a_merge(clean: Path, tmp_path: Path, what: str, count: int) -> None:
    calls = [*WRITING, *METADATA]
    fault_each(clean, MERGE, what, count, tmp_path, merge_at, calls=calls)


def clash_at(what: str, point: Point, folder: Path) -> None:
    """A merge with a conflict, and then giving it up, both with the same fault."""
    top = folder / "tree"
    before, history = read_tree(top), commits(top)
    done = inject(point, what, folder, MERGE, top)
    check_end(what, done, folder, 11)
    assert done.code != 0
    check_whole(top)
    assert commits(top) == history
    if (top / ".treering" / "tracker" / "restore").exists():
        assert treering(top, "merge", "--continue").code == 11
    elif "Merging" not in succeed(top, "status").out:
        assert read_tree(top) == before
        assert treering(top, *MERGE).code == 11
    assert (top / "many" / "003~night").read_bytes() == b"of the night"
    assert (top / "many" / "003").read_bytes() == b"replaced"
    assert treering(top, "commit", "-m", "must not be").code == 11
    check_end(what, inject(point, what, folder, ABORT, top), folder)
    if treering(top, *ABORT).code == 2:  # it had come to its end
        assert "Merging" not in succeed(top, "status").out
    assert read_tree(top) == before
    assert commits(top) == history
    check_next_commit(top, folder / "out")


@pytest.fixture(scope="module")
def clash(two_commits: Path) -> Path:
    return prepare(two_commits, two_commits.with_name("clash"), clash=True)


@faults(3, 1)
def test_a_merge_with_a_conflict(clash: Path, tmp_path: Path, what: str, count: int) -> None:
    calls = [*WRITING, *METADATA]
    fault_each(clash, MERGE, what, count, tmp_path, clash_at, calls=calls, code=11)


def test_a_merge_that_was_killed_after_its_commit_does_not_come_back(
    two_commits: Path, tmp_path: Path
) -> None:
    folder = prepare(two_commits, tmp_path / "case", clash=True)
    top = folder / "tree"
    assert treering(top, *MERGE).code == 11
    succeed(top, "merge", "--theirs")
    state = top / ".treering" / "tracker" / "merge"
    point = Point("unlink", 1, str(state.relative_to(folder)))
    assert inject(point, KILL, folder, ["merge", "--continue"], top).code == -9
    assert state.exists() and len(commits(top)) == 4
    write(top / "after", b"the merge")
    succeed(top, "commit", "-m", "after")
    assert "Merging" not in succeed(top, "status").out
    succeed(top, "switch", "night")


def test_what_is_said_of_merges_that_were_interrupted(two_commits: Path, tmp_path: Path) -> None:
    folder = prepare(two_commits, tmp_path / "case", clash=True)
    top = folder / "tree"
    point = Point("syncfs", 1)
    assert inject(point, KILL, folder, MERGE, top).code == -9
    for command in (["merge"], ["merge", "--theirs"], ["merge", "--ours", "many/003"]):
        assert "was interrupted" in treering(top, *command).err
    went_on = treering(top, "merge", "--json", "--continue")
    (left,) = went_on.json["conflicts"]
    assert went_on.code == 11 and left["path"] == "many/003"
    assert "a merge of 'night' is not finished" in treering(top, "merge").err
    assert inject(point, KILL, folder, ABORT, top).code == -9
    told = succeed(top, "status").out
    assert "A merge abort of " in told and "(finish it with: treering merge --abort)" in told
    assert "go back" not in told and "settled" not in told
    refused = treering(top, "merge", "--continue")
    assert refused.code == 11 and "hint: finish it with: treering merge --abort\n" in refused.err
    succeed(top, *ABORT)
