"""Many files, and one folder of many names: what each command costs at each size.

*files*: 100 files of some hundred bytes in each folder, 100 folders in each above; 100 of them,
all over the tree, change between the commits. *names*: empty files, all in one folder.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from measure import treering
from scale_sheet import Sheet, let_settle, middle

FAN_OUT: Final = 100
CHANGED: Final = 100
ROUNDS: Final = 3
SETTLED: Final = 95
"""Seconds after which a file counts as settled."""
RESTORED: Final = 100_000
"""Larger trees are neither cloned nor restored: that is the same for each file, and fills disks."""


def folders(files: int) -> Iterator[str]:
    for number in range(files // FAN_OUT):
        yield f"folder{number // FAN_OUT:03}/part{number % FAN_OUT:02}"


def make_files(top: Path, files: int) -> None:
    for where in folders(files):
        folder = top / where
        folder.mkdir(parents=True)
        for number in range(FAN_OUT):
            (folder / f"file{number:02}.txt").write_text(f"{where} {number}\n" * 12)


def make_names(top: Path, files: int) -> None:
    folder = top / "names"
    folder.mkdir(parents=True)
    for number in range(files):
        (folder / f"name{number:07}").touch()


def change_files(top: Path, files: int, number: int) -> None:
    places = list(folders(files))
    for where in random.Random(number).sample(places, CHANGED):
        (top / where / "file50.txt").write_text(f"changed {number}\n" * 20)


def measure_files(work: Path, size: str, files: int) -> None:
    """The whole course of a tree of so many files."""
    sheet, top = Sheet(work, "files", size), work / f"files-{size}"
    _fresh(work, size, top)
    make_files(top, files)
    let_settle(time.time(), SETTLED)
    _start(sheet, work, size, top)
    sheet.add("commit, nothing changed", treering(top, "commit", "-m", "none"))
    sheet.add("status", middle(ROUNDS, lambda: treering(top, "status")))
    sheet.add("push, first", treering(top, "push", "origin"))
    change_files(top, files, 1)
    sheet.add("status, 100 changed", middle(ROUNDS, lambda: treering(top, "status")))
    sheet.add("diff --stat, 100 changed", middle(ROUNDS, lambda: treering(top, "diff", "--stat")))
    sheet.add("commit, 100 changed", treering(top, "commit", "-m", "some"))
    stored = ("diff", "--stat", "HEAD~1", "HEAD")
    sheet.add("diff --stat HEAD~1 HEAD", middle(ROUNDS, lambda: treering(top, *stored)))
    path = f"{next(folders(files))}/file50.txt"
    sheet.add("log -- PATH", middle(ROUNDS, lambda: treering(top, "log", "--", path)))
    sheet.add("push, 100 changed", treering(top, "push", "origin"))
    if files <= RESTORED:
        _bring_back(sheet, work, size, top)
    _clear(work, size, top)


def measure_names(work: Path, size: str, files: int) -> None:
    """One folder of so many names."""
    sheet, top = Sheet(work, "names", size), work / f"names-{size}"
    _fresh(work, size, top)
    make_names(top, files)
    let_settle(time.time(), SETTLED)
    _start(sheet, work, size, top)
    sheet.add("push, first", treering(top, "push", "origin"))
    (top / "names" / f"name{files // 2:07}").write_text("changed\n")
    sheet.add("status, one changed", middle(ROUNDS, lambda: treering(top, "status")))
    sheet.add("commit, one changed", treering(top, "commit", "-m", "one"))
    stored = ("diff", "--stat", "HEAD~1", "HEAD")
    sheet.add("diff --stat HEAD~1 HEAD", middle(ROUNDS, lambda: treering(top, *stored)))
    sheet.add("ls -l", middle(ROUNDS, lambda: treering(top, "ls", "-l", "HEAD:names")))
    path = f"names/name{files // 2:07}"
    sheet.add("log -- PATH", middle(ROUNDS, lambda: treering(top, "log", "--", path)))
    sheet.add("push, one changed", treering(top, "push", "origin"))
    _bring_back(sheet, work, size, top)
    _clear(work, size, top)


def _fresh(work: Path, size: str, top: Path) -> None:
    _clear(work, size, top)
    top.mkdir(parents=True)


def _clear(work: Path, size: str, top: Path) -> None:
    for path in (top, *_others(work, size)):
        shutil.rmtree(path, ignore_errors=True)


def _others(work: Path, size: str) -> tuple[Path, Path, Path]:
    """The repository pushed to, a clone, a restored tree."""
    return work / f"remote-{size}", work / f"clone-{size}", work / f"restored-{size}"


def _start(sheet: Sheet, work: Path, size: str, top: Path) -> None:
    remote = _others(work, size)[0]
    treering(work, "init", "-q", "--bare", str(remote))
    treering(top, "init", "-q")
    treering(top, "remote", "add", "origin", str(remote))
    sheet.add("commit, first", treering(top, "commit", "-m", "first"))


def _bring_back(sheet: Sheet, work: Path, size: str, top: Path) -> None:
    remote, clone, restored = _others(work, size)
    sheet.add("clone", treering(work, "clone", str(remote), str(clone)))
    shutil.rmtree(clone)
    sheet.add("restore --target", treering(top, "restore", "--target", str(restored)))
    shutil.rmtree(restored)
