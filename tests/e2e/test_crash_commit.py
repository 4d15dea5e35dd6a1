"""kill -9 at any system call that changes something: nothing acknowledged is lost, the repository
is whole, and the next run goes through. Locks die with their holder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from fault_trees import first_tree, read_tree, third_tree
from faulting import (
    COMMIT,
    METADATA,
    REBUILD,
    RESTORE,
    TREERING,
    WRITING,
    Point,
    check_next_commit,
    check_snapshot,
    check_whole,
    commits,
    copy,
    each_point,
    environment,
    inject,
    kill_each,
    points_of,
    repoint,
    sample,
    some_or_all,
    succeed,
    treering,
    was_injected,
)

KILL = "signal=SIGKILL"


def kill_commit(point: Point, folder: Path) -> None:
    top = folder / "tree"
    (old,) = commits(top)
    before = read_tree(top)
    done = inject(point, KILL, folder, COMMIT, top)
    assert done.code in (0, -9), done
    assert read_tree(top) == before
    after = commits(top)
    assert after[-1] == old
    assert len(after) == 1 if "] second" not in done.out and done.code == 0 else len(after) <= 2
    if done.code == 0:
        assert len(after) == 2
    check_whole(top)
    if len(after) == 2:
        check_snapshot(top, folder / "second")
    third_tree(top)
    check_next_commit(top, folder / "out")
    assert commits(top)[-len(after) :] == after


@some_or_all(25)
def test_a_killed_commit_loses_nothing(one_commit: Path, tmp_path: Path, count: int) -> None:
    kill_each(one_commit, COMMIT, count, tmp_path, kill_commit)


def kill_first_commit(point: Point, folder: Path) -> None:
    top = folder / "tree"
    done = inject(point, KILL, folder, ["commit", "-m", "first"], top)
    assert done.code in (0, -9), done
    log = treering(top, "log", "--oneline")
    assert log.code == 0 or "no commits yet" in log.err, log
    assert log.code == 0 or done.code != 0
    check_whole(top)
    third_tree(top)
    check_next_commit(top, folder / "out")


@some_or_all(8)
def test_a_killed_first_commit_leaves_an_empty_repository(tmp_path: Path, count: int) -> None:
    folder = tmp_path / "template"
    (folder / "tree").mkdir(parents=True)
    succeed(folder / "tree", "init")
    first_tree(folder / "tree")
    kill_each(folder, ["commit", "-m", "first"], count, tmp_path, kill_first_commit)


def kill_restore(point: Point, folder: Path) -> None:
    top = folder / "tree"
    history = commits(top)
    before = read_tree(top)
    copy(top, folder / "wanted")
    succeed(folder / "wanted", *RESTORE)
    wanted = read_tree(folder / "wanted")
    done = inject(point, KILL, folder, RESTORE, top)
    assert done.code in (0, -9), done
    check_whole(top)
    assert commits(top) == history
    refused = treering(top, "commit", "-m", "must not be")
    if (top / ".treering" / "tracker" / "restore").exists():
        assert done.code == -9
        assert refused.code == 11, refused
        assert "restore" in refused.err and "hint: " in refused.err
        succeed(top, *RESTORE)
    else:  # not begun, or done
        assert refused.code == 0, refused
        assert read_tree(top) in (before, wanted)
        succeed(top, *RESTORE[:2], history[1], *RESTORE[3:])
    assert read_tree(top) == wanted
    check_next_commit(top, folder / "out")


@some_or_all(16)
def test_a_killed_restore_can_be_finished(two_commits: Path, tmp_path: Path, count: int) -> None:
    kill_each(two_commits, RESTORE, count, tmp_path, kill_restore, [*WRITING, *METADATA])


def kill_rebuild(point: Point, folder: Path) -> None:
    top = folder / "tree"
    history = commits(top)
    done = inject(point, KILL, folder, REBUILD, top)
    assert done.code in (0, -9), done
    assert commits(top) == history
    again = treering(top, *REBUILD)
    assert again.code == 0, again
    check_whole(top)
    third_tree(top)
    check_next_commit(top, folder / "out")


@some_or_all(8)
def test_a_killed_rebuild_of_the_index_is_repeated(
    two_commits: Path, tmp_path: Path, count: int
) -> None:
    kill_each(two_commits, REBUILD, count, tmp_path, kill_rebuild)


def kill_rebuild_then_commit(point: Point, folder: Path) -> None:
    top = folder / "tree"
    inject(point, KILL, folder, REBUILD, top)
    third_tree(top)
    succeed(top, "commit", "-m", "without a second rebuild")
    check_whole(top)
    check_snapshot(top, folder / "out")


@some_or_all(6)
def test_a_commit_goes_through_after_a_killed_rebuild(
    two_commits: Path, tmp_path: Path, count: int
) -> None:
    kill_each(two_commits, REBUILD, count, tmp_path, kill_rebuild_then_commit)


# -- push ----------------------------------------------------------------------------------------


def kill_push(point: Point, folder: Path) -> None:
    top, remote = folder / "tree", folder / "remote"
    repoint(folder)
    new, *old = commits(top)
    assert commits(remote) == old
    done = inject(point, KILL, folder, ["push"], top)
    assert done.code in (0, -9), done
    there = commits(remote)
    assert there in (old, [new, *old])
    assert done.code != 0 or there == [new, *old]
    check_whole(remote)
    check_whole(top)
    succeed(top, "push")
    assert commits(remote) == [new, *old]
    check_whole(remote)
    succeed(folder, "clone", "remote", "copy")
    assert read_tree(folder / "copy") == read_tree(top)


@some_or_all(15)
def test_a_killed_push_loses_nothing(with_remote: Path, tmp_path: Path, count: int) -> None:
    kill_each(with_remote, ["push"], count, tmp_path, kill_push)


SEVERAL = ["push", "origin", "main", "side:new", "+side:old", ":gone"]


@pytest.fixture(scope="module")
def with_branches(with_remote: Path) -> Path:
    """A case whose next push makes, forces, deletes and forwards branches of the remote."""
    folder = with_remote.with_name("branches")
    copy(with_remote, folder)
    repoint(folder)
    top = folder / "tree"
    succeed(top, "branch", "side", "HEAD~2")
    succeed(top, "push", "origin", "HEAD~1:old", "HEAD~1:gone")
    return folder


def branches(remote: Path) -> dict[str, str]:
    listed = succeed(remote, "branch", "--json").json()
    return {ref["name"]: ref["commit"] for ref in listed}


def kill_push_of_several(point: Point, folder: Path) -> None:
    top, remote = folder / "tree", folder / "remote"
    repoint(folder)
    new, middle, first = commits(top)
    before = {"main": middle, "old": middle, "gone": middle}
    after = {"main": new, "new": first, "old": first}
    assert branches(remote) == before
    done = inject(point, KILL, folder, SEVERAL, top)
    assert done.code in (0, -9), done
    # Whoever asks the remote for its refs finds all of them moved, or none.
    shown = succeed(top, "remote", "show", "origin", "--json").json()["refs"]
    there = {name.removeprefix("refs/heads/"): commit for name, commit in shown.items()}
    assert there in (before, after)
    assert done.code != 0 or there == after
    check_whole(remote)
    check_whole(top)
    succeed(top, *(SEVERAL if there == before else SEVERAL[:-1]))
    assert branches(remote) == after
    check_whole(remote)


@some_or_all(10)
def test_a_killed_push_of_several_refs_moves_all_or_none(
    with_branches: Path, tmp_path: Path, count: int
) -> None:
    """At the points where the remote's history changes: others are those of any push."""
    points = points_of(with_branches, SEVERAL, WRITING)
    points = [point for point in points if point.path.startswith("remote/history/")]
    each_point(sample(points, count), with_branches, tmp_path / "cases", kill_push_of_several)


