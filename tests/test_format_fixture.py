"""A repository that an earlier version wrote stays readable, forever.

`data/format-v1` holds only what is truth: block index and catalog are made from it. Readers are
added, never edited, so this test is never changed to fit the code.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FIXTURE = Path(__file__).parent / "data" / "format-v1"
TREERING = Path(sys.executable).parent / "treering"
NUMBERS = "".join(f"{number}\n" for number in range(1, 5001)).encode()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A writable copy; Git keeps no empty folders."""
    copy = tmp_path / "repository"
    shutil.copytree(FIXTURE, copy)
    for name in ("index", "tmp", "tracker", "history/refs/tags"):
        (copy / name).mkdir(parents=True, exist_ok=True)
    return copy


def treering(repository: Path, *arguments: str) -> bytes:
    command = [str(TREERING), "-C", str(repository), *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def as_json(repository: Path, *arguments: str) -> Any:
    return json.loads(treering(repository, *arguments, "--json"))


def test_history(repository: Path) -> None:
    commits = as_json(repository, "log")
    assert [commit["message"] for commit in commits] == ["second\n", "first\n"]
    assert [commit["author"]["name"] for commit in commits] == ["Fixture", "Fixture"]


def test_everything_verifies(repository: Path) -> None:
    found = as_json(repository, "fsck", "--read-data")
    assert found["whole"] and found["commits"] == 2 and found["objects"] > 0


def test_content(repository: Path) -> None:
    assert treering(repository, "cat", "HEAD~1:a.txt") == b"hello\n"
    assert treering(repository, "cat", "HEAD:a.txt") == b"changed\n"
    assert treering(repository, "cat", "HEAD:folder/numbers") == NUMBERS
    assert treering(repository, "cat", "HEAD:folder/sparse") == bytes(100 << 10) + b"x"


def test_metadata(repository: Path) -> None:
    listed = {entry["path"]: entry for entry in as_json(repository, "ls", "-R", "HEAD~1")}
    odd = next(entry for entry in listed.values() if "path_b64" in entry)
    assert odd["path_b64"] == "Zm9sZGVyL/9vZGQ="
    assert listed["link"]["target"] == "a.txt"
    note = listed["a.txt"]
    assert (note["mode"], note["uid"], note["gid"]) == ("0640", 1000, 1000)
    assert note["mtime_ns"] == 1767323045123456789
    assert bytes.fromhex(note["xattrs"]["user.note"]) == b"kept"


def test_restore_links_names_again(repository: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    treering(repository, "restore", "--source", "HEAD", "--target", str(target))
    assert (target / "a.txt").samefile(target / "folder" / "same")
    assert (target / "folder" / "sparse").stat().st_blocks * 512 < 100 << 10
