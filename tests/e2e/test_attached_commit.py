"""A commit of an attached tree is made of the maps, and says what a scan of the tree would have
said at the instant of the freeze, whatever happens to it before it is read."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from attached_trees import attached, away, driver, some_files, take_off, told
from live_trees import Work, make_home
from random_changes import Changes, copied, give_name, root_of

from treering.store.errors import StorageError
from treering.store.history import Person
from treering.store.repository import Repository
from treering.tracker.capture import build
from treering.tracker.capture.plan import Plan
from treering.tracker.live_top import live_top
from treering.tracker.snapshot import Outcome, Request, commit

ROUNDS = 4
SEEDS = 60 if os.environ.get("TREERING_LONG") == "1" else 3
BLOCK = 65536
SOMEBODY = Person("Somebody", "somebody@example", 0, 0)
Step = Callable[[Path], object]


@pytest.fixture
def here(work: Work) -> Work:
    return some_files(work)


@pytest.fixture
def commit_late(monkeypatch: pytest.MonkeyPatch) -> Callable[[Work, Step], Outcome]:
    """Commit, with something that happens between the freeze and all reading."""

    def act(work: Work, between: Step) -> Outcome:
        def plan(*rows: object) -> Plan:
            between(work.top)
            return Plan(*rows)  # type: ignore[arg-type]

        monkeypatch.setattr(build, "Plan", plan)
        repository = Repository(work.top / ".treering")
        try:
            return commit(repository, work.top, Request("late", SOMEBODY, SOMEBODY))
        finally:
            repository.close()

    return act


@pytest.mark.parametrize("seed", range(SEEDS))
def test_it_is_what_a_scan_of_a_copy_says(here: Work, tmp_path: Path, seed: int) -> None:
    """Same content, same root: whatever had been done, and from where it is known."""
    changes = Changes(here.top, seed)
    changes.some(60)
    away(here, "commit", "-m", "before", "--allow-empty")
    roots, copies = [], []
    with attached(here):
        for number in range(ROUNDS):
            changes.some(25)
            copies.append(copied(here.top, tmp_path / f"copy{number}"))
            done = away(here, "commit", "-m", f"{number}", "--allow-empty", "--json").json
            roots.append(done["root"])
            assert done["pause_seconds"] is not None, "a scan made it"
            assert told(here) == ({}, 0)
    assert roots == [root_of(here, copy) for copy in copies]


@pytest.mark.parametrize("seed", range(100, 100 + SEEDS))
def test_what_happens_after_the_freeze_is_not_in_it(
    here: Work, tmp_path: Path, seed: int, commit_late: Callable[[Work, Step], Outcome]
) -> None:
    changes = Changes(here.top, seed)
    changes.some(60)
    away(here, "commit", "-m", "before", "--allow-empty")
    roots, copies = [], []
    with attached(here):
        for number in range(ROUNDS):
            changes.some(20)
            copies.append(copied(here.top, tmp_path / f"copy{number}"))
            done = commit_late(here, lambda _: changes.some(20))
            assert done.pause is not None, "a scan made it"
            roots.append(done.root.hex())
        copies.append(copied(here.top, tmp_path / "last"))
        roots.append(away(here, "commit", "-m", "last", "--json").json["root"])
        assert told(here) == ({}, 0)
    assert roots == [root_of(here, copy) for copy in copies]


class Case(NamedTuple):
    """What is there at the last commit, what changes before the freeze, and after it."""

    before: Step
    changes: Step
    between: Step


def nothing(_top: Path) -> None:
    pass


def both(*steps: Step) -> Step:
    def act(top: Path) -> None:
        for step in steps:
            step(top)

    return act


def fill(path: str, size: int, seed: bytes = b"x") -> Step:
    return lambda top: (top / path).write_bytes(seed * size)


def write(path: str, offset: int, data: bytes) -> Step:
    def act(top: Path) -> None:
        with (top / path).open("r+b") as file:
            file.seek(offset)
            file.write(data)

    return act


def move(old: str, new: str) -> Step:
    return lambda top: os.rename(top / old, top / new)


def remove(path: str) -> Step:
    return lambda top: (top / path).unlink()


def remove_all(path: str) -> Step:
    return lambda top: shutil.rmtree(top / path)


def make(path: str) -> Step:
    return lambda top: (top / path).mkdir()


def mark(path: str, value: bytes) -> Step:
    return lambda top: os.setxattr(top / path, "user.mark", value)


def remake_with_its_inode(top: Path) -> None:
    """Most file systems give the number of a deleted file to the next one."""
    os.unlink(top / "deleted")
    for number in range(20):
        (top / f"made{number}").write_bytes(b"another one")


def grow(top: Path) -> None:
    with (top / "tail").open("ab") as file:
        file.write(b"y" * 2 * BLOCK)


CASES = {
    "an ancestor renamed after the freeze": Case(
        nothing,
        both(write("d/e/b", 0, b"new"), fill("d/e/made", 10)),
        both(move("d", "other"), move("other/e", "e"), write("e/b", 1, b"er")),
    ),
    "a clean folder renamed": Case(
        lambda top: shutil.copytree(top / "d", top / "many"), move("many", "d/many"), nothing
    ),
    "a clean folder renamed after the freeze": Case(
        nothing, fill("n", 5), both(move("d", "x"), write("x/a", 0, b"later"))
    ),
    "a file written by one of two names": Case(
        nothing, write("d/n2", 0, b"by its other name"), write("n", 0, b"later")
    ),
    "a name less": Case(nothing, remove("n"), nothing),
    "a name more": Case(nothing, lambda top: os.link(top / "d/a", top / "d/e/a2"), remove("d/a")),
    "a grown file's old tail block": Case(
        fill("tail", BLOCK + 10), both(grow, grow), both(grow, write("tail", BLOCK + 5, b"zz"))
    ),
    "a file deleted, and its number used again": Case(
        nothing, fill("deleted", 3 * BLOCK), remake_with_its_inode
    ),
    "a folder replaced by a file": Case(
        nothing,
        both(remove_all("gone"), fill("gone", 6)),
        both(remove("gone"), make("gone")),
    ),
    "a file replaced by a folder": Case(
        nothing,
        both(remove("disk"), make("disk"), fill("disk/f", 9)),
        remove_all("disk"),
    ),
    "a tree deleted before it is read": Case(
        nothing,
        lambda top: shutil.copytree(top / "d", top / "new"),
        remove_all("new"),
    ),
    "a large file cut after the freeze": Case(
        fill("large", 200 * BLOCK),
        fill("large", 200 * BLOCK, b"y"),
        lambda top: os.truncate(top / "large", 5),
    ),
    "attributes": Case(
        nothing,
        both(lambda top: os.chmod(top / "d/a", 0o600), mark("d", b"1")),
        both(lambda top: os.chmod(top / "d/a", 0o777), mark("d", b"2"), mark("n", b"3")),
    ),
    "a symlink": Case(
        nothing,
        lambda top: os.symlink("where it led", top / "new"),
        both(remove("new"), lambda top: os.symlink("elsewhere", top / "new")),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_case(
    here: Work, tmp_path: Path, case: Case, commit_late: Callable[[Work, Step], Outcome]
) -> None:
    case.before(here.top)
    away(here, "commit", "-m", "before", "--allow-empty")
    with attached(here):
        case.changes(here.top)
        copy = copied(here.top, tmp_path / "copy")
        done = commit_late(here, case.between)
        assert done.pause is not None, "a scan made it"
        assert done.root.hex() == root_of(here, copy)
        check_the_next(here, tmp_path)


def check_the_next(work: Work, tmp_path: Path) -> None:
    """All that happened since is in the next commit, and then there is nothing left."""
    copy = copied(work.top, tmp_path / "next")
    done = away(work, "commit", "-m", "next", "--allow-empty", "--json").json
    assert done["root"] == root_of(work, copy)
    assert told(work) == ({}, 0)


def test_a_file_without_a_name_gets_one_an_era_later(here: Work, tmp_path: Path) -> None:
    with attached(here):
        file = os.open(here.top / "d", os.O_TMPFILE | os.O_RDWR)
        try:
            os.write(file, b"x" * BLOCK)
            away(here, "commit", "-m", "without")
            assert driver(here)["dirty"] == 0
            give_name(file, here.top / "d" / "named")
        finally:
            os.close(file)
        check_the_next(here, tmp_path)


def test_what_comes_from_an_ignored_folder(here: Work, tmp_path: Path) -> None:
    here.write(".treeringignore", "/cache\n")
    here.write("cache/tree/f", "was ignored")
    away(here, "commit", "-m", "rules")
    with attached(here):
        os.rename(here.top / "cache" / "tree", here.top / "tree")
        os.rename(here.top / "d" / "a", here.top / "cache" / "a")
        check_the_next(here, tmp_path)


def test_rules_that_changed(here: Work, tmp_path: Path) -> None:
    here.write(".treeringignore", "*.log\n/gone\n")
    here.write("d/a.log", "ignored")
    away(here, "commit", "-m", "rules")
    with attached(here):
        here.write(".treeringignore", "/n\n")
        here.write("d/b.log", "new")
        check_the_next(here, tmp_path)
        here.write("d/a.log", "known now")
        (tmp_path / "again").mkdir()
        check_the_next(here, tmp_path / "again")


def test_unsynced_stores_of_before_are_in(here: Work, tmp_path: Path) -> None:
    with attached(here), (here.top / "disk").open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
        memory[70_000:70_006] = b"stored"
        root = away(here, "commit", "-m", "stored", "--json").json["commit"]
        away(here, "restore", "--source", root, "disk", "--target", str(tmp_path / "to"))
        assert (tmp_path / "to" / "disk").read_bytes()[70_000:70_006] == b"stored"
        memory.close()


def test_a_commit_that_is_killed_gives_back_what_was_frozen(
    here: Work, tmp_path: Path, commit_late: Callable[[Work, Step], Outcome]
) -> None:
    with attached(here):
        write("disk", 5, b"changed")(here.top)
        fill("made", 10)(here.top)

        def fail(top: Path) -> None:
            write("disk", 100_000, b"later")(top)
            remove("made")(top)
            raise StorageError("it was killed")

        with pytest.raises(StorageError, match="killed"):
            commit_late(here, fail)
        assert told(here)[0] == {"disk": "modified"}
        check_the_next(here, tmp_path)


def test_a_second_commit_waits(here: Work, commit_late: Callable[[Work, Step], Outcome]) -> None:
    with attached(here):
        write("n", 0, b"first")(here.top)
        second: list[subprocess.Popen[bytes]] = []

        def start(top: Path) -> None:
            write("d/a", 0, b"second")(top)
            words = ("-C", str(top), "commit", "-m", "second", "--json")
            second.append(here.start(*words, cwd=here.home))
            time.sleep(0.5)
            assert second[0].poll() is None

        assert commit_late(here, start).commit is not None
        assert b'"committed": true' in second[0].communicate()[0]
        assert told(here) == ({}, 0)


def base_of(work: Work) -> str:
    """The root that the maps are relative to."""
    return str(driver(work)["base"])


def two_commits(work: Work) -> tuple[str, str]:
    first = away(work, "log", "--json", "-n", "1").json[0]["commit"]
    write("disk", 70_000, b"second")(work.top)
    fill("d/made", 10)(work.top)
    remove("d/a")(work.top)
    second = away(work, "commit", "-m", "second", "--json").json["commit"]
    return first, second


def test_after_a_switch_the_maps_are_of_the_new_head(here: Work, tmp_path: Path) -> None:
    (here.top / "n").unlink()  # hard links are for a scan
    away(here, "commit", "-m", "first")
    with attached(here):
        first, second = two_commits(here)
        for commit_id in (first, second, first):
            away(here, "switch", "--detach", commit_id)
            assert told(here) == ({}, 0)
            assert driver(here)["dirty"] == 0
        write("disk", 5, b"by hand")(here.top)
        check_the_next(here, tmp_path)


def test_after_a_switch_with_changes_of_ones_own(here: Work, tmp_path: Path) -> None:
    with attached(here):
        first, second = two_commits(here)
        write("d/e/b", 0, b"mine")(here.top)
        fill("d/e/mine", 10)(here.top)
        remove("d/e/c")(here.top)
        for commit_id in (first, second):
            away(here, "switch", "--detach", commit_id)
            mine = {"d/e/b": "modified", "d/e/mine": "new", "d/e/c": "deleted"}
            assert base_of(here) == here.root()
            assert told(here)[0] == mine
        check_the_next(here, tmp_path)


def test_after_a_restore(here: Work, tmp_path: Path) -> None:
    with attached(here):
        two_commits(here)
        write("disk", 5, b"by hand")(here.top)
        remove("n")(here.top)
        away(here, "restore", "--force")
        assert told(here) == ({}, 0)
        away(here, "restore", "--source", "HEAD~1", "disk")
        assert told(here)[0] == {"disk": "modified"}
        check_the_next(here, tmp_path)


def test_after_a_merge(here: Work, tmp_path: Path) -> None:
    with attached(here):
        away(here, "switch", "-c", "side")
        write("disk", 70_000, b"side")(here.top)
        away(here, "commit", "-m", "side")
        away(here, "switch", "main")
        fill("d/made", 5)(here.top)
        away(here, "commit", "-m", "main")
        away(here, "merge", "side")
        assert base_of(here) == here.root()
        assert told(here) == ({}, 0)
        write("d/e/b", 0, b"after")(here.top)
        check_the_next(here, tmp_path)


def test_a_commit_of_paths_leaves_the_rest(here: Work, tmp_path: Path) -> None:
    with attached(here):
        write("disk", 5, b"in it")(here.top)
        write("d/a", 0, b"not in it")(here.top)
        fill("d/e/made", 10)(here.top)
        away(here, "commit", "-m", "some", "disk", "d/e")
        assert base_of(here) == here.root()
        assert told(here)[0] == {"d/a": "modified"}
        check_the_next(here, tmp_path)


def test_somebody_who_writes_past_the_driver(here: Work, tmp_path: Path) -> None:
    """The files that each commit looks at tell, of a few all of them; then the tree is scanned."""
    with attached(here):
        repository = Repository(here.top / ".treering")
        try:
            with live_top(repository, here.top) as below:
                file = os.open("d/e/b", os.O_WRONLY, dir_fd=below)
                os.write(file, b"past it")
                os.close(file)
        finally:
            repository.close()
        write("n", 0, b"through it")(here.top)
        done = away(here, "commit", "-m", "found", "--json")
        assert "d/e/b was changed past the driver" in done.err
        assert done.json["pause_seconds"] is None
        away(here, "restore", "d/e/b", "--target", str(tmp_path / "to"))
        assert (tmp_path / "to" / "d/e/b").read_bytes() == b"past it"
        write("n", 0, b"and again")(here.top)
        assert away(here, "commit", "-m", "next", "--json").json["pause_seconds"] is not None


def calls_of_a_commit(work: Work) -> int:
    """Calls on files of the tree, below the mount or through it."""
    write("disk", 5, os.urandom(9))(work.top)
    log = work.home / "strace.log"
    how = [
        "strace",
        "-f",
        "-y",
        "-E",
        "TREERING_NO_WORKER=1",
        "-o",
        str(log),
        "-e",
        "trace=%file,%desc",
    ]
    Work(work.home, work.home, how)("-C", str(work.top), "commit", "-m", "traced")
    lines = log.read_text("utf-8", "replace").splitlines()
    return sum(f"<{work.top}" in line and "/.treering" not in line for line in lines)


def test_a_commit_makes_as_many_calls_in_a_large_tree(here: Work) -> None:
    calls = []
    with attached(here):
        for count in (600, 6000):
            for number in range(count):
                path = here.top / "many" / str(number // 30) / str(number)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x")
            away(here, "commit", "-m", f"{count}")
            calls.append(calls_of_a_commit(here))
    few, many = calls
    assert many <= few + 10


def rows_of(work: Work, path: str) -> list[str]:
    found = away(work, "maps", "--json").json["blocks"]
    return sorted(row["status"] for row in found if row["path"] == path)


def test_the_maps_before_during_and_after_a_commit(
    here: Work, commit_late: Callable[[Work, Step], Outcome]
) -> None:
    with attached(here):
        write("disk", 5, b"in it")(here.top)
        assert rows_of(here, "disk") == ["active"]
        during = []

        def between(top: Path) -> None:
            during.append(rows_of(here, "disk"))
            write("disk", 100_000, b"later")(top)
            during.append(rows_of(here, "disk"))

        assert commit_late(here, between).pause is not None
        assert during == [["frozen"], ["active", "frozen"]]
        assert rows_of(here, "disk") == ["active"]
        away(here, "commit", "-m", "rest")
        assert rows_of(here, "disk") == []


def overwrite(path: Path, data: bytes) -> None:
    """Each block of a file."""
    with path.open("r+b") as file:
        for place in range(0, path.stat().st_size, BLOCK):
            file.seek(place)
            file.write(data)


def stopped_commit(work: Work) -> subprocess.Popen[bytes]:
    """A commit that has frozen the maps, and stands still."""
    alone = Work(work.home, work.home, ["env", "TREERING_NO_WORKER=1"])
    stopped = alone.start("-C", str(work.top), "commit", "-m", "stopped")
    while not driver(work)["frozen"]:
        assert stopped.poll() is None, "it was too quick"
    stopped.send_signal(signal.SIGSTOP)
    return stopped


def test_a_commit_that_stands_still(here: Work, tmp_path: Path) -> None:
    """Stopped in the middle: writers go on, and what it took is given back when it ends."""
    fill("large", 100 << 20)(here.top)
    away(here, "commit", "-m", "large")
    with attached(here):
        overwrite(here.top / "large", b"y")
        stopped = stopped_commit(here)
        overwrite(here.top / "large", b"z")
        stopped.kill()
        stopped.communicate()
        while driver(here)["frozen"]:
            time.sleep(0.01)
        check_the_next(here, tmp_path)


def test_a_large_file_is_cut_while_a_commit_stands_still(here: Work, tmp_path: Path) -> None:
    """Too much to be saved at once: whoever cuts it waits, but not for long."""
    fill("large", 100 << 20)(here.top)
    with attached(here):
        fill("large", 100 << 20, b"y")(here.top)
        stopped = stopped_commit(here)
        os.truncate(here.top / "large", 5)
        assert driver(here)["frozen"] == 0, "it was given up"
        stopped.send_signal(signal.SIGCONT)
        _, said = stopped.communicate()
        assert stopped.returncode == 1
        assert b"the commit stood still" in said
        check_the_next(here, tmp_path)


def test_a_full_disk_below_what_is_saved(work: Work, small_disk: Path, tmp_path: Path) -> None:
    """The commit's loss: writers notice nothing."""
    repository = small_disk / "repository"
    shutil.rmtree(work.top / ".treering")
    away(work, "init", "-q", "--repo", str(repository))
    fill("large", 100 << 20)(work.top)
    away(work, "commit", "-m", "large")
    with attached(work):
        overwrite(work.top / "large", b"y")
        stopped = stopped_commit(work)
        filling = small_disk / "filling"
        with suppress(OSError), filling.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        overwrite(work.top / "large", b"z")
        filling.unlink()
        stopped.send_signal(signal.SIGCONT)
        _, said = stopped.communicate()
        assert stopped.returncode == 1
        assert b"No space left on device" in said
        check_the_next(work, tmp_path)
        away(work, "detach")


