"""The driver stays small: inodes and descriptors are bounded, whatever the tree."""

from __future__ import annotations

import os
import time
from pathlib import Path

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


def test_known_inodes_are_bounded(tmp_path: Path) -> None:
    with mounted(tmp_path, inodes=300) as tree:
        fill(tree)
        tree.commit()  # what changed is kept
        check(tree)
        for _ in range(100):
            if tree.ask("state")["inodes"] <= 320:
                break
            time.sleep(0.05)
            os.listdir(tree.top)
        else:
            raise AssertionError(tree.ask("state"))
        assert tree.ask("state")["names"] <= 320
        check(tree)


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
