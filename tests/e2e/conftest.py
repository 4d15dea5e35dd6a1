"""Fixtures over the real command."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fault_trees import second_tree, third_tree
from faulting import COMMIT, copy, first_commit
from live_trees import NOBODY, NobodyWork, Work, build, make_home, python_for_all
from running import succeed


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """An empty work tree with a repository in it."""
    top = tmp_path / "tree"
    top.mkdir()
    made = Work(make_home(tmp_path), top)
    made("init", "-q")
    return made


@pytest.fixture
def two(work: Work) -> Work:
    """Two commits on main."""
    for title in ("one", "two"):
        work.write("a", title)
        work.commit(title)
    return work


@pytest.fixture
def split(work: Work) -> Work:
    """On main and on `night`, each with a commit after `base`: `both` was changed on both, `kept`
    changed on main and deleted on night, `gone` the reverse, `twice` added on both. The rest was
    changed on one side. HEAD is on main."""
    base = {"both": b"base", "kept": b"base", "gone": b"base", "mine": b"base", "d/theirs": b"base"}
    build(work.top, base)
    work.commit("base")
    work("switch", "-q", "-c", "night")
    build(
        work.top,
        {"both": b"night", "gone": b"night", "twice": b"night", "d/theirs": b"night", "n/n": b"n"},
    )
    (work.top / "kept").unlink()
    work.commit("night")
    work("switch", "-q", "main")
    build(
        work.top, {"both": b"main", "kept": b"main", "twice": b"main", "mine": b"main", "m": b"m"}
    )
    (work.top / "gone").unlink()
    work.commit("main")
    return work


@pytest.fixture
def apart(work: Work) -> Work:
    """main and `night` changed different paths. HEAD is on main."""
    build(work.top, {"mine": b"base", "theirs": b"base", "d/gone": b"base", "same": b"s"})
    work.commit("base")
    work("switch", "-q", "-c", "night")
    build(work.top, {"theirs": b"night", "new/n": b"n"})
    (work.top / "d" / "gone").unlink()
    work.commit("night")
    work("switch", "-q", "main")
    work.write("mine", "main")
    work.commit("main")
    return work


@pytest.fixture
def nobody() -> Iterator[NobodyWork]:
    """An empty work tree, with a repository, of the user `nobody`. The tests run as root."""
    assert os.geteuid() == 0, "these tests need root, to become somebody else"
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="treering-test-"))
    folder.chmod(0o755)
    try:
        with python_for_all(folder) as python:
            home, top = make_home(folder), folder / "tree"
            top.mkdir()
            for path in (home, home / ".gitconfig", top):
                os.chown(path, NOBODY, NOBODY)
            made = NobodyWork(home, top, python=python)
            made("init", "-q")
            yield made
    finally:
        # Only what this fixture made, and never through a mount that could not be taken off.
        for name in ("home", "tree", "venv"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for empty in (folder / "python", folder):
            with suppress(OSError):
                empty.rmdir()


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An ext4 file system of 64 MiB, mounted, with blocks of 1 KiB, as is usual for so small a one,
    or as many bytes as the parameter says. A test may unmount it."""
    block_size = getattr(request, "param", 1024)
    image, where = tmp_path / "disk.img", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-b", str(block_size), image], check=True)
    where.mkdir()
    subprocess.run(["mount", "-o", "loop", image, where], check=True)
    try:
        yield where
    finally:
        if where.is_mount():
            subprocess.run(["umount", where], check=True, timeout=60)


@pytest.fixture(scope="module")
def one_commit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case: `tree` with one commit and changes since."""
    folder = tmp_path_factory.mktemp("template") / "case"
    first_commit(folder / "tree")
    second_tree(folder / "tree")
    return folder


@pytest.fixture(scope="module")
def two_commits(one_commit: Path) -> Path:
    """A case: `tree` with the changes committed."""
    folder = one_commit.with_name("two")
    copy(one_commit, folder)
    succeed(folder / "tree", *COMMIT)
    return folder


@pytest.fixture(scope="module")
def with_remote(two_commits: Path) -> Path:
    """A case: `tree`, with its first two commits in `remote`, and one that is not yet."""
    folder = two_commits.with_name("pushing")
    copy(two_commits, folder)
    top = folder / "tree"
    succeed(folder, "init", "--bare", "remote")
    succeed(top, "remote", "add", "origin", str(folder / "remote"))
    succeed(top, "push")
    third_tree(top)
    succeed(top, "commit", "-m", "third")
    return folder


@pytest.fixture
def case(one_commit: Path, tmp_path: Path) -> Path:
    """A test's own copy of `one_commit`."""
    copy(one_commit, tmp_path / "case")
    return tmp_path / "case"


@pytest.fixture
def top(two_commits: Path, tmp_path: Path) -> Path:
    """A test's own tree with two commits."""
    copy(two_commits / "tree", tmp_path / "tree")
    return tmp_path / "tree"
