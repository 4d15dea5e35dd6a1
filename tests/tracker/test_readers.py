"""The readers: files that change under them, full queues, processes that die or refuse."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from support import BLOCK, CODEC, Memory, file_entry

from treering.store.block_store import BlockStore
from treering.store.errors import Corrupt, StorageError, TreeringError
from treering.store.object_writer import ObjectWriter
from treering.store.progress import SILENT, Progress, Silent
from treering.store.trees import read_file
from treering.tracker import reading
from treering.tracker.metadata import XattrFilter
from treering.tracker.read_processes import ReadProcesses
from treering.tracker.read_worker import WorkerSettings
from treering.tracker.reading import GONE, REPLACED, FileReader, ReaderOptions, ReadFile, Ticket

PIECE = 16 * BLOCK
NOISE = random.Random(1)
both = pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large files of some 100 KB, and processes from the first file on where they may be."""
    monkeypatch.setattr(reading, "PIECE", PIECE)
    monkeypatch.setattr(reading, "MANY_FILES", 0)


class Tree:
    """A folder of files and a reader of them."""

    def __init__(self, top: Path, store: BlockStore, processes: bool, progress: Progress) -> None:
        self.top = top
        self.store = store
        self.writer = ObjectWriter(store)
        options = ReaderOptions(BLOCK, 1, XattrFilter(True), processes)
        self.reader = FileReader(self.writer, store, options, progress)
        self.folder = os.open(top, os.O_PATH)

    def submit(self, name: str) -> Ticket:
        return self.reader.submit(self.folder, name.encode(), (self.top / name).stat().st_size)

    def write(self, name: str, size: int) -> bytes:
        content = NOISE.randbytes(size)
        (self.top / name).write_bytes(content)
        return content

    def result(self, ticket: Ticket) -> ReadFile:
        found = self.reader.result(ticket)
        assert isinstance(found, ReadFile), found
        return found

    def error(self, ticket: Ticket) -> int | None:
        found = self.reader.result(ticket)
        assert isinstance(found, OSError)
        return found.errno

    def finish(self) -> None:
        self.reader.finish()
        self.writer.finish()

    def stored(self, found: ReadFile) -> bytes:
        """The bytes of what was read, once all is durable."""
        entry = file_entry(b"f", size=found.info.st_size, content=found.content)
        return b"".join(read_file(self.store, entry, BLOCK))


@contextmanager
def reading_of(
    top: Path, store: BlockStore, processes: bool, progress: Progress = SILENT
) -> Iterator[Tree]:
    tree = Tree(top, store, processes, progress)
    try:
        yield tree
    finally:
        tree.reader.close()
        tree.writer.abort()
        os.close(tree.folder)


class Meddler(Silent):
    """Changes files whenever the reader has got on."""

    def __init__(self, step: Callable[[], None]) -> None:
        self._step = step

    def advance(self, *, files: int = 0, size: int = 0) -> None:
        if size:
            self._step()


def content_id(content: bytes) -> bytes:
    return Memory().put_file(b"f", content).content


# -- large files -----------------------------------------------------------------------------------


@both
def test_a_file_that_shrinks_once_is_read_again(
    tmp_path: Path, store: BlockStore, processes: bool
) -> None:
    with reading_of(tmp_path, store, processes) as tree:
        content = tree.write("f", 5 * PIECE)
        ticket = tree.submit("f")  # its pieces are on their way
        os.truncate(tmp_path / "f", 2 * PIECE + 5)
        found = tree.result(ticket)
        assert found.stable
        assert found.content == content_id(content[: 2 * PIECE + 5])
        assert (found.info.st_size, found.data) == (2 * PIECE + 5, 2 * PIECE + 5)
        tree.finish()
        assert tree.stored(found) == content[: 2 * PIECE + 5]


