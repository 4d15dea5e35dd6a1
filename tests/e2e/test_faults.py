"""A disk that cannot be read, and a file system that is really full: a clear error, refs where they
were, and the next run works. Refused writes are in `test_crash_*.py`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from faulting import (
    COMMIT,
    Point,
    check_error,
    check_next_commit,
    check_snapshot,
    check_whole,
    commits,
    copy,
    each_point,
    inject,
    points_of,
    sample,
    was_injected,
)
from running import treering

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
