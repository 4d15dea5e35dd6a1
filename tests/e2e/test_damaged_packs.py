"""Damage to packs: found, named, and healed by the next commit or a rebuild of the index."""

from __future__ import annotations

from pathlib import Path

import pytest
from damaging import (
    WAYS,
    Damage,
    cut,
    empty,
    flip,
    heals_by_commit,
    nothing_crashes,
    noticed,
    packs,
    remove,
    repository,
)
from fault_trees import read_tree, third_tree
from faulting import check_error, check_snapshot, check_whole, commits
from running import succeed, treering

from treering.store.packfile import FOOTER_ENTRY, TRAILER, read_footer


@pytest.mark.parametrize("share", [0.01, 0.5, 0.95])
def test_a_flipped_bit_in_a_pack_is_found_and_healed(
    top: Path, tmp_path: Path, share: float
) -> None:
    """Of the first commit: the second holds all of it but one region and a few files."""
    for pack in packs(top):
        entries = sorted(read_footer(pack), key=lambda entry: entry.offset)
        entry = entries[int(len(entries) * share)]
        flip(pack, entry.offset + entry.stored // 2)
        done = noticed(top, pack.name[:12])
        assert entry.key[1:].hex()[:12] in done.out
    # What only the first commit had is brought back from there by hand.
    now = read_tree(top)
    heals_by_commit(top, tmp_path / "out")
    assert now.keys() <= read_tree(top).keys()
    head = commits(top)[0]
    left = treering(top, "fsck", "--read-data")
    assert head[:10] not in left.out
    nothing_crashes(top)


def test_a_damaged_block_is_never_restored(top: Path, tmp_path: Path) -> None:
    pack = packs(top)[0]
    entry = max(read_footer(pack), key=lambda entry: entry.stored)
    flip(pack, entry.offset + 10)
    done = treering(top, "restore", "--target", str(tmp_path / "out"))
    assert done.code == 12, done
    check_error(done)
    assert entry.key[1:].hex()[:12] in done.err
    succeed(top, "commit", "--allow-empty", "-m", "healing")
    check_snapshot(top, tmp_path / "again")


@pytest.mark.parametrize("part", ["footer", "trailer", "header"])
def test_a_damaged_frame_of_a_pack_is_found_and_rescued(
    top: Path, tmp_path: Path, part: str
) -> None:
    """The records themselves are good: a rebuild of the index takes them over."""
    history = commits(top)
    for pack in packs(top)[:1]:
        count = len(read_footer(pack))
        inside = -TRAILER.size - FOOTER_ENTRY.size * (count // 2 + 1) + 7
        flip(pack, {"footer": inside, "trailer": -5, "header": 1}[part])
        noticed(top, pack.name[:12])
    nothing_crashes(top)
    rebuilt = treering(top, "fsck", "--rebuild-index")
    assert rebuilt.code in (0, 12), rebuilt
    heals_by_commit(top, tmp_path / "out")
    if part != "header":
        assert rebuilt.code == 0, rebuilt
        check_whole(top)
        assert commits(top)[1:] == history


@pytest.mark.parametrize("way", [cut, empty, lambda path: flip(path, -5)])
def test_a_damaged_pack_that_is_not_indexed_stops_nothing(
    top: Path, tmp_path: Path, way: Damage
) -> None:
    """One that came back from a bad disk, or whose index was lost as well."""
    stray = packs(top)[0]
    content = stray.read_bytes()
    remove(stray)
    third_tree(top)
    succeed(top, "commit", "-m", "without it")
    stray.write_bytes(content)
    way(stray)
    done = succeed(top, "commit", "--allow-empty", "-m", "beside it")
    assert done.err.count(stray.name[:12]) == done.err.count("run treering fsck") == 1
    noticed(top, stray.name[:12])
    rebuilt = treering(top, "fsck", "--rebuild-index")
    assert rebuilt.code in (0, 12) and stray.name[:12] not in rebuilt.out, rebuilt
    assert (repository(top) / "tmp" / f"damaged-{stray.name}").exists()
    assert "left out" not in succeed(top, "commit", "--allow-empty", "-m", "after").err
    check_snapshot(top, tmp_path / "out")


@pytest.mark.parametrize("way", WAYS)
def test_a_lost_pack_is_found_and_healed(top: Path, tmp_path: Path, way: Damage) -> None:
    pack = packs(top)[0]
    way(pack)
    noticed(top, pack.name[:12])
    nothing_crashes(top)
    heals_by_commit(top, tmp_path / "out")
    assert treering(top, "fsck", "--rebuild-index").code in (0, 12)
    check_snapshot(top, tmp_path / "again")
    after = treering(top, "fsck", "--read-data")
    assert commits(top)[0][:10] not in after.out
    nothing_crashes(top)


def test_a_pack_of_a_newer_version_is_refused_by_name(top: Path) -> None:
    flip(packs(top)[0], 4, 2)
    done = treering(top, "fsck", "--read-data")
    assert done.code in (12, 13), done
    assert packs(top)[0].name[:12] in done.out + done.err
    nothing_crashes(top)