# -- locks ---------------------------------------------------------------------------------------


def holder(top: Path) -> subprocess.Popen[bytes]:
    """A commit stopped while it holds the lock: it waits to read a FIFO that nobody writes."""
    script = (
        "import sys; from pathlib import Path; from treering.store.repository import Repository\n"
        "with Repository(Path(sys.argv[1])).lock('commit', 'a commit'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [str(Path(TREERING).with_name("python")), "-c", script, str(top / ".treering")],
        env=environment(top),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate(timeout=30)


def test_a_commit_waits_for_the_lock_and_a_killed_holder_frees_it(case: Path) -> None:
    top = case / "tree"
    process = holder(top)
    try:
        refused = treering(top, "commit", "-m", "no", "--wait", "0.2")
        assert refused.code == 11, refused
        assert "a commit is running in another process" in refused.err
        assert "hint: " in refused.err
        assert treering(top, "status").code == 0
        assert len(commits(top)) == 1
    finally:
        end(process)
    succeed(top, "commit", "-m", "yes", "--wait", "0.2")
    assert len(commits(top)) == 2


def test_leftover_git_locks_go_with_the_next_commit(case: Path) -> None:
    top = case / "tree"
    history = top / ".treering" / "history"
    left = [history / "HEAD.lock", history / "refs" / "heads" / "main.lock"]
    left += [history / "config.lock", history / "packed-refs.lock"]
    for path in left:
        path.touch()
    succeed(top, *COMMIT)
    assert not [path for path in left if path.exists()]
    check_whole(top)


def test_two_commits_at_once_both_end_fine(case: Path, tmp_path: Path) -> None:
    top = case / "tree"
    processes = [
        subprocess.Popen(
            [TREERING, "commit", "--allow-empty", "-m", f"at once {number}"],
            cwd=top,
            env=environment(top),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(3)
    ]
    ends = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ends
    assert len(commits(top)) == 4
    check_whole(top)
    check_snapshot(top, tmp_path / "out")


def test_readers_go_on_beside_a_killed_writer(case: Path, tmp_path: Path) -> None:
    """A reader that was killed leaves nothing that stops the next writer."""
    top = case / "tree"
    point = Point("pread64", 1)
    inject(point, KILL, case, ["cat", "HEAD:large"], top)
    assert was_injected(case)
    check_next_commit(top, tmp_path / "out")
