"""Commits that start reader processes: the same result as without, and processes that die, stay
behind, are interrupted or meet a full disk."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_trees import Work, fingerprint, finished, settle

from treering.store.history import Person
from treering.store.packfile import read_footer
from treering.store.repository import Repository
from treering.tracker import reading
from treering.tracker.snapshot import Request, commit

MIB = 1 << 20
MANY = 2 * reading.MANY_FILES
"""Files that make a commit start processes, with as many left to read."""


def grow(work: Work, count: int = MANY, size: int = 8192) -> int:
    """Many small files of noise; the bytes in them."""
    for number in range(count):
        work.write(f"{number % 10}/{number:05}", os.urandom(size))
    return count * size


# -- the result ------------------------------------------------------------------------------------


def mixed(top: Path) -> None:
    """Files that are alike, sparse, empty, linked, large and small; the same bytes each time."""
    source = random.Random(5)
    few = [source.randbytes(3 + 700 * number) for number in range(60)]
    for number in range(1500):
        folder = top / f"{number % 13}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}").write_bytes(few[number * 7 % 60])
    large = source.randbytes(9 * MIB)
    for name in ("large", "0/the same", "7/the same"):
        (top / name).write_bytes(large)
    with (top / "sparse").open("wb") as file:
        file.truncate(40 * MIB)
        file.seek(20 * MIB + 77)
        file.write(b"in the middle")
    (top / "empty").touch()
    os.link(top / "3" / "3", top / "4" / "linked")
    settle(top)


def commit_with(folder: Path, top: Path, many: int, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository in `folder` with a commit of `top`, made with processes from so many files."""
    monkeypatch.setattr(reading, "MANY_FILES", many)
    monkeypatch.setattr(reading, "MANY_BYTES", many * MIB)
    Repository.create(folder)
    repository = Repository(folder, threads=3)
    who = Person("Ann", "ann@example.org", 1)
    outcome = commit(repository, top, Request("m", who, who))
    assert outcome.commit is not None and outcome.report.problem_count == 0
    return repository


def root_of(repository: Repository) -> bytes:
    head = repository.history.head()
    assert head is not None
    return bytes(repository.history.commit(head).root)


