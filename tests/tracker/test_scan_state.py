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
    parts_of,
    row_of,
)


def part(*names: bytes, flags: bytes = b"") -> Part:
    return Part(b"n" * 32, len(names), 5, True, False, list(names), UNKNOWN * len(names), flags)


def saved(repository: Repository, top: Path, folders: dict[int, list[Part]], whole: bool) -> None:
    state = ScanState(repository.catalog, top)
    state.begin()
    for folder, parts in folders.items():
        state.put(folder, state.rows(folder), map(row_of, parts))
    state.save(whole=whole)


def kept(state: ScanState, folder: int) -> list[Part]:
    return list(parts_of(state.rows(folder)))


def test_rows_come_back_in_name_order(repository: Repository, tmp_path: Path) -> None:
    parts = [part(b"a", b"b"), part(b"c", flags=bytes([RACY]))]
    saved(repository, tmp_path, {7: parts, 8: []}, True)
    state = ScanState(repository.catalog, tmp_path)
    assert kept(state, 7) == parts
    assert kept(state, 8) == kept(state, 9) == []
    assert (kept(state, 7)[0].flag(1), kept(state, 7)[1].flag(0)) == (CLEAN, RACY)


def test_rows_are_replaced_and_removed(repository: Repository, tmp_path: Path) -> None:
    saved(repository, tmp_path, {7: [part(b"a"), part(b"b")], 8: [part(b"x")]}, True)
    saved(repository, tmp_path, {7: [part(b"b", flags=bytes([MAPPED])), part(b"c")]}, False)
    state = ScanState(repository.catalog, tmp_path)
    assert [item.names for item in kept(state, 7)] == [[b"b"], [b"c"]]
    assert kept(state, 7)[0].flag(0) == MAPPED
    assert kept(state, 8) == [part(b"x")]


def test_nothing_is_saved_before_save(repository: Repository, tmp_path: Path) -> None:
    state = ScanState(repository.catalog, tmp_path)
    state.begin()
    for folder in range(2000):
        state.put(folder, [], [row_of(part(b"a"))])
    assert kept(ScanState(repository.catalog, tmp_path), 5) == []


def test_deleted_folders_are_swept_when_they_are_many(
    repository: Repository, tmp_path: Path
) -> None:
    saved(repository, tmp_path, {number: [part(b"a")] for number in range(3000)}, True)
    few = {number: [part(b"a")] for number in range(10)}
    saved(repository, tmp_path, few, False)
    assert kept(ScanState(repository.catalog, tmp_path), 2999)
    saved(repository, tmp_path, few, True)
    state = ScanState(repository.catalog, tmp_path)
    assert kept(state, 9) and not kept(state, 2999)


def test_another_file_system_drops_all(repository: Repository, tmp_path: Path) -> None:
    saved(repository, tmp_path, {7: [part(b"a")]}, True)
    assert kept(ScanState(repository.catalog, Path("/dev/shm")), 7) == []
    saved(repository, Path("/dev/shm"), {8: [part(b"b")]}, True)
    assert kept(ScanState(repository.catalog, tmp_path), 7) == []
    assert kept(ScanState(repository.catalog, Path("/dev/shm")), 7) == []


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
