"""cat of a part of a file."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from live_trees import Work

SIZE = 300_001


@pytest.fixture
def content(work: Work) -> bytes:
    found = random.Random(3).randbytes(SIZE)
    found = found[:70_000] + bytes(140_000) + found[210_000:]
    work.write("file", found)
    work.commit()
    return found


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 0), (0, 1), (65535, 2), (65536, 65536), (69_999, 140_002), (0, SIZE), (SIZE - 1, 99)],
)
def test_part_of_a_file(work: Work, content: bytes, offset: int, length: int) -> None:
    assert (
        part(work, "--offset", str(offset), "--length", str(length))
        == (content[offset : offset + length])
    )


def test_from_an_offset_to_the_end(work: Work, content: bytes) -> None:
    assert part(work, "--offset", "100KiB") == content[100 << 10 :]
    assert part(work, "--offset", "1TiB") == b""
    assert part(work, "--offset", "1TiB", "--length", "1") == b""
    assert part(work) == content
    assert "is not a size" in work("cat", "--offset", "-1", "HEAD:file", code=2).err


def test_only_the_blocks_of_the_part_are_read(work: Work, tmp_path: Path) -> None:
    work.write("large", os.urandom(8 << 20))
    work.commit()
    log = tmp_path / "log"
    found = work.traced(
        "pread64", "cat", "--offset", "5MiB", "--length", "1", "HEAD:large", log=log
    )
    read = sum(int(line.rsplit("=", 1)[1]) for line in found if ".pack" in line)
    assert 65536 <= read < 100_000


def part(work: Work, *options: str) -> bytes:
    with work.start("cat", *options, "HEAD:file") as process:
        found, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    return found
