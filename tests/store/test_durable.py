"""Writing all of it, also where a call takes only a part."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from treering.store.durable import pwritev_all

PARTS = [b"a" * 60, b"", b"b" * 60, b"c" * 60]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes: a write that would is cut short there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_several_are_written_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "file"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        pwritev_all(descriptor, PARTS, 7)
    finally:
        os.close(descriptor)
    assert path.read_bytes() == bytes(7) + b"".join(PARTS)


@pytest.mark.parametrize("room", [30, 60, 100, 150])
def test_a_write_cut_short_goes_on_where_it_was(tmp_path: Path, room: int) -> None:
    path = tmp_path / "file"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        with file_size_limit(room), pytest.raises(OSError) as caught:
            pwritev_all(descriptor, PARTS, 0)
    finally:
        os.close(descriptor)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"".join(PARTS)[:room]
