"""Writes past the page cache leave what other writes would."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from treering.tracker.direct_writes import ALIGNMENT, BUFFER, DirectWrites

PIECES = st.lists(
    st.tuples(
        st.integers(0, 40).map(lambda page: page * ALIGNMENT) | st.integers(0, 40 * ALIGNMENT),
        st.lists(st.integers(0, 3 * ALIGNMENT) | st.just(BUFFER // 2 + 5), max_size=4),
    ),
    max_size=4,
)


@given(PIECES)
def test_any_writes(pieces: list[tuple[int, list[int]]]) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder, "file")
        parent = os.open(folder, os.O_RDONLY)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        expected = bytearray()
        with closing(DirectWrites(parent, b"file", descriptor)) as direct:
            for seed, (offset, lengths) in enumerate(pieces):
                contents = [bytes([seed + 1]) * length for length in lengths]
                direct.write(contents, offset)
                joined = b"".join(contents)
                if joined:
                    expected.extend(bytes(max(0, offset + len(joined) - len(expected))))
                    expected[offset : offset + len(joined)] = joined
        os.close(descriptor)
        os.close(parent)
        assert path.read_bytes() == expected


def test_another_file_of_the_name_is_left_alone(tmp_path: Path) -> None:
    parent = os.open(tmp_path, os.O_RDONLY)
    descriptor = os.open(tmp_path / "mine", os.O_RDWR | os.O_CREAT)
    (tmp_path / "theirs").write_bytes(b"theirs")
    with closing(DirectWrites(parent, b"theirs", descriptor)) as direct:
        direct.write([bytes(ALIGNMENT)], 0)
    os.close(descriptor)
    os.close(parent)
    assert (tmp_path / "theirs").read_bytes() == b"theirs"
    assert (tmp_path / "mine").read_bytes() == bytes(ALIGNMENT)
