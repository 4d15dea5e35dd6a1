"""Files that say what is under way: damaged ones are said to be, and nothing else comes out."""

from __future__ import annotations

import pytest

from treering.store.errors import Corrupt
from treering.store.repository import Repository
from treering.tracker import restore_log
from treering.tracker.restore_log import Restore


@pytest.mark.parametrize("mask", [0x01, 0x10, 0x80, 0xC0])
def test_flipped_bits(repository: Repository, mask: int) -> None:
    restore_log.begin(repository, Restore("3" * 40, (b"a", b"-b"), True, (b"c",)))
    path = repository.path / "tracker" / "restore"
    whole = path.read_bytes()
    damaged = 0
    for offset in range(len(whole)):
        content = bytearray(whole)
        content[offset] ^= mask
        path.write_bytes(content)
        try:
            restore_log.pending(repository)
        except Corrupt:
            damaged += 1
    assert damaged >= len(b"treering restore 1\n")
