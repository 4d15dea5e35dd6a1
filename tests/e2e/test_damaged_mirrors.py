"""Damage to what mirrors the packs and history: index, catalog and marks."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from damaging import WAYS, Damage, empty, flip, nothing_crashes, noticed, remove, repository
from fault_trees import third_tree
from faulting import check_snapshot, check_whole
from running import succeed, treering


def data(top: Path) -> Path:
    return repository(top) / "index" / "data.mdb"


def heals_by_rebuild(top: Path, target: Path) -> None:
    succeed(top, "fsck", "--rebuild-index")
    check_whole(top)
    third_tree(top)
    succeed(top, "commit", "-m", "next")
    check_whole(top)
    check_snapshot(top, target)


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_index_is_found_and_rebuilt(top: Path, tmp_path: Path, way: Damage) -> None:
    way(data(top))
    nothing_crashes(top)
    done = treering(top, "fsck", "--read-data")
    assert done.code in (0, 12), done
    if done.code:
        assert "--rebuild-index" in done.err + done.out, done
    heals_by_rebuild(top, tmp_path / "out")


@pytest.mark.parametrize("way", [empty, remove])
def test_an_empty_index_is_filled_by_whoever_comes_first(
    top: Path, tmp_path: Path, way: Damage
) -> None:
    way(data(top))
    assert "work tree clean" in succeed(top, "status").out
    check_snapshot(top, tmp_path / "out")
    check_whole(top)


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bits_in_the_index_never_crash(top: Path, tmp_path: Path, seed: int) -> None:
    """LMDB has no checksums: what matters is that nothing wrong is believed and nothing dies."""
    source = random.Random(seed)
    size = data(top).stat().st_size
    for _ in range(3):
        flip(data(top), source.randrange(size), 1 << source.randrange(8))
    nothing_crashes(top)
    done = treering(top, "fsck", "--read-data")
    assert done.code in (0, 12, 13), done
    heals_by_rebuild(top, tmp_path / "out")


@pytest.mark.parametrize("way", [*WAYS, lambda path: flip(path, 30), lambda path: flip(path, 5000)])
def test_a_damaged_catalog_can_be_deleted(top: Path, tmp_path: Path, way: Damage) -> None:
    way(repository(top) / "catalog.db")
    nothing_crashes(top)
    done = treering(top, "fsck", "--read-data")
    assert done.code in (0, 1, 12, 13), done
    if done.code:
        assert "catalog" in done.err + done.out, done
    for path in repository(top).glob("catalog.db*"):
        path.unlink()
    check_whole(top)
    third_tree(top)
    succeed(top, "commit", "-m", "next")
    check_whole(top)
    check_snapshot(top, tmp_path / "out")


def test_without_index_and_catalog_nothing_is_lost(top: Path, tmp_path: Path) -> None:
    shutil.rmtree(repository(top) / "index")
    for path in repository(top).glob("catalog.db*"):
        path.unlink()
    check_whole(top)
    check_snapshot(top, tmp_path / "out")
    assert "nothing to commit" in succeed(top, "commit", "-m", "nothing").out


# -- marks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["held", "finalized"])
def test_damaged_marks_are_found(top: Path, tmp_path: Path, name: str) -> None:
    flip(repository(top) / "marks" / name, 20)
    noticed(top, "marks")
    nothing_crashes(top)
    third_tree(top)
    succeed(top, "commit", "-m", "next")
    check_snapshot(top, tmp_path / "out")


@pytest.mark.parametrize("name", ["held", "finalized"])
@pytest.mark.parametrize("way", WAYS)
def test_lost_marks_do_no_harm(top: Path, tmp_path: Path, name: str, way: Damage) -> None:
    way(repository(top) / "marks" / name)
    nothing_crashes(top)
    third_tree(top)
    succeed(top, "commit", "-m", "next")
    check_snapshot(top, tmp_path / "out")
