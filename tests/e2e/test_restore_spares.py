"""What restore leaves alone: reserved names, and what --delete must not take."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance.sample import commit
from live_trees import Work

from treering.store.repository import Repository


def craft(work: Work, names: list[str]) -> None:
    """A commit whose tree has files of these names, made past all checks of the scan."""
    repository = Repository(work.top / ".treering")
    commit(repository, dict.fromkeys(names, b""), "crafted\n")
    repository.close()


@pytest.mark.parametrize("name", [".treering", ".TREERING", ".TreeRing"])
def test_reserved_names_are_refused(work: Work, tmp_path: Path, name: str) -> None:
    work.write("file", "x")
    work.commit()
    craft(work, [name, "harmless"])
    done = work("restore", "--target", str(tmp_path / "out"), code=3)
    assert f"{name}: not restored: the name is reserved" in done.err
    assert os.listdir(tmp_path / "out") == ["harmless"]
    work("restore", "--delete", "--force", code=3)
    assert sorted(os.listdir(work.top)) == [".treering", "harmless"]
    work("fsck")


def test_ignored_files_are_never_deleted(work: Work) -> None:
    work.write(".treeringignore", "*.log\n/cache/\n")
    work.write("keep", "x")
    work.commit()
    work.write("top.log", "1")
    work.write("cache/deep/file", "2")
    work.write("new/inner.log", "3")
    work.write("new/sub/inner.log", "4")
    work.write("new/sub/plain", "5")
    work.write("own/.treeringignore", "mine\n")
    work.write("own/mine", "6")
    work.write("plain/folder/file", "7")
    assert set(work.changes()) == {"new/", "own/", "plain/"}
    work("restore", "--delete", "--force")
    for name in ("top.log", "cache/deep/file", "new/inner.log", "new/sub/inner.log", "own/mine"):
        assert (work.top / name).exists(), name
    assert not (work.top / "new" / "sub" / "plain").exists()
    assert not (work.top / "plain").exists()


def test_ignored_files_survive_a_change_of_kind(work: Work) -> None:
    work.write(".treeringignore", "*.log\n")
    work.write("thing", "a file")
    work.commit()
    (work.top / "thing").unlink()
    work.write("thing/precious.log", "x")
    done = work("restore", "--force", code=3)
    assert "thing" in done.err
    assert (work.top / "thing" / "precious.log").read_text() == "x"


def test_nested_repositories_are_never_deleted(work: Work) -> None:
    work.write("keep", "x")
    work.commit()
    work.write("new/file", "x")
    work("init", "-q", "new/nested")
    work.write("new/nested/precious", "x")
    work("init", "-q", "bare-neighbour")
    work("restore", "--delete", "--force")
    assert (work.top / "new" / "nested" / "precious").exists()
    assert (work.top / "bare-neighbour" / ".treering" / "format").exists()
    assert not (work.top / "new" / "file").exists()


@pytest.fixture
def mounted(work: Work) -> Iterator[Path]:
    """A tmpfs with a file in it, two folders deep in the work tree."""
    where = work.top / "new" / "mounted"
    where.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", where], check=True)
    try:
        (where / "precious").write_text("on another file system")
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def test_mount_points_are_never_emptied(work: Work, mounted: Path) -> None:
    work.write("keep", "x")
    work.commit("with the mount point")
    assert work.ls()["new/mounted"]["files"] == 0
    assert set(work.ls()) == {"keep", "new", "new/mounted"}
    craft(work, ["keep"])
    work.write("new/other", "x")
    work("restore", "--delete", "--force")
    assert (mounted / "precious").read_text() == "on another file system"
    assert not (work.top / "new" / "other").exists()
    # Nor when a file is to stand where the folder is.
    craft(work, ["keep", "new"])
    work("restore", "--delete", "--force", code=3)
    assert (mounted / "precious").read_text() == "on another file system"
