"""A commit of an attached tree is made of the maps, and says what a scan of the tree would have
said at the instant of the freeze, whatever happens to it before it is read."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from attached_trees import attached, away, driver, some_files, told
from late_commits import (
    BLOCK,
    Step,
    both,
    check_the_next,
    commit_late,
    fill,
    make,
    mark,
    move,
    nothing,
    remove,
    remove_all,
    write,
)  # fmt: skip
from live_trees import Work
from random_changes import Changes, copied, give_name, root_of

from treering.store.errors import StorageError
from treering.tracker.snapshot import Outcome

ROUNDS = 4
SEEDS = 60 if os.environ.get("TREERING_LONG") == "1" else 3


@pytest.fixture
def here(work: Work) -> Work:
    return some_files(work)


def changed_and_committed(
    work: Work, tmp_path: Path, seed: int, take: Callable[[Changes], Outcome]
) -> None:
    """Changes and commits in turn: each is what a scan of a copy says, and so is one more."""
    changes = Changes(work.top, seed)
    changes.some(60)
    away(work, "commit", "-m", "before", "--allow-empty")
    roots, copies = [], []
    with attached(work):
        for number in range(ROUNDS):
            changes.some(20)
            copies.append(copied(work.top, tmp_path / f"copy{number}"))
            done = take(changes)
            assert done.pause is not None, "a scan made it"
            roots.append(done.root.hex())
        check_the_next(work, tmp_path)
    assert roots == [root_of(work, copy) for copy in copies]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_it_is_what_a_scan_of_a_copy_says(here: Work, tmp_path: Path, seed: int) -> None:
    """Same content, same root: whatever had been done, and from where it is known."""

    def take(_changes: Changes) -> Outcome:
        done = commit_late(here, nothing)
        assert told(here) == ({}, 0)
        return done

    changed_and_committed(here, tmp_path, seed, take)


@pytest.mark.parametrize("seed", range(100, 100 + SEEDS))
def test_what_happens_after_the_freeze_is_not_in_it(here: Work, tmp_path: Path, seed: int) -> None:
    def take(changes: Changes) -> Outcome:
        return commit_late(here, lambda _: changes.some(20))

    changed_and_committed(here, tmp_path, seed, take)


class Case(NamedTuple):
    """What is there at the last commit, what changes before the freeze, and after it."""

    before: Step
    changes: Step
    between: Step


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
def test_a_case(here: Work, tmp_path: Path, case: Case) -> None:
    case.before(here.top)
    away(here, "commit", "-m", "before", "--allow-empty")
    with attached(here):
        case.changes(here.top)
        copy = copied(here.top, tmp_path / "copy")
        done = commit_late(here, case.between)
        assert done.pause is not None, "a scan made it"
        assert done.root.hex() == root_of(here, copy)
        check_the_next(here, tmp_path)


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


def test_a_commit_that_is_killed_gives_back_what_was_frozen(here: Work, tmp_path: Path) -> None:
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


def test_a_second_commit_waits(here: Work) -> None:
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


def test_a_path_as_long_as_paths_may_be(here: Work, tmp_path: Path) -> None:
    """More than a thousand folders, each in the one before: new, and then with another name."""
    deep = here.top / "/".join(["d" + "x"] * 1200)
    with attached(here):
        subprocess.run(["mkdir", "-p", deep], check=True)
        for change in (fill("f", 10), move("f", "g")):
            change(deep)
            copy = copied(here.top, tmp_path / "c")
            done = away(here, "commit", "-m", "deep", "--json").json
            assert done["pause_seconds"] is not None, "a scan made it"
            assert done["root"] == root_of(here, copy)
            for path in (copy, copy.with_name("c.repository")):
                subprocess.run(["rm", "-r", path], check=True)
