"""Damage to the format file and the settings, and formats that are not ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from damaging import repository
from faulting import check_error, check_whole
from running import treering


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"version 1", b"version 2", 13),
        (b"ids plain", b"ids keyed", 13),
        (b"cipher none", b"cipher some", 13),
        (b"features", b"features sorcery", 13),
        (b"block-size 65536", b"block-size 65537", 12),
        (b"treering", b"treerung", 12),
    ],
)
def test_another_format_is_refused(top: Path, old: bytes, new: bytes, code: int) -> None:
    path = repository(top) / "format"
    before = path.read_bytes()
    path.write_bytes(before.replace(old, new, 1))
    for command in (["fsck"], ["log"], ["status"], ["commit", "-m", "no"]):
        done = treering(top, *command)
        assert done.code == code, done
        check_error(done)
    path.write_bytes(before)
    check_whole(top)
