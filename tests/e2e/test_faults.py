"""A disk that cannot be read, and a file system that is really full: a clear error, refs where they
were, and the next run works. Refused writes are in `test_crash_*.py`.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from fault_trees import second_tree, third_tree
from faulting import (
    COMMIT,
    Done,
    Point,
    check_error,
    check_next_commit,
    check_snapshot,
    check_whole,
    commits,
    copy,
    each_point,
    first_commit,
    inject,
    points_of,
    run,
    sample,
    treering,
    was_injected,
)

READING = ["read", "pread64", "preadv", "preadv2", "copy_file_range"]


# -- reading -------------------------------------------------------------------------------------


def reading_points(template: Path, name: str) -> list[Point]:
    found = points_of(template, COMMIT, READING)
    return [point for point in found if point.path == f"tree/{name}"]


@pytest.mark.parametrize("name", ["large", "many/003", "fresh"])
def test_an_unreadable_file_keeps_its_old_entry(
    one_commit: Path, tmp_path: Path, name: str
) -> None:
    """Or is left out where there is no old one; exit 3, said by name; the next commit has it."""
    points = reading_points(one_commit, name)
    assert points
    each_point(sample(points, 3), one_commit, tmp_path / "cases", partial(unreadable, name))


def unreadable(name: str, point: Point, folder: Path) -> None:
    top = folder / "tree"
    done = inject(point, "error=EIO+", folder, COMMIT, top)
    assert was_injected(folder)
    assert done.code == 3, done
    assert f"warning: {name}: " in done.err and "Traceback" not in done.err, done
    new, old = commits(top)
    check_whole(top)
    was = treering(top, "cat", f"{old}:{name}")
    held = treering(top, "cat", f"{new}:{name}")
    assert held == was if was.code == 0 else held.code == 1
    assert treering(top, "cat", f"{new}:sub/gone/now a folder").out == "new\n"
    check_next_commit(top, folder / "out")


def test_an_unreadable_folder_keeps_its_old_entries(case: Path) -> None:
    top = case / "tree"
    done = inject(Point("getdents64", 1, "tree/many"), "error=EIO", case, COMMIT, top)
    assert was_injected(case)
    assert done.code == 3, done
    assert "warning: many" in done.err
    new, old = commits(top)
    for name in ("003", "010"):
        path = f"many/{name}"
        assert treering(top, "cat", f"{new}:{path}") == treering(top, "cat", f"{old}:{path}")
    check_next_commit(top, case / "out")


def test_a_pack_that_cannot_be_read_is_no_corruption(two_commits: Path, tmp_path: Path) -> None:
    """EIO may pass: the object stays in the index."""
    folder = tmp_path / "case"
    copy(two_commits, folder)
    top = folder / "tree"
    packs = sorted((top / ".treering" / "packs").iterdir())
    hit = 0
    for pack in packs:
        point = Point("pread64", 1, str(pack.relative_to(folder)))
        done = inject(point, "error=EIO+", folder, ["cat", "HEAD:large"], top)
        if was_injected(folder):
            hit += 1
            assert done.code == 1, done
            check_error(done)
            assert "Input/output error" in done.err
    assert hit
    check_whole(top)
    check_snapshot(top, folder / "out")


# -- a full disk ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 file system of 64 MiB, mounted."""
    image, where = tmp_path / "disk.img", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    assert run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], tmp_path).code == 0
    where.mkdir()
    done = run(["mount", "-o", "loop", str(image), str(where)], tmp_path)
    assert done.code == 0, done
    try:
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=True, timeout=60)


@pytest.fixture
def top(small_disk: Path, tmp_path: Path) -> Path:
    """A tree with one commit, its repository on the small disk."""
    first_commit(tmp_path / "tree", "--repo", str(small_disk / "repository"))
    return tmp_path / "tree"


def test_a_full_disk_is_said_and_cured(top: Path, small_disk: Path, tmp_path: Path) -> None:
    history = commits(top)
    (top / "big").write_bytes(random.Random(4).randbytes(90 << 20))
    for _ in range(2):
        done = run_full(top)
        assert commits(top) == history
        assert not list((small_disk / "repository" / "tmp").glob("pack-*"))
        assert "No space left" in done.err or "full" in done.err, done
        assert "free some space" in done.err, done
    check_whole(top)
    (top / "big").unlink()
    third_tree(top)
    check_next_commit(top, tmp_path / "out")


def run_full(top: Path) -> Done:
    done = treering(top, "commit", "-m", "too much")
    assert done.code == 1, done
    check_error(done)
    return done


def test_a_disk_filled_to_the_last_block_by_others(
    top: Path, small_disk: Path, tmp_path: Path
) -> None:
    """Every part of the repository meets the full disk; what frees it is outside of our reach."""
    history = commits(top)
    second_tree(top)
    with (small_disk / "filler").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))
    done = run_full(top)
    assert "No space left" in done.err or "full" in done.err, done
    assert commits(top) == history
    (small_disk / "filler").unlink()
    check_whole(top)
    check_next_commit(top, tmp_path / "out")


def test_what_a_killed_commit_left_does_not_keep_a_disk_full(
    top: Path, small_disk: Path, tmp_path: Path
) -> None:
    """Salvage copies; where there is no room for that, it must give way."""
    (top / "big").write_bytes(random.Random(4).randbytes(38 << 20))
    inject(Point("fsync", 1), "signal=SIGKILL", tmp_path, ["commit", "-m", "killed"], top)
    left = list((small_disk / "repository" / "tmp").glob("pack-*"))
    assert sum(path.stat().st_size for path in left) > 30 << 20
    (top / "big").unlink()
    third_tree(top)
    check_next_commit(top, tmp_path / "out")
    assert not list((small_disk / "repository" / "tmp").glob("pack-*"))