@both
def test_a_file_that_never_keeps_still_is_stored_as_read_last(
    tmp_path: Path, store: BlockStore, processes: bool
) -> None:
    path = tmp_path / "f"

    def shrink() -> None:
        os.truncate(path, path.stat().st_size - 100)

    with reading_of(tmp_path, store, processes, Meddler(shrink)) as tree:
        content = tree.write("f", 5 * PIECE)
        found = tree.result(tree.submit("f"))
        assert not found.stable
        tree.finish()
        stored = tree.stored(found)
        size = path.stat().st_size
        assert found.info.st_size == len(stored) > size
        assert stored[:size] == content[:size]
        # What was cut off under the last read has its old bytes or zeros.
        assert all(a in (0, b) for a, b in zip(stored, content, strict=False))


@both
def test_a_file_that_grows_under_every_read(
    tmp_path: Path, store: BlockStore, processes: bool
) -> None:
    path = tmp_path / "f"

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    with reading_of(tmp_path, store, processes, Meddler(grow)) as tree:
        tree.write("f", 3 * PIECE)
        found = tree.result(tree.submit("f"))
        assert not found.stable
        tree.finish()
        stored = tree.stored(found)
        assert 3 * PIECE < len(stored) < path.stat().st_size
        assert path.read_bytes().startswith(stored)


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_symlink(path: Path) -> None:
    path.unlink()
    path.symlink_to("blocker")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@both
@pytest.mark.parametrize("size", [100, 3 * PIECE], ids=["small", "large"])
@pytest.mark.parametrize(
    "replace", [Path.unlink, replace_by_fifo, replace_by_symlink, replace_by_folder]
)
def test_a_file_that_is_no_longer_one(
    tmp_path: Path,
    store: BlockStore,
    processes: bool,
    size: int,
    replace: Callable[[Path], None],
) -> None:
    with reading_of(tmp_path, store, processes) as tree:
        content = tree.write("blocker", 40 * PIECE)  # more than may be in flight
        tree.write("f", size)
        tree.write("last", 10)
        blocker, ticket, last = (tree.submit(name) for name in ("blocker", "f", "last"))
        replace(tmp_path / "f")
        assert tree.result(blocker).content == content_id(content)
        assert tree.error(ticket) in GONE | REPLACED
        assert tree.result(last).stable
        tree.finish()


@both
def test_a_file_that_is_replaced_by_another_while_it_is_read(
    tmp_path: Path, store: BlockStore, processes: bool
) -> None:
    """What was opened is read to its end: one file's bytes, not some of each."""
    with reading_of(tmp_path, store, processes) as tree:
        content = tree.write("f", 30 * PIECE)
        ticket = tree.submit("f")
        tree.write("other", 30 * PIECE)
        (tmp_path / "other").rename(tmp_path / "f")
        assert tree.result(ticket).content == content_id(content)


@both
def test_small_files_that_outgrow_their_batch_while_the_queue_is_full(
    tmp_path: Path, store: BlockStore, processes: bool
) -> None:
    with reading_of(tmp_path, store, processes) as tree:
        wanted = [tree.write("0", 40 * PIECE)]
        for number in range(1, 8):
            tree.write(str(number), 10)
        wanted += [b""] * 7
        wanted.append(tree.write("8", 40 * PIECE))
        tickets = [tree.submit(str(number)) for number in range(8)]
        for number in range(1, 8):  # the batch is open still
            wanted[number] = tree.write(str(number), (2 + number) * PIECE)
        tickets.append(tree.submit("8"))
        found = [tree.result(ticket) for ticket in tickets]
        assert [one.content for one in found] == [content_id(content) for content in wanted]
        assert all(one.stable for one in found)
        tree.finish()
        assert [tree.stored(one) for one in found] == wanted


@both
def test_many_files_of_nothing_but_holes_are_not_open_at_once(
    tmp_path: Path, store: BlockStore, processes: bool
) -> None:
    with reading_of(tmp_path, store, processes) as tree:
        before = len(os.listdir("/proc/self/fd"))
        tickets = []
        for number in range(200):
            (tmp_path / str(number)).touch()
            os.truncate(tmp_path / str(number), 2 * PIECE)
            tickets.append(tree.submit(str(number)))
        assert len(os.listdir("/proc/self/fd")) < before + 40
        for ticket in tickets:
            found = tree.result(ticket)
            assert (found.content, found.data) == (bytes(32), 0)
        tree.finish()


