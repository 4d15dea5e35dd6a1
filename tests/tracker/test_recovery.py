"""After a crash the journals say where to look again: enough, and of each object all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from treering.tracker.journal_records import (
    EXTENT,
    Look,
    Suspect,
    encode_header,
    encode_records,
)
from treering.tracker.recovery import recover

BLOCK = 65536
KEY = bytes(range(32))
PER_EXTENT = EXTENT // BLOCK


def write(folder: Path, era: int, suspects: Iterable[Suspect]) -> Path:
    path = folder / f"{era:016d}"
    path.write_bytes(encode_header(BLOCK, era, KEY) + encode_records(suspects, 1, KEY))
    return path


def test_all_eras_count_together(tmp_path: Path) -> None:
    disk = (1, b"handle of disk")
    write(
        tmp_path, 1, [Suspect(Look.EXTENT, *disk, b"disk", 3), Suspect(Look.NAMES, 1, b"d", b"d")]
    )
    write(tmp_path, 2, [Suspect(Look.EXTENT, *disk, b"moved", 0)])
    found = recover(tmp_path)
    assert not found.everywhere
    assert found.objects[1, b"d"].names
    moved = found.objects[disk]
    assert (moved.path, moved.extents, moved.names) == (b"moved", {0, 3}, False)
    wanted = {*range(PER_EXTENT), *range(3 * PER_EXTENT, 4 * PER_EXTENT)}
    assert set(moved.blocks(1 << 40, BLOCK)) == wanted


def test_from_the_smallest_size_on_all_is_suspect(tmp_path: Path) -> None:
    sizes = [Suspect(Look.SIZE, 1, b"h", b"f", extent) for extent in (5, 2, 9)]
    write(tmp_path, 1, sizes)
    found = recover(tmp_path).objects[1, b"h"]
    size = 3 * EXTENT + 10
    assert set(found.blocks(size, BLOCK)) == set(range(2 * PER_EXTENT, 3 * PER_EXTENT + 1))
    assert set(found.blocks(EXTENT, BLOCK)) == set()


def test_without_handles_paths_count(tmp_path: Path) -> None:
    suspects = [Suspect(Look.ATTRIBUTES, 0, b"", path) for path in (b"a", b"b")]
    write(tmp_path, 1, suspects)
    assert {key: each.attributes for key, each in recover(tmp_path).objects.items()} == {
        (0, b"a"): True,
        (0, b"b"): True,
    }


def test_what_says_too_little_makes_all_suspect(tmp_path: Path) -> None:
    assert not recover(tmp_path).everywhere
    path = write(tmp_path, 1, [Suspect(Look.NAMES, 1, b"%d" % n, b"x") for n in range(9)])
    assert not recover(tmp_path).everywhere
    content = bytearray(path.read_bytes())
    content[64 * 4 + 15] ^= 1
    path.write_bytes(content)
    assert recover(tmp_path).everywhere
    path.write_bytes(b"nothing of the kind")
    assert recover(tmp_path).everywhere
    write(tmp_path, 1, [Suspect(Look.EVERYWHERE, 0, b"", b"")])
    assert recover(tmp_path).everywhere
