"""The driver stays small: inodes and descriptors are bounded, whatever the tree."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mounted import Mounted, mounted

FOLDERS, FILES = 20, 100


def fill(tree: Mounted) -> None:
    for folder in range(FOLDERS):
        (tree.top / f"d{folder}").mkdir()
        for number in range(FILES):
            (tree.top / f"d{folder}" / f"f{number}").write_text(f"{folder} {number}")


def check(tree: Mounted) -> None:
    for folder in range(FOLDERS):
        for number in range(FILES):
            content = (tree.top / f"d{folder}" / f"f{number}").read_text()
            assert content == f"{folder} {number}"


@contextmanager
def memory(folder: Path, options: str) -> Iterator[Path]:
    """A small file system in memory at `folder/tree`, where a driver may be mounted."""
    top = folder / "tree"
    top.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", top], check=True)
    try:
        yield top
    finally:
        subprocess.run(["umount", "-l", top], check=True)


@pytest.mark.parametrize("refused", ["nosuid", "nodev", "noexec", "ro"])
def test_what_is_refused_below_is_refused(tmp_path: Path, refused: str) -> None:
    with memory(tmp_path, refused), mounted(tmp_path) as tree:
        found = os.statvfs(tree.top).f_flag
        flags = {"nosuid": os.ST_NOSUID, "nodev": os.ST_NODEV, "noexec": os.ST_NOEXEC}
        flags["ro"] = os.ST_RDONLY
        assert {name for name, flag in flags.items() if found & flag} == {refused}
        if refused == "ro":
            with pytest.raises(OSError, match="Read-only"):
                (tree.top / "f").touch()


def test_a_full_disk_is_told_and_passes(tmp_path: Path) -> None:
    with memory(tmp_path, "size=4m"), mounted(tmp_path) as tree:
        (tree.top / "ballast").write_bytes(bytes(3 << 20))
        with pytest.raises(OSError, match="No space left"):
            (tree.top / "f").write_bytes(os.urandom(3 << 20))
        (tree.top / "ballast").unlink()
        content = os.urandom(3 << 20)
        (tree.top / "f").write_bytes(content)
        assert (tree.backing / "f").read_bytes() == content
        assert tree.blocks()["f"] == set(range(48))


def test_known_inodes_are_bounded(tmp_path: Path) -> None:
    with mounted(tmp_path, inodes=300) as tree:
        fill(tree)
        tree.commit()  # what changed is kept
        check(tree)
        wait_until_few(tree)
        assert tree.ask("state")["names"] <= 320
        check(tree)


def wait_until_few(tree: Mounted) -> None:
    for _ in range(100):
        if tree.ask("state")["inodes"] <= 320:
            return
        time.sleep(0.05)
        os.listdir(tree.top)
    raise AssertionError(tree.ask("state"))


def test_of_many_new_files_the_names_are_kept(tmp_path: Path) -> None:
    """Not what else is known of them: it is all new."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "before").mkdir()
    with mounted(tmp_path, inodes=300) as tree:
        fill(tree)
        for number in range(1000):
            (tree.top / "before" / f"f{number}").write_text(f"{number}")
        (tree.top / "d0").rename(tree.top / "before" / "moved")
        wait_until_few(tree)
        found = dict(tree.ask("changes"))
        expected = {f"d{number}": "new" for number in range(1, FOLDERS)}
        expected |= {f"before/f{number}": "new" for number in range(1000)}
        assert found == {**expected, "before/moved": "new"}
        assert (tree.top / "before" / "f77").read_text() == "77"
        (tree.top / "before" / "f77").rename(tree.top / "f77")
        (tree.top / "before" / "f78").unlink()
        found = dict(tree.ask("changes"))
        assert found["f77"] == "new"
        assert found.keys() - expected.keys() == {"before/moved", "f77"}
        assert expected.keys() - found.keys() == {"before/f77", "before/f78"}


def test_descriptors_are_bounded(tmp_path: Path) -> None:
    """Half of what the process may open is for inodes; each is opened again by its name."""
    with mounted(tmp_path, descriptors=512) as tree:
        fill(tree)
        (tree.top / "d3").rename(tree.top / "d4" / "moved")
        (tree.top / "d4" / "moved").rename(tree.top / "d3")
        check(tree)
        assert tree.ask("state")["inodes"] > FOLDERS * FILES
        assert len(os.listdir(f"/proc/{tree.process.pid}/fd")) < 400


def test_what_is_open_survives_the_bound(tmp_path: Path) -> None:
    with mounted(tmp_path, inodes=300, descriptors=512) as tree:
        files = []
        for number in range(100):
            path = tree.top / f"open{number}"
            files.append(path.open("w+b"))
            path.unlink()
        fill(tree)
        for number, file in enumerate(files):
            file.write(b"%d" % number)
            file.flush()
            assert os.pread(file.fileno(), 10, 0) == b"%d" % number
            file.close()
