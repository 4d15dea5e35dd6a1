"""The pack: whole, cut at every place, and with every byte flipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from support import CODEC, flip, record_of

from treering.store import packfile
from treering.store.block_store import expand
from treering.store.errors import Corrupt, UnsupportedFormat
from treering.store.ids import Kind
from treering.store.locking import try_lock
from treering.store.packfile import (
    FILE_HEADER,
    RECORD_HEADER,
    FooterEntry,
    PackWriter,
    Record,
    check_record_header,
    pack_file_name,
    pack_name,
    read_footer,
    scan_records,
)

RECORDS = [
    record_of(Kind.BLOCK, b"a block that is compressed " * 20),
    record_of(Kind.NODE, b"\x92\x02\x90"),
    record_of(Kind.BLOCK, bytes(range(256))),
    record_of(Kind.HISTORY, b"tree 0"),
]


def write_pack(folder: Path, records: list[Record]) -> Path:
    writer = PackWriter(folder)
    for record in records:
        writer.append(record)
    return folder / pack_file_name(writer.seal(folder).name)


def read_pack(path: Path) -> list[tuple[FooterEntry, Record]]:
    """All objects by way of the footer, every check done that a reader does."""
    content = path.read_bytes()
    found = []
    for entry in read_footer(path):
        check_record_header(content[entry.offset - RECORD_HEADER.size : entry.offset], entry)
        payload = content[entry.offset : entry.offset + entry.stored]
        record = Record(entry.key, entry.codec, entry.plain, payload)
        expand(CODEC, record)
        found.append((entry, record))
    return found


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return write_pack(tmp_path, RECORDS)


def test_roundtrip(pack: Path) -> None:
    found = read_pack(pack)
    assert [record for _, record in found] == sorted(RECORDS)
    assert [(entry, record.payload) for entry, record in sorted(found, key=lambda x: x[0].offset)]
    scanned = list(scan_records(pack))[: len(RECORDS)]
    assert [Record(e.key, e.codec, e.plain, payload) for e, payload in scanned] == RECORDS
    assert sorted(entry for entry, _ in scanned) == [entry for entry, _ in found]


def test_name_is_blake3_of_all_bytes(pack: Path) -> None:
    assert pack_name(pack.name) == blake3(pack.read_bytes()).digest()
    assert pack.stat().st_mode & 0o777 == 0o600


@given(st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.binary(max_size=300)), max_size=12))
def test_any_records_come_back(tmp_path: Path, objects: list[tuple[int, bytes]]) -> None:
    records = [record_of(kind, plain) for kind, plain in dict.fromkeys(objects)]
    path = write_pack(tmp_path, records)
    assert [record for _, record in read_pack(path)] == sorted(records)


def test_large_records_pass_the_write_buffer(tmp_path: Path) -> None:
    records = [record_of(1, os.urandom(700_000)) for _ in range(5)]
    assert [record for _, record in read_pack(write_pack(tmp_path, records))] == sorted(records)


def test_every_truncation_is_detected(pack: Path) -> None:
    whole = pack.read_bytes()
    for length in range(len(whole)):
        pack.write_bytes(whole[:length])
        with pytest.raises(Corrupt):
            read_footer(pack)


def test_every_flipped_byte_is_detected(pack: Path) -> None:
    size = pack.stat().st_size
    for offset in range(size):
        for mask in (0x01, 0x80):
            flip(pack, offset, mask)
            with pytest.raises((Corrupt, UnsupportedFormat)):
                read_pack(pack)
            flip(pack, offset, mask)
    assert len(read_pack(pack)) == len(RECORDS)


def test_appended_bytes_are_detected(pack: Path) -> None:
    with pack.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(Corrupt):
        read_footer(pack)


@given(st.binary(max_size=300))
def test_arbitrary_files_raise_corrupt_only(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pack"
    path.write_bytes(content)
    with pytest.raises(Corrupt):
        read_footer(path)
    assert list(scan_records(path)) == []


def test_newer_version_is_named(pack: Path) -> None:
    content = pack.read_bytes()
    pack.write_bytes(FILE_HEADER.pack(b"TRPK", 2, 0) + content[FILE_HEADER.size :])
    with pytest.raises(UnsupportedFormat, match="version 2"):
        read_footer(pack)


def test_scan_stops_at_the_first_torn_record(pack: Path) -> None:
    """For every length of what a killed writer left: exactly the records that fit."""
    whole = pack.read_bytes()
    ends = []
    position = FILE_HEADER.size
    for record in RECORDS:
        position += RECORD_HEADER.size + len(record.payload)
        ends.append(position)
    for length in range(position + 1):
        pack.write_bytes(whole[:length])
        found = [entry.key for entry, _ in scan_records(pack)]
        fit = sum(end <= length for end in ends)
        assert found == [record.key for record in RECORDS[:fit]]


def test_scan_stops_at_garbage(pack: Path) -> None:
    second = FILE_HEADER.size + RECORD_HEADER.size + len(RECORDS[0].payload)
    flip(pack, second)
    assert [entry.key for entry, _ in scan_records(pack)] == [RECORDS[0].key]


def test_footer_that_points_outside_is_corrupt(tmp_path: Path) -> None:
    """A footer with a good checksum may still lie: an offset behind the footer, a bad kind."""
    for position, change in ((34, b"\xff\xff"), (0, b"\x09")):
        path = write_pack(tmp_path, RECORDS[:1])
        content = bytearray(path.read_bytes())
        footer_at = len(content) - packfile.TRAILER.size - packfile.FOOTER_ENTRY.size
        content[footer_at + position : footer_at + position + len(change)] = change
        footer = bytes(content[footer_at : -packfile.TRAILER.size])
        digest = blake3(footer + packfile.TRAILER_SUM.pack(1, footer_at)).digest()
        content[-32:] = digest
        path.write_bytes(content)
        with pytest.raises(Corrupt, match="points outside"):
            read_footer(path)


def test_header_of_another_record_is_corrupt(pack: Path) -> None:
    (first, _), (second, _) = read_pack(pack)[:2]
    content = pack.read_bytes()
    header = content[first.offset - RECORD_HEADER.size : first.offset]
    check_record_header(header, first)
    for other in (second, first._replace(plain=1), first._replace(codec=7)):
        with pytest.raises(Corrupt, match="not the one"):
            check_record_header(header, other)


def test_same_records_same_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    a, b = (write_pack(tmp_path / name, RECORDS) for name in ("a", "b"))
    assert a.name == b.name


def test_discard_and_abandon(tmp_path: Path) -> None:
    writer = PackWriter(tmp_path)
    writer.append(RECORDS[0])
    writer.discard()
    assert list(tmp_path.iterdir()) == []
    writer = PackWriter(tmp_path)
    writer.append(RECORDS[0])
    writer.abandon()
    (left,) = tmp_path.iterdir()
    assert [entry.key for entry, _ in scan_records(left)] == [RECORDS[0].key]


def test_a_new_pack_survives_salvage_that_gets_the_lock_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between creation and lock another process may take the file for a dead writer's."""
    robbed: list[Path] = []

    def lock_too_late(descriptor: int) -> bool:
        if not robbed:
            (path,) = tmp_path.glob("pack-*.tmp")
            path.unlink()
            robbed.append(path)
        return try_lock(descriptor)

    monkeypatch.setattr(packfile, "try_lock", lock_too_late)
    path = write_pack(tmp_path, RECORDS)
    assert robbed
    assert len(read_pack(path)) == len(RECORDS)


@pytest.mark.parametrize("name", ["x.pack", "0" * 64, "0" * 63 + "g.pack", "0" * 64 + ".idx"])
def test_other_files_are_no_packs(name: str) -> None:
    assert pack_name(name) is None
