"""Marks: lines that are whole or are nothing."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import flip

from treering.store.errors import StorageError
from treering.store.marks import MarkLog

RECORDS = [["o-n-e", "1"], ["two words", ""], ["na\ud8ffo\n", "%", "-"], ["last", "-"]]
RECORDS[2][0] = b"na\xffme\n\r".decode(errors="surrogateescape")


@pytest.fixture
def log(tmp_path: Path) -> MarkLog:
    return MarkLog(tmp_path / "log")


def read(log: MarkLog) -> list[list[str]]:
    return [fields for fields, _ in log.read()]


fields = st.lists(
    st.binary(max_size=20).map(lambda raw: raw.decode(errors="surrogateescape")), min_size=1
)


@given(st.lists(st.lists(fields, max_size=4), max_size=4))
def test_roundtrip(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[list[str]]]
) -> None:
    log = MarkLog(tmp_path_factory.mktemp("marks") / "log")
    for batch in batches:
        log.append(batch)
    assert read(log) == [record for batch in batches for record in batch]
    assert log.damaged() == 0


def test_a_line_by_hand(log: MarkLog, tmp_path: Path) -> None:
    log.append([["two words", "a/b:c@d+e-f.g,h", "\n"]])
    body = b"two%20words a/b:c@d+e-f.g,h %0A"
    assert (tmp_path / "log").read_bytes() == b"%08x %s\n" % (zlib.crc32(body), body)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_no_file_no_records(log: MarkLog, tmp_path: Path) -> None:
    assert read(log) == []
    assert log.damaged() == 0
    log.append([])
    assert not (tmp_path / "log").exists()


def test_reading_goes_on_where_it_ended(log: MarkLog) -> None:
    log.append(RECORDS)
    offsets = [offset for _, offset in log.read()]
    for position, offset in enumerate(offsets):
        assert [fields for fields, _ in log.read(offset)] == RECORDS[position + 1 :]
    log.append([["more"]])
    assert [fields for fields, _ in log.read(offsets[-1])] == [["more"]]


def test_torn_tail_is_ignored_and_overwritten(log: MarkLog, tmp_path: Path) -> None:
    """For every length at which a crash may have cut the file."""
    path = tmp_path / "log"
    log.append(RECORDS)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        kept = RECORDS[: whole[:length].count(b"\n")]
        assert read(log) == kept
        assert log.damaged() == 0
        log.append([["new"]])
        assert read(log) == [*kept, ["new"]]
        assert log.damaged() == 0


@pytest.mark.parametrize("tail", [b"x" * 200_000, bytes(70_000), b"x" * 65536])
def test_long_torn_tail(log: MarkLog, tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "log"
    log.append(RECORDS)
    with path.open("ab") as file:
        file.write(tail)
    log.append([["new"]])
    assert read(log) == [*RECORDS, ["new"]]
    assert log.damaged() == 0
    path.write_bytes(tail)
    log.append([["new"]])
    assert read(log) == [["new"]]


def test_damaged_line_is_left_out_and_counted(log: MarkLog, tmp_path: Path) -> None:
    """For every flipped bit: what stands on other lines is read, whatever the byte becomes."""
    path = tmp_path / "log"
    log.append(RECORDS)
    whole = path.read_bytes()
    for offset in range(len(whole)):
        line = whole[:offset].count(b"\n")
        for mask in (0x01, 0x20, 0x80):
            flip(path, offset, mask)
            if whole[offset : offset + 1] != b"\n":
                others = RECORDS[:line] + RECORDS[line + 1 :]
                expected = others
                if bytes([whole[offset] ^ mask]) == b"\n":
                    assert log.damaged() == 2
                else:
                    assert log.damaged() == 1
                assert read(log) == expected
            else:
                assert read(log) == RECORDS[:line] + RECORDS[line + 2 :]
                assert log.damaged() == (line < len(RECORDS) - 1)
            flip(path, offset, mask)
    assert read(log) == RECORDS


@given(st.binary(max_size=200))
def test_arbitrary_files_are_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    log = MarkLog(path)
    assert len(read(log)) + log.damaged() == content.count(b"\n")


def test_disk_that_refuses(tmp_path: Path) -> None:
    log = MarkLog(tmp_path / "no such folder" / "log")
    with pytest.raises(StorageError, match="writing log"):
        log.append([["x"]])


def test_a_line_of_bytes_that_are_never_written_is_damaged(tmp_path: Path) -> None:
    """Even where its sum is right."""
    body = b"held \xff"
    (tmp_path / "log").write_bytes(b"%08x %s\n" % (zlib.crc32(body), body))
    log = MarkLog(tmp_path / "log")
    assert read(log) == []
    assert log.damaged() == 1
