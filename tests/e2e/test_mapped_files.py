"""Stores through a mapping, hidden behind an mtime that was set back: ctime tells."""

from __future__ import annotations

import mmap
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_trees import Work, make_home, touch

from treering.store.filesystem import filesystem_type

OLD = 10**18
PAGE = 4096


def test_a_mapped_file_whose_mtime_is_old(work: Work) -> None:
    """Its page is writable already when the time is set, so that the store after the commit moves
    no time stamp at all. Where somebody syncs the disk meanwhile, the page is no longer writable,
    and another file is tried."""
    for number in range(50):
        path = work.write(f"mapped {number}", bytes(2 * PAGE))
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            mapped[:5] = b"first"
            touch(path, OLD)
            time.sleep(0.05)  # beyond the clock tick, so that only the mapping is in doubt
            work.commit()
            before = path.stat()
            mapped[:6] = b"second"
            if path.stat().st_ctime_ns == before.st_ctime_ns:
                work.commit()
                assert work("cat", f"HEAD:mapped {number}").raw[:6] == b"second"
                return
    pytest.fail("all stores moved a time stamp: no test of anything")


def test_an_mtime_that_is_set_back_after_the_store(work: Work) -> None:
    path = work.write("mapped", bytes(2 * PAGE))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:5] = b"first"
        touch(path, OLD)
        time.sleep(0.05)
        work.commit()
        mapped[:6] = b"second"
        touch(path, OLD)
        assert work.changes() == {"mapped": "modified"}
        work.commit()
        assert work("cat", "HEAD:mapped").raw[:6] == b"second"


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[Work]:
    """A work tree where pages are written back: on a tmpfs, as /tmp may be, they never are."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="treering-test-"))
    try:
        assert filesystem_type(folder) != "tmpfs", "this test needs a disk under /var/tmp"
        top = folder / "tree"
        top.mkdir()
        made = Work(make_home(tmp_path), top)
        made("init", "-q")
        yield made
    finally:
        shutil.rmtree(folder)


def test_a_file_that_is_restored_while_it_is_mapped(on_disk: Work) -> None:
    """What restore wrote is not in doubt: its syncfs has made the pages read-only again, so that
    the next store moves the time."""
    work = on_disk
    path = work.write("mapped", bytes(2 * PAGE))
    touch(path, OLD)
    work.commit()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:5] = b"first"
        work("restore", "mapped")
        assert mapped[:5] == bytes(5)
        mapped[:6] = b"second"
        assert work.changes() == {"mapped": "modified"}
        work.commit()
        assert work("cat", "HEAD:mapped").raw[:6] == b"second"
