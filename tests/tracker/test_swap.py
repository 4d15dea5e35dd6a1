"""What stood at a swap, while the tree goes on changing: cases with names of their own. At random
it is tried in `test_map_model`."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from tracked_tree import BLOCK, Captured, File, Folder, Live, Objects, TrackedTree, Value

from treering.store.errors import StorageError
from treering.tracker import swap
from treering.tracker.block_map import Home
from treering.tracker.map_changes import map_changes
from treering.tracker.map_pair import BlockStatus
from treering.tracker.saved_blocks import SavedBlocks

NOWHERE = Path("/nowhere")


class Tree(TrackedTree):
    """A tree with commits, each of which may capture late."""

    base: Value = Folder(0, {})

    def freeze(self, saved: SavedBlocks | None = None, patience: float = 60) -> Captured:
        frozen = self.pair.freeze()
        self.objects = Objects(self)
        swap = self.pair.preserve(self.objects, saved or SavedBlocks(NOWHERE, BLOCK), patience)
        assert self.pair.log is not None
        self.at_swap = self.top.value()
        return Captured(self, swap, self.pair.log, frozen, self.base)

    def commit(self, captured: Captured) -> None:
        assert captured.value() == self.at_swap
        self.base = self.at_swap
        self.pair.committed(b"root")

    def file(self, folder: Live, name: bytes, content: bytes = b"") -> Live:
        self.make(folder, name, is_folder=False)
        assert folder.inside is not None
        found = folder.inside[name]
        self.write(found, 0, content)
        return found

    def folder(self, folder: Live, name: bytes) -> Live:
        self.make(folder, name, is_folder=True)
        assert folder.inside is not None
        return folder.inside[name]

    def forget(self, folder: Live, name: bytes) -> Live:
        """The kernel forgets what is new, and looks it up again."""
        assert folder.inside is not None
        live = folder.inside[name]
        assert self.pair.evicted(live.serial, made=True)
        live.serial = self.pair.met(Home(folder.serial, name))
        self.all[live.serial] = live
        return live


@pytest.fixture
def tree() -> Tree:
    return Tree()


def test_only_what_is_frozen_and_not_captured_is_saved(tree: Tree) -> None:
    disk = tree.file(tree.top, b"disk", b"0000111122223333")
    tree.commit(tree.freeze())
    tree.write(disk, 4, b"abcdefgh")
    captured = tree.freeze()
    captured.take(disk.serial, [1])
    before = tree.objects.reads
    tree.write(disk, 0, b"xxxx")  # is not frozen
    tree.write(disk, 4, b"xxxx")  # is captured
    assert tree.objects.reads == before
    tree.write(disk, 8, b"x")
    tree.write(disk, 9, b"x")  # is saved
    assert tree.objects.reads == before + 1
    assert tree.pair.status(disk.serial, 1) is BlockStatus.CAPTURED
    assert tree.pair.status(disk.serial, 2) is BlockStatus.FROZEN
    assert tree.pair.status(disk.serial, 0) is BlockStatus.ACTIVE
    tree.commit(captured)


def test_a_file_that_is_cut_and_grows_again(tree: Tree) -> None:
    disk = tree.file(tree.top, b"disk", b"0000111122")
    captured = tree.freeze()
    tree.truncate(disk, 2)
    tree.write(disk, 20, b"far behind")
    tree.commit(captured)
    assert isinstance(tree.base, Folder)
    assert tree.base.inside[b"disk"] == File(1000, b"0000111122")


def test_a_grown_files_old_tail_block(tree: Tree) -> None:
    disk = tree.file(tree.top, b"disk", b"0000")
    tree.commit(tree.freeze())
    tree.write(disk, 4, b"11")
    captured = tree.freeze()
    tree.write(disk, 6, b"22222")
    tree.commit(captured)
    assert isinstance(tree.base, Folder)
    assert tree.base.inside[b"disk"] == File(1000, b"000011")


def test_what_is_new_is_saved_though_nothing_of_it_is_marked(tree: Tree) -> None:
    """It was forgotten, and its name kept."""
    tree.file(tree.top, b"new", b"0000111122")
    live = tree.forget(tree.top, b"new")
    captured = tree.freeze()
    tree.write(live, 5, b"x")
    tree.touch(live)
    tree.commit(captured)


def test_what_lies_in_a_new_folder(tree: Tree) -> None:
    """Moved out of it, and changed, before the commit looks."""
    folder = tree.folder(tree.top, b"d")
    tree.file(folder, b"f", b"0000111122")
    live = tree.forget(folder, b"f")
    captured = tree.freeze()
    tree.rename(folder, b"f", tree.top, b"out")
    tree.write(live, 0, b"other")
    tree.rename(tree.top, b"d", tree.top, b"e")
    tree.commit(captured)


def test_an_ancestor_is_renamed_between_swap_and_capture(tree: Tree) -> None:
    outer = tree.folder(tree.top, b"a")
    inner = tree.folder(outer, b"b")
    disk = tree.file(inner, b"disk", b"0000")
    tree.commit(tree.freeze())
    tree.write(disk, 0, b"1111")
    captured = tree.freeze()
    tree.rename(tree.top, b"a", tree.top, b"z")
    tree.rename(outer, b"b", tree.top, b"y")
    tree.write(disk, 0, b"2222")
    tree.remove(inner, b"disk")
    assert captured.log.path(disk.serial) == b"a/b/disk"
    tree.commit(captured)


def test_a_name_of_two_is_gone(tree: Tree) -> None:
    disk = tree.file(tree.top, b"a", b"0000")
    tree.link(disk, tree.top, b"b")
    tree.commit(tree.freeze())
    tree.write(disk, 0, b"1111")
    captured = tree.freeze()
    tree.remove(tree.top, b"a")
    tree.rename(tree.top, b"b", tree.top, b"c")
    tree.write(disk, 0, b"2222")
    assert set(captured.log.homes(disk.serial)) == {
        Home(tree.top.serial, b"a"),
        Home(tree.top.serial, b"b"),
    }
    tree.commit(captured)


def test_what_was_made_in_the_place_of_another_is_not_it(tree: Tree) -> None:
    """Though it was forgotten, and met again under that name."""
    tree.file(tree.top, b"a", b"0000")
    tree.commit(tree.freeze())
    tree.remove(tree.top, b"a")
    captured = tree.freeze()
    tree.file(tree.top, b"a", b"1111")
    live = tree.forget(tree.top, b"a")
    pair = tree.pair
    assert pair.bound(live.serial, captured.frozen) is None
    assert [(change.path, change.what) for change in map_changes(pair)] == [(b"a", "modified")]
    pair.failed()
    assert [(change.path, change.what) for change in map_changes(pair)] == [(b"a", "modified")]
    assert pair.bound(live.serial, pair.active) is None
    tree.commit(tree.freeze())


def test_what_comes_after_the_swap_is_no_part(tree: Tree) -> None:
    tree.file(tree.top, b"there", b"0000")
    captured = tree.freeze()
    made = tree.file(tree.top, b"made", b"1111")
    before = tree.objects.reads
    tree.write(made, 0, b"2222")
    assert tree.objects.reads == before
    assert not captured.swap.concerns(made.serial)
    tree.rename(tree.top, b"made", tree.top, b"there")
    tree.commit(captured)


def test_a_commit_that_stands_still_fails_and_the_writers_go_on(tree: Tree) -> None:
    disk = tree.file(tree.top, b"disk", b"0000111122223333")
    captured = tree.freeze(SavedBlocks(NOWHERE, BLOCK, max_size=2 * BLOCK), patience=0.01)
    told: list[bool] = []
    captured.swap.on_failure = lambda: told.append(True)
    for number in range(4):
        tree.write(disk, number * BLOCK, b"xxxx")
    assert disk.content == b"x" * 16
    with pytest.raises(StorageError, match="more was overwritten than can be kept"):
        captured.value()
    assert not captured.swap.concerns(disk.serial)
    assert told == [True]
    tree.pair.failed()
    tree.commit(tree.freeze())


def test_writers_wait_for_a_commit_that_gets_on(tree: Tree, tmp_path: Path) -> None:
    """Its room for what they overwrite is used again."""
    disk = tree.file(tree.top, b"disk", os.urandom(20 * BLOCK))
    saved = SavedBlocks(tmp_path, BLOCK, in_memory=BLOCK, max_size=3 * BLOCK)
    captured = tree.freeze(saved)

    def write() -> None:
        for place in range(20):
            tree.write(disk, place * BLOCK, b"x")

    writer = threading.Thread(target=write)
    writer.start()
    for number in range(20):
        captured.take(disk.serial, [number])
        time.sleep(0.002)
    writer.join()
    assert saved.size == 0
    tree.commit(captured)
    saved.close()


def test_whoever_waits_is_let_go_when_the_commit_ends(tree: Tree) -> None:
    disk = tree.file(tree.top, b"disk", b"0000")
    tree.freeze(SavedBlocks(NOWHERE, BLOCK, max_size=0))
    writer = threading.Thread(target=lambda: tree.write(disk, 0, b"x"))
    writer.start()
    time.sleep(0.02)
    assert writer.is_alive()
    tree.pair.failed()
    writer.join()
    assert disk.content == b"x000"
    tree.commit(tree.freeze())


def test_a_block_that_cannot_be_read_is_the_commits_loss(tree: Tree) -> None:
    """Not that of who overwrites it."""
    disk = tree.file(tree.top, b"disk", b"0000")
    captured = tree.freeze()

    tree.objects.broken = True
    tree.write(disk, 0, b"xxxx")
    assert disk.content == b"xxxx"
    with pytest.raises(StorageError, match="Input/output error"):
        captured.value()


def test_beyond_memory_it_goes_to_a_file_without_a_name(tmp_path: Path) -> None:
    saved = SavedBlocks(tmp_path, BLOCK, in_memory=10)
    tree = Tree()
    disk = tree.file(tree.top, b"disk", os.urandom(BLOCK * 9 + 1))
    captured = tree.freeze(saved)
    tree.write(disk, 0, bytes(BLOCK * 10))
    assert saved.size == BLOCK * 9 + 1
    assert list(tmp_path.iterdir()) == []
    tree.commit(captured)
    saved.close()
    saved.close()
    assert saved.take(disk.serial, range(9)) == {}


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    tree = Tree()
    disk = tree.file(tree.top, b"disk", b"0000")
    captured = tree.freeze(SavedBlocks(tmp_path / "none", BLOCK, in_memory=0))
    tree.write(disk, 0, b"1111")
    with pytest.raises(StorageError, match="saving what a commit has not read yet"):
        captured.value()


def test_a_large_file_is_copied_at_once_where_that_costs_nothing(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some of it was read, and some saved; then it is cut, and grows again."""
    monkeypatch.setattr(swap, "AT_ONCE", 3 * BLOCK)
    disk = tree.file(tree.top, b"disk", os.urandom(9 * BLOCK + 2))
    captured = tree.freeze()
    tree.objects.copies = True
    captured.take(disk.serial, [0, 4])
    tree.write(disk, 5 * BLOCK, b"saved")
    tree.truncate(disk, 3)
    tree.write(disk, 2 * BLOCK, b"later")
    assert tree.objects.copied_files == 1
    captured.take(disk.serial, [2, 3])
    tree.commit(captured)


def test_and_elsewhere_whoever_cuts_it_waits(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "AT_ONCE", 3 * BLOCK)
    disk = tree.file(tree.top, b"disk", os.urandom(9 * BLOCK + 2))
    captured = tree.freeze()
    cutter = threading.Thread(target=lambda: tree.truncate(disk, 3))
    cutter.start()
    captured.take(disk.serial, range(2))
    time.sleep(0.02)
    assert cutter.is_alive()
    captured.take(disk.serial, range(2, 8))
    cutter.join()
    tree.commit(captured)
