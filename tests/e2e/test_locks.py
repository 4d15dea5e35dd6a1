"""Locks die with their holder, and leftovers of killed commands stop nobody."""

from __future__ import annotations

import subprocess
from pathlib import Path

from faulting import (
    COMMIT,
    KILL,
    Point,
    check_next_commit,
    check_snapshot,
    check_whole,
    commits,
    inject,
    was_injected,
)
from running import TREERING, environment, succeed, treering


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
