"""What was acknowledged survives a power cut: before anything names it, it is on disk. A kill alone
would not tell, since the kernel keeps what a process has written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_trees import second_tree, third_tree
from faulting import copy, first_commit, repoint
from power_cut import Call, Disk, traced
from running import succeed

Names = Callable[[Call], bool]


def objects(repository: Path) -> tuple[Path, ...]:
    """Where lies what a ref leads to."""
    return repository / "packs", repository / "marks", repository / "history" / "objects"


def replay(disk: Disk, calls: list[Call], names: Names, *needed: Path) -> Disk:
    """The disk at the end. Whenever a call `names` something, nothing of what is needed for it may
    be lost."""
    met = 0
    for call in calls:
        if names(call):
            met += 1
            assert disk.lost(*needed) == set(), call
        disk.apply(call)
    assert met
    return disk


def moves(*paths: Path) -> Names:
    """Something gets one of these names, or loses it."""
    wanted = set(map(str, paths))

    def names(call: Call) -> bool:
        made = call.name.startswith(("rename", "link")) and call.paths[-1] in wanted
        return made or (call.name.startswith("unlink") and call.paths[0] in wanted)

    return names


@pytest.mark.parametrize("first", [True, False])
def test_a_commit(tmp_path: Path, first: bool) -> None:
    top = tmp_path / "tree"
    first_commit(top)
    if first:
        shutil.rmtree(top / ".treering")
        succeed(top, "init")
    else:
        second_tree(top)
    repository = top / ".treering"
    before = Disk(top)
    calls = traced(top, ["commit", "-m", "one more"])
    main = repository / "history" / "refs" / "heads" / "main"
    disk = replay(before, calls, moves(main), *objects(repository))
    refs = repository / "history" / "refs"
    assert disk.lost(*objects(repository), refs) == set()


def test_the_index_knows_a_pack_only_when_that_is_there(tmp_path: Path) -> None:
    top = tmp_path / "tree"
    first_commit(top)
    second_tree(top)
    before = Disk(top)
    calls = traced(top, ["commit", "-m", "one more"])
    data = str(top / ".treering" / "index" / "data.mdb")
    packs = top / ".treering" / "packs"
    replay(before, calls, lambda call: call.name != "openat" and data in call.paths, packs)


def test_a_push(with_remote: Path, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    copy(with_remote, folder)
    repoint(folder)
    remote = folder / "remote"
    before = Disk(folder)
    calls = traced(folder / "tree", ["push"])
    main = remote / "history" / "refs" / "heads" / "main"
    disk = replay(before, calls, moves(main), *objects(remote))
    assert disk.lost(*objects(remote), remote / "history" / "refs") == set()


def test_a_push_of_several_refs(with_remote: Path, tmp_path: Path) -> None:
    """What names them all is there before the first of them moves."""
    folder = tmp_path / "case"
    copy(with_remote, folder)
    repoint(folder)
    top, remote = folder / "tree", folder / "remote"
    succeed(top, "branch", "side", "HEAD~1")
    before = Disk(folder)
    calls = traced(top, ["push", "origin", "main", "side"])
    history = remote / "history"
    heads = history / "refs" / "heads"
    named = moves(heads / "main", heads / "side")
    disk = replay(before, calls, named, *objects(remote), history / "moving")
    assert disk.lost(*objects(remote), heads, history / "moving") == set()


def test_a_branch_in_folders_of_its_own(two_commits: Path, tmp_path: Path) -> None:
    """Each folder on the way is made with it, and goes with it."""
    copy(two_commits, tmp_path / "case")
    top = tmp_path / "case" / "tree"
    refs = top / ".treering" / "history" / "refs"
    branch = refs / "heads" / "a" / "b" / "c"
    for arguments in (["branch", "a/b/c"], ["branch", "-d", "a/b/c"]):
        disk = Disk(top)
        disk = replay(disk, traced(top, arguments), moves(branch), *objects(top / ".treering"))
        assert disk.lost(refs) == set()
        assert branch.exists() == ("-d" not in arguments)


def test_a_restore_in_place(two_commits: Path, tmp_path: Path) -> None:
    """Its log is there before the first file changes, and goes when all are on disk."""
    copy(two_commits, tmp_path / "case")
    top = tmp_path / "case" / "tree"
    log = top / ".treering" / "tracker" / "restore"
    third_tree(top)
    before = Disk(top)
    calls = traced(top, ["restore", "--source", "HEAD~1", "--force", "--delete"])
    files = [path for path in top.iterdir() if path.name != ".treering"]
    files += [top / "third", top / "fresh"]
    replay(before, calls, lambda call: moves(log)(call) and "unlink" in call.name, *files)

    def changes_a_file(call: Call) -> bool:
        in_tree = call.paths[0].startswith(f"{top}/") and "/.treering" not in call.paths[0]
        return in_tree and (call.name != "openat" or "O_CREAT" in call.text)

    replay(Disk(top), calls, changes_a_file, log)


def test_a_switch(two_commits: Path, tmp_path: Path) -> None:
    """HEAD moves when the tree is on disk, and the log goes when HEAD is."""
    copy(two_commits, tmp_path / "case")
    top = tmp_path / "case" / "tree"
    succeed(top, "branch", "old", "HEAD~1")
    log, head = top / ".treering" / "tracker" / "restore", top / ".treering" / "history" / "HEAD"
    files = [path for path in top.iterdir() if path.name != ".treering"]
    calls = traced(top, ["switch", "old"])
    replay(Disk(top), calls, moves(head), *files, log)
    replay(Disk(top), calls, lambda call: "unlink" in call.name and moves(log)(call), head)
