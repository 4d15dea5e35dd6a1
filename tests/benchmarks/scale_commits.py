"""A history of 10,000 commits, made by real commits of a real tree, measured on the way.

The tree has 200 small files and an image of 1 MiB; each commit changes three files and a region.
The commits are made in this process; those whose time is told are whole processes.
"""

from __future__ import annotations

import random
import shutil
from functools import partial
from pathlib import Path
from typing import Final

from measure import Figures, sizes, treering
from scale_sheet import Sheet, amount, middle

from treering.store.history import Person
from treering.store.repository import Repository
from treering.tracker.snapshot import Request, commit

MARKS: Final = {"100": 100, "1 k": 1_000, "10 k": 10_000}
FILES: Final = 200
IMAGE: Final = 1 << 20
REGION: Final = 1 << 16
START: Final = 1_700_000_000
ROUNDS: Final = 3


def make_tree(top: Path) -> None:
    for number in range(FILES):
        path = _file(top, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {number}\n" * 20)
    (top / "disk.img").write_bytes(random.Random(0).randbytes(IMAGE))


def _file(top: Path, number: int) -> Path:
    return top / f"folder{number // 20:02}" / f"file{number % 20:02}.txt"


def change(top: Path, chance: random.Random, number: int) -> None:
    for place in chance.sample(range(FILES), 3):
        _file(top, place).write_text(f"file {place} as of {number}\n" * 20)
    if number % 500 == 0:
        (top / f"added{number:05}.txt").write_text("added\n")
    with (top / "disk.img").open("r+b") as image:
        image.seek(chance.randrange(IMAGE // REGION) * REGION)
        image.write(chance.randbytes(REGION // 16) * 16)


def commit_until(top: Path, chance: random.Random, done: int, wanted: int) -> None:
    repository = Repository(top / ".treering")
    for number in range(done, wanted):
        change(top, chance, number)
        who = Person("Ada", "ada@example.org", START + 3600 * number)
        commit(repository, top, Request(f"commit {number}\n", who, who))
    repository.close()


def measure_commits(work: Path) -> None:
    top, chance, done = work / "commits", random.Random(1), 0
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir()
    make_tree(top)
    treering(top, "init", "-q")
    for size, wanted in MARKS.items():
        commit_until(top, chance, done, wanted - ROUNDS)
        done = wanted
        measure_history(Sheet(work, "commits", size), work, top, chance, done)
    shutil.rmtree(top)


def measure_history(
    sheet: Sheet, work: Path, top: Path, chance: random.Random, number: int
) -> None:
    def one_commit(number: int = number) -> Figures:
        change(top, chance, number)
        return treering(top, "commit", "-m", f"commit {number}")

    sheet.add("commit", middle(ROUNDS, one_commit))
    for command in (
        "status",
        "log",
        "log -n 20",
        "log --oneline -- folder07/file07.txt",
        "blame disk.img",
        "find added*",
        "diff --stat HEAD~50 HEAD",
        "stats",
        "fsck",
        "fsck --read-data",
    ):
        rounds = 1 if command.startswith("fsck") else ROUNDS
        sheet.add(command, middle(rounds, partial(treering, top, *command.split())))
    _push_and_pull(sheet, work, top)
    _say_sizes(sheet, top)


def _push_and_pull(sheet: Sheet, work: Path, top: Path) -> None:
    remote, clone = work / "commits-remote", work / "commits-clone"
    for path in (remote, clone):
        shutil.rmtree(path, ignore_errors=True)
    treering(work, "init", "-q", "--bare", str(remote))
    name = sheet.size.replace(" ", "")
    treering(top, "remote", "add", name, str(remote))
    sheet.add("push, all commits", treering(top, "push", name))
    sheet.add("clone", treering(work, "clone", str(remote), str(clone)))
    for path in (remote, clone):
        shutil.rmtree(path)


def _say_sizes(sheet: Sheet, top: Path) -> None:
    found = sizes(top / ".treering")
    sheet.say("on disk: " + ", ".join(f"{part} {amount(size)}" for part, size in found.items()))
    history = top / ".treering" / "history" / "objects"
    loose = sum(
        len(list(folder.iterdir())) for folder in history.iterdir() if len(folder.name) == 2
    )
    packs = len(list((top / ".treering" / "packs").iterdir()))
    sheet.say(f"{packs} packs, {loose} loose Git objects")
