"""Owners, modes and xattrs where the user may not set them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from live_trees import NOBODY, NobodyWork, Work, build


@pytest.fixture
def handed_over(nobody: NobodyWork) -> NobodyWork:
    """A repository of `nobody` whose commit root made, of root's files; the tree is empty."""
    root = Work(nobody.home, nobody.top)
    build(nobody.top, {"etc/conf": b"root's", "etc/other": b"root's too", "mine": b"mine"})
    (nobody.top / "mine").chmod(0o4755)
    os.chown(nobody.top / "etc" / "other", 4321, 1234)
    os.setxattr(nobody.top / "etc" / "other", "trusted.x", b"root only")
    root.commit("by root")
    subprocess.run(["rm", "-rf", nobody.top / "etc", nobody.top / "mine"], check=True)
    subprocess.run(["chown", "-R", "nobody:nogroup", nobody.top], check=True)
    return nobody


def owners(work: Work) -> dict[str, tuple[int, int]]:
    return {path: (entry["uid"], entry["gid"]) for path, entry in work.ls().items()}


def test_an_ordinary_user_restores_files_of_root(handed_over: NobodyWork) -> None:
    done = handed_over("restore")
    notes = [line for line in done.err.splitlines() if "owner" in line]
    assert len(notes) == 1, done.err
    assert (handed_over.top / "etc" / "conf").stat().st_uid == NOBODY
    assert (handed_over.top / "etc" / "conf").read_text() == "root's"


def test_the_next_commit_keeps_the_owners(handed_over: NobodyWork) -> None:
    before = owners(handed_over)
    assert before["etc/other"] == (4321, 1234)
    handed_over("restore")
    path = handed_over.top / "etc" / "other"
    path.write_text("edited by nobody")
    handed_over.commit("edited")
    assert handed_over("cat", "HEAD:etc/other").out == "edited by nobody"
    assert owners(handed_over) == before
    assert handed_over.ls()["etc/other"]["xattrs"] == {"trusted.x": b"root only".hex()}
    line = handed_over("ls", "-l", "HEAD:etc").lines[1]
    assert line.split()[:3] == ["-rw-r--r--", "4321", "1234"]
    handed_over.write("etc/new", "x")
    os.chown(handed_over.top / "etc" / "new", NOBODY, NOBODY)
    handed_over.commit("a new file")
    assert owners(handed_over)["etc/new"] == (NOBODY, NOBODY)


def test_another_target_of_an_ordinary_user(handed_over: NobodyWork) -> None:
    target = handed_over.top / "out"
    done = handed_over("restore", "--target", str(target))
    assert "owners of" in done.err
    assert (target / "etc" / "other").read_text() == "root's too"


def test_device_files_of_an_ordinary_user_are_said(handed_over: NobodyWork) -> None:
    root = Work(handed_over.home, handed_over.top)
    root("restore")
    os.mknod(handed_over.top / "null", 0o020666, os.makedev(1, 3))
    os.mkfifo(handed_over.top / "fifo")
    root.commit("with a device")
    (handed_over.top / "null").unlink()
    (handed_over.top / "fifo").unlink()
    subprocess.run(["chown", "-R", "nobody:nogroup", handed_over.top], check=True)
    done = handed_over("restore", "--force", code=3)
    assert "warning: null: cannot restore: Operation not permitted" in done.err
    assert (handed_over.top / "fifo").is_fifo()


def test_set_id_bits_survive_a_change_of_content(work: Work, tmp_path: Path) -> None:
    path = work.write("tool", "one")
    os.chown(path, 12, 34)
    path.chmod(0o6755)
    work.commit("one")
    path.write_text("two, longer")
    os.chown(path, 56, 78)
    path.chmod(0o755)
    work.commit("two")
    work("restore", "--source", "HEAD~1")
    info = path.stat()
    assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == (0o6755, 12, 34)


def test_labels_only_by_option(work: Work, tmp_path: Path) -> None:
    path = work.write("file", "x")
    os.setxattr(path, "security.treering-test", b"label")
    work.commit("without")
    assert "xattrs" not in work.ls()["file"]
    work("config", "core.labels", "true")
    path.write_text("y")
    work.commit("with")
    assert work.ls()["file"]["xattrs"] == {"security.treering-test": b"label".hex()}
    out = work.restored(tmp_path / "out")
    assert os.getxattr(out / "file", "security.treering-test") == b"label"
