"""The format gate: what this version cannot read is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering.store.errors import Corrupt, NoRepository, UnsupportedFormat
from treering.store.format import Format, read_format, write_format

GOOD = "treering repository\nversion 1\nids plain\ncipher none\nblock-size 65536\nfeatures\n"


def test_written_by_hand(tmp_path: Path) -> None:
    write_format(tmp_path, Format())
    assert (tmp_path / "format").read_text() == GOOD
    assert [path.name for path in tmp_path.iterdir()] == ["format"]


@pytest.mark.parametrize("size", [4096, 65536, 8 << 20])
def test_roundtrip(tmp_path: Path, size: int) -> None:
    write_format(tmp_path, Format(size))
    assert read_format(tmp_path) == Format(size)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("version 1", "version 2", "version 2"),
        ("version 1\n", "", r"version \(none\)"),
        ("ids plain", "ids keyed", "ids 'keyed'"),
        ("cipher none", "cipher aes-gcm", "cipher 'aes-gcm'"),
        ("features", "features chunks", "feature 'chunks'"),
        ("features", "features chunks more", "feature 'chunks'"),
    ],
)
def test_refused_by_name(tmp_path: Path, old: str, new: str, named: str) -> None:
    (tmp_path / "format").write_text(GOOD.replace(old, new))
    with pytest.raises(UnsupportedFormat, match=named):
        read_format(tmp_path)


@pytest.mark.parametrize("size", ["0", "65537", "2048", "16777216", "", "x", "-4096", "\u00b2"])
def test_impossible_block_size(tmp_path: Path, size: str) -> None:
    (tmp_path / "format").write_text(GOOD.replace("65536", size))
    with pytest.raises(Corrupt, match="block-size"):
        read_format(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"something else\n", b"\xff\xfe"])
def test_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "format").write_bytes(content)
    with pytest.raises(Corrupt, match="is damaged"):
        read_format(tmp_path)


def test_no_repository(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(NoRepository):
            read_format(path)
    (tmp_path / "file").touch()
    with pytest.raises(NoRepository):
        read_format(tmp_path / "file")


@given(st.data())
def test_mutations_raise_two_errors_only(tmp_path: Path, data: st.DataObject) -> None:
    raw = GOOD.encode()
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, len(raw)))
    (tmp_path / "format").write_bytes(raw[:start] + data.draw(st.binary(max_size=8)) + raw[stop:])
    try:
        read_format(tmp_path)
    except (Corrupt, UnsupportedFormat):
        pass


def test_a_setting_that_is_there_twice(tmp_path: Path) -> None:
    (tmp_path / "format").write_text(GOOD * 2)
    with pytest.raises(Corrupt, match="twice"):
        read_format(tmp_path)
