"""Files that say what is under way: damaged ones are said to be, and nothing else comes out."""

from __future__ import annotations

import pytest

from treering.store.errors import Corrupt
from treering.store.repository import Repository
from treering.tracker import restore_log
from treering.tracker.restore_log import Restore


@pytest.mark.parametrize("mask", [0x01, 0x10, 0x20, 0x80])
def test_every_flipped_bit_is_found(repository: Repository, mask: int) -> None:
    restore_log.begin(repository, Restore("3" * 40, (b"a", b"-b"), True, (b"c",)))
    path = repository.path / "tracker" / "restore"
    whole = path.read_bytes()
    for offset in range(len(whole)):
        content = bytearray(whole)
        content[offset] ^= mask
        path.write_bytes(content)
        with pytest.raises(Corrupt, match="damaged"):
            restore_log.pending(repository)
