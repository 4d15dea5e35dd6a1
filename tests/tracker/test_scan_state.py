"""The scan's memory: what is saved comes back, what is gone goes, doubt is kept."""

from __future__ import annotations

import os
from pathlib import Path

from treering.store.repository import Repository
from treering.tracker.scan_state import (
    CLEAN,
    MAPPED,
    RACY,
    UNKNOWN,
    Part,
    ScanState,
    doubt,
    file_signature,
)


def part(*names: bytes, flags: bytes = b"") -> Part:
    return Part(b"n" * 32, len(names), 5, True, False, list(names), UNKNOWN * len(names), flags)


def saved(repository: Repository, top: Path, folders: dict[int, list[Part]], whole: bool) -> None:
    state = ScanState(repository.catalog, top)
    state.begin()
    for folder, parts in folders.items():
        state.put(folder, state.parts(folder), parts)
    state.save(whole=whole)


def test_rows_come_back_in_name_order(repository: Repository, tmp_path: Path) -> None:
    parts = [part(b"a", b"b"), part(b"c", flags=bytes([RACY]))]
    saved(repository, tmp_path, {7: parts, 8: []}, True)
    state = ScanState(repository.catalog, tmp_path)
    assert state.parts(7) == parts
    assert state.parts(8) == state.parts(9) == []
    assert (state.parts(7)[0].flag(1), state.parts(7)[1].flag(0)) == (CLEAN, RACY)


def test_rows_are_replaced_and_removed(repository: Repository, tmp_path: Path) -> None:
    saved(repository, tmp_path, {7: [part(b"a"), part(b"b")], 8: [part(b"x")]}, True)
    saved(repository, tmp_path, {7: [part(b"b", flags=bytes([MAPPED])), part(b"c")]}, False)
    state = ScanState(repository.catalog, tmp_path)
    assert [item.names for item in state.parts(7)] == [[b"b"], [b"c"]]
    assert state.parts(7)[0].flag(0) == MAPPED
    assert state.parts(8) == [part(b"x")]


def test_nothing_is_saved_before_save(repository: Repository, tmp_path: Path) -> None:
    state = ScanState(repository.catalog, tmp_path)
    state.begin()
    for folder in range(2000):
        state.put(folder, [], [part(b"a")])
    assert ScanState(repository.catalog, tmp_path).parts(5) == []


def test_deleted_folders_are_swept_when_they_are_many(
    repository: Repository, tmp_path: Path
) -> None:
    saved(repository, tmp_path, {number: [part(b"a")] for number in range(3000)}, True)
    few = {number: [part(b"a")] for number in range(10)}
    saved(repository, tmp_path, few, False)
    assert ScanState(repository.catalog, tmp_path).parts(2999)
    saved(repository, tmp_path, few, True)
    state = ScanState(repository.catalog, tmp_path)
    assert state.parts(9) and not state.parts(2999)


def test_another_file_system_drops_all(repository: Repository, tmp_path: Path) -> None:
    saved(repository, tmp_path, {7: [part(b"a")]}, True)
    assert ScanState(repository.catalog, Path("/dev/shm")).parts(7) == []
    saved(repository, Path("/dev/shm"), {8: [part(b"b")]}, True)
    assert ScanState(repository.catalog, tmp_path).parts(7) == []
    assert ScanState(repository.catalog, Path("/dev/shm")).parts(7) == []


def test_doubt(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    info = path.stat()
    second = 10**9
    assert doubt(info, info.st_ctime_ns + 1000, 20_000_000) == RACY
    assert doubt(info, info.st_ctime_ns - second, 20_000_000) == RACY
    assert doubt(info, info.st_ctime_ns + 20_000_000, 20_000_000) == RACY
    assert doubt(info, info.st_ctime_ns + 20_000_001, 20_000_000) == MAPPED
    assert doubt(info, info.st_ctime_ns + 90 * second, 20_000_000) == MAPPED
    assert doubt(info, info.st_ctime_ns + 90 * second + 1, 20_000_000) == CLEAN
    assert doubt(info, info.st_ctime_ns + second, 20_000_000) == MAPPED
    assert doubt(info, info.st_ctime_ns + 100 * second, 20_000_000) == CLEAN
    assert file_signature(info) != UNKNOWN
    os.utime(path, ns=(0, 1))
    back = path.stat()
    assert file_signature(back) != file_signature(info)
    assert doubt(back, back.st_ctime_ns + second, 20_000_000) == MAPPED
