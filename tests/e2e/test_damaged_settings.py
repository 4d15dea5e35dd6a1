"""Damage to the format file and the settings, and formats that are not ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from damaging import WAYS, Damage, empty, flip, nothing_crashes, repository
from faulting import check_error, check_whole, succeed, treering


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


@pytest.mark.parametrize("way", [*WAYS, lambda path: flip(path, 3)])
def test_a_damaged_format_file_is_refused(top: Path, way: Damage) -> None:
    way(repository(top) / "format")
    done = treering(top, "fsck")
    assert done.code in (10, 12, 13), done
    check_error(done)
    nothing_crashes(top)


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_config_does_not_crash(top: Path, way: Damage) -> None:
    succeed(top, "config", "user.name", "Ann of the config, to have something in it")
    way(repository(top) / "config")
    nothing_crashes(top)
    done = treering(top, "config", "user.name")
    assert done.code in (0, 1, 12), done
    if done.code == 12:
        assert "config" in done.err
    empty(repository(top) / "config") if (repository(top) / "config").exists() else None
    check_whole(top)