def test_processes_and_threads_make_the_same_root(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed(work.top)
    made = []
    for name, many in (("threads", 10**9), ("all", 0), ("some", 500)):
        repository = commit_with(tmp_path / name, work.top, many, monkeypatch)
        made.append(root_of(repository))
        repository.close()
    assert made[1:] == made[:1] * 2
    work("-C", str(tmp_path / "all"), "fsck", "--read-data")
    out = tmp_path / "out"
    work("-C", str(tmp_path / "all"), "restore", "--target", str(out))
    assert fingerprint(out) == fingerprint(work.top)


def test_what_several_processes_meet_is_stored_once(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed(work.top)
    monkeypatch.setattr(reading, "BATCH_FILES", 3)  # so that equal files are met at once
    repository = commit_with(tmp_path / "made", work.top, 0, monkeypatch)
    packs = list((tmp_path / "made" / "packs").iterdir())
    stored = Counter(entry.key for path in packs for entry in read_footer(path))
    assert len(packs) > 2, "one process read all"
    assert set(stored.values()) == {1}
    assert len(repository.store.index) == len(stored)
    repository.close()


# -- the user's data is no code --------------------------------------------------------------------


def test_modules_in_the_tree_are_not_imported(work: Work) -> None:
    grow(work)
    for name in ("msgspec", "lmdb", "signal", "treering"):
        work.write(f"{name}.py", "raise SystemExit('imported from the tree')")
    work.commit()
    work("fsck", "--read-data")


def test_a_repository_whose_path_is_not_utf8(work: Work, tmp_path: Path) -> None:
    top = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    work.top.rename(top)
    moved = Work(work.home, top)
    grow(moved)
    moved.commit()
    moved("fsck", "--read-data")
    assert moved.changes() == {}


def test_a_pid_namespace_without_a_proc_of_its_own(work: Work) -> None:
    """Our number there is that of a stranger in /proc."""
    grow(work)
    Work(work.home, work.top, ["unshare", "--pid", "--fork"])("commit", "-m", "in there")
    assert len([entry for entry in work.ls().values() if entry["kind"] == "file"]) == MANY
    work("fsck", "--read-data")


# -- processes that die ----------------------------------------------------------------------------


def workers_of(parent: int) -> list[int]:
    """The ids of the live reader processes of a command."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, its_parent = (path / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            reads = b"treering.tracker.read_worker" in (path / "cmdline").read_bytes()
        except OSError:
            continue
        if reads and state not in "ZX" and int(its_parent) == parent:
            found.append(int(path.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def until(true: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    while not true():
        assert process.poll() is None, "the command has ended before"
        time.sleep(0.001)


@contextmanager
def held(work: Work, ready: Callable[[list[int]], object]) -> Iterator[subprocess.Popen[bytes]]:
    """A commit that is stopped when it has workers and `ready` is true of them; it goes on after
    the block."""
    wrapper = ["setsid", "env", "--default-signal=INT"]  # which a run in the background ignores
    process = Work(work.home, work.top, wrapper).start("commit", "-m", "held")
    try:
        until(lambda: (pids := workers_of(process.pid)) and ready(pids), process)
        process.send_signal(signal.SIGSTOP)
        yield process
        process.send_signal(signal.SIGCONT)
    except BaseException:
        process.kill()
        process.communicate()
        raise


def storing(work: Work) -> Callable[[list[int]], bool]:
    """Whether one of the workers has begun a pack."""
    tmp = work.top / ".treering" / "tmp"

    def look(pids: list[int]) -> bool:
        return any(list(tmp.glob(f"pack-{pid}-*")) for pid in pids)

    return look


def heads(work: Work) -> list[str]:
    return [commit["commit"] for commit in work("log", "--json").json]


def leftovers(work: Work) -> list[Path]:
    return list((work.top / ".treering" / "tmp").glob("pack-*"))


def check_next(work: Work, target: Path) -> None:
    work.commit("next")
    work("fsck", "--read-data")
    assert fingerprint(work.restored(target)) == fingerprint(work.top)
    assert leftovers(work) == []


@pytest.fixture
def begun(work: Work) -> Work:
    """A tree with a small commit, and much that is new since."""
    work.write("small", "x")
    work.commit("first")
    grow(work, 5 * MANY)
    return work


def test_a_worker_that_is_killed_fails_the_commit(begun: Work, tmp_path: Path) -> None:
    before = heads(begun)
    with held(begun, storing(begun)) as process:
        os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    done = finished(process, 1)
    assert done.err == "treering: a worker process died\n"
    assert heads(begun) == before
    check_next(begun, tmp_path / "out")


def test_workers_outlive_a_killed_command_only_to_keep_what_they_have(
    begun: Work, tmp_path: Path
) -> None:
    before = heads(begun)
    with held(begun, storing(begun)) as process:
        pids = workers_of(process.pid)
        process.kill()
    done = finished(process, -signal.SIGKILL)
    while any(alive(pid) for pid in pids):
        time.sleep(0.01)
    assert done.err == ""
    assert heads(begun) == before
    packs = list((begun.top / ".treering" / "packs").iterdir())
    kept = sum(path.stat().st_size for path in packs)
    assert kept > 8192
    made = begun.commit("next")
    assert made["change"]["stored"] < made["change"]["size"] - kept // 2
    begun("fsck", "--read-data")
    assert fingerprint(begun.restored(tmp_path / "out")) == fingerprint(begun.top)


def test_an_interrupt_of_the_command(begun: Work, tmp_path: Path) -> None:
    before = heads(begun)
    with held(begun, storing(begun)) as process:
        pids = workers_of(process.pid)
        process.send_signal(signal.SIGINT)
    done = finished(process, 130)
    assert done.err.lstrip() == "treering: interrupted\n"
    assert not any(alive(pid) for pid in pids)
    assert leftovers(begun) == []
    assert heads(begun) == before
    check_next(begun, tmp_path / "out")


@pytest.mark.parametrize("early", [True, False], ids=["early", "storing"])
def test_an_interrupt_of_all_in_the_foreground(begun: Work, tmp_path: Path, early: bool) -> None:
    """As the terminal sends it, also to workers that have only just been started."""
    with held(begun, len if early else storing(begun)) as process:
        os.killpg(process.pid, signal.SIGINT)
    done = finished(process, 130)
    assert done.err.lstrip() == "treering: interrupted\n"
    assert leftovers(begun) == []
    check_next(begun, tmp_path / "out")


# -- a full disk -----------------------------------------------------------------------------------


def test_a_full_disk_met_by_a_worker(work: Work, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", disk], check=True)
    try:
        other = Work(work.home, tmp_path / "other")
        other.top.mkdir()
        other("init", "-q", "--repo", str(disk / "repository"))
        other.write("small", "x")
        other.commit("first")
        before = heads(other)
        grow(other, MANY, 10)
        for number in range(30):
            other.write(f"later/{number}", os.urandom(MIB))
        done = other("commit", "-m", "too much", code=1)
        full = "treering: writing a pack: No space left on device\n"
        assert done.err == full + "hint: free some space and run it again\n"
        assert heads(other) == before
        assert list((disk / "repository" / "tmp").glob("pack-*")) == []
        other("fsck", "--read-data")
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        other.commit("next")
        other("fsck", "--read-data")
        assert fingerprint(other.restored(tmp_path / "out")) == fingerprint(other.top)
    finally:
        subprocess.run(["umount", disk], check=True)