@both
def test_readers_end_with_much_in_flight(
    tmp_path: Path, store: BlockStore, processes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after Ctrl-C: nothing of it will be redeemed, and most has not been begun."""
    monkeypatch.setattr(reading, "PIECE", 4 << 20)
    before = sorted(os.listdir("/proc/self/fd"))
    with reading_of(tmp_path, store, processes) as tree:
        for name in ("one", "two"):
            tree.write(name, 18 << 20)
        tree.write("small", 1000)
        for name in ("one", "small", "two"):
            tree.submit(name)
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert workers() == []


# -- reader processes ------------------------------------------------------------------------------


def workers() -> list[int]:
    """The ids of the reader processes that this process has."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == os.getpid() and b"read_worker" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found


def settings_of(repository: Path) -> WorkerSettings:
    path = os.fsencode(repository)
    return WorkerSettings(0, path, -1, 1, CODEC.level, BLOCK, PIECE, True, False)


def test_a_process_that_was_killed_fails_what_it_had_in_hand(
    tmp_path: Path, store: BlockStore
) -> None:
    content = NOISE.randbytes(1000)
    (tmp_path / "f").write_bytes(content)
    folder = os.open(tmp_path, os.O_PATH)
    pool = ReadProcesses(1, settings_of(store.packs.parent))
    with pytest.raises(StorageError, match="a worker process died"), closing(pool):
        (read,) = pool.read_files([(folder, b"f")]).result()
        assert read.data == 1000
        (worker,) = workers()
        os.kill(worker, signal.SIGSTOP)
        hanging = pool.read_files([(folder, b"f")] * 3)
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(StorageError, match="a worker process died"):
            hanging.result(timeout=60)
        with pytest.raises(StorageError, match="a worker process died"):
            pool.read_files([(folder, b"f")]).result(timeout=60)
    os.close(folder)
    assert workers() == []


def test_an_error_that_nobody_foresaw_comes_back(tmp_path: Path, store: BlockStore) -> None:
    pool = ReadProcesses(1, settings_of(store.packs.parent))
    with closing(pool), pytest.raises(TreeringError, match="a worker process failed: Overflow"):
        pool.read_piece(0, 1 << 63, 1).result(timeout=60)


def test_a_folder_that_is_out_of_reach_is_no_empty_one(store: BlockStore) -> None:
    """The walk's folder, not the file, is what cannot be opened."""
    pool = ReadProcesses(1, settings_of(store.packs.parent))
    with closing(pool), pytest.raises(StorageError, match="reaching a folder"):
        pool.read_files([(987654, b"f")]).result(timeout=60)


def test_a_process_that_cannot_begin_says_why(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "data.mdb").write_bytes(b"no index at all" * 1000)
    pool = ReadProcesses(1, settings_of(tmp_path))
    with pytest.raises(Corrupt, match="block index"):
        pool.read_files([(0, b"f")]).result(timeout=60)
    with pytest.raises(Corrupt, match="block index"):
        pool.close()
    assert capfd.readouterr().err == ""


def test_where_no_process_can_be_started_the_threads_read(
    tmp_path: Path, store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing there"))
    with reading_of(tmp_path, store, processes=True) as tree:
        content = tree.write("f", 3 * PIECE)
        found = tree.result(tree.submit("f"))
        tree.finish()
        assert tree.stored(found) == content


def test_times_beyond_what_an_entry_can_hold_travel(tmp_path: Path, store: BlockStore) -> None:
    """tmpfs keeps any time; most others have their own limit."""
    where = tmp_path / "mounted"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", where], check=True)
    try:
        with reading_of(where, store, processes=True) as tree:
            tree.write("f", 10)
            os.utime(where / "f", ns=(0, 10**20))
            assert (where / "f").stat().st_mtime_ns == 10**20, "no test of anything"
            assert tree.result(tree.submit("f")).info.st_mtime_ns == (1 << 64) - 1
    finally:
        subprocess.run(["umount", where], check=True)