def test_the_first_commit_of_all(work: Work, tmp_path: Path) -> None:
    """Of a tree that had something when it was attached, and got more."""
    changes = Changes(work.top, 3)
    changes.some(40)
    with attached(work):
        changes.some(40)
        copy = copied(work.top, tmp_path / "copy")
        done = away(work, "commit", "-m", "first", "--json").json
        assert done["pause_seconds"] is not None, "a scan made it"
        assert done["root"] == root_of(work, copy)
        check_the_next(work, tmp_path)


@pytest.fixture
def on_xfs(tmp_path: Path) -> Iterator[Work]:
    """A work tree on a file system that copies files at no cost."""
    image, where = tmp_path / "xfs.img", tmp_path / "xfs"
    with image.open("wb") as file:
        file.truncate(600 << 20)
    subprocess.run(["mkfs.xfs", "-q", image], check=True)
    where.mkdir()
    subprocess.run(["mount", "-o", "loop", image, where], check=True)
    try:
        work = Work(make_home(tmp_path), where / "tree")
        work.top.mkdir()
        work("init", "-q")
        yield work
        take_off(work.top)
    finally:
        subprocess.run(["umount", where], check=True)


def test_a_large_file_is_cut_where_copies_cost_nothing(on_xfs: Work, tmp_path: Path) -> None:
    """Nobody waits, and the commit has what it was."""
    (on_xfs.top / "large").write_bytes(os.urandom(100 << 20))
    on_xfs.commit("large")
    with attached(on_xfs):
        overwrite(on_xfs.top / "large", b"y")
        copy = copied(on_xfs.top, tmp_path / "copy")
        stopped = stopped_commit(on_xfs)
        os.truncate(on_xfs.top / "large", 5)
        assert driver(on_xfs)["frozen"], "it waited until the commit was given up"
        stopped.send_signal(signal.SIGCONT)
        stopped.communicate()
        assert stopped.returncode == 0
        assert on_xfs.root() == root_of(on_xfs, copy)
        check_the_next(on_xfs, tmp_path)
        away(on_xfs, "detach")


def put_another(top: Path) -> None:
    """In the place of the name that the group goes by."""
    fill("x", 9)(top)
    move("x", "d/n2")(top)


def put_a_link(top: Path) -> None:
    """In the place of an equal file, as programs do that save space."""
    remove("equal")(top)
    os.link(top / "d" / "a", top / "equal")


@pytest.mark.parametrize("unseen", [put_another, put_a_link, remove("n")])
def test_links_that_changed_while_nobody_saw_it(here: Work, tmp_path: Path, unseen: Step) -> None:
    os.link(here.top / "n", here.top / "d" / "e" / "n3")
    shutil.copy2(here.top / "d" / "a", here.top / "equal")
    away(here, "commit", "-m", "three names")
    unseen(here.top)
    with attached(here):
        fill("d/e/made", 5)(here.top)
        check_the_next(here, tmp_path)
        fill("d/e/more", 5)(here.top)
        again = tmp_path / "again"
        again.mkdir()
        check_the_next(here, again)
