"""The map pair: cases with names of their own. At random it is tried in `test_map_model`."""

from __future__ import annotations

from tracked_tree import BLOCK, Assembled, TrackedTree

from treering.store.errors import LockHeld
from treering.tracker.block_map import TOP, Entered, Home, Serial
from treering.tracker.map_changes import map_changes
from treering.tracker.map_pair import BlockStatus, MapPair


def made(pair: MapPair, name: bytes, folder: Serial = TOP) -> Serial:
    return pair.made(Home(folder, name))


def test_a_block_is_marked_and_no_other() -> None:
    pair = MapPair(65536)
    serial = made(pair, b"disk")
    pair.freeze()
    pair.committed(b"root")
    pair.wrote(serial, 3 * 65536 + 7, 65536, 1 << 40)
    assert set(pair.active.changed_blocks(serial, 1 << 40, 1 << 40)) == {3, 4}
    assert pair.status(serial, 3) is BlockStatus.ACTIVE
    assert pair.status(serial, 5) is BlockStatus.CLEAN
    pair.freeze()
    assert pair.status(serial, 3) is BlockStatus.FROZEN


def test_one_frozen_map_at_a_time() -> None:
    pair = MapPair(BLOCK)
    pair.freeze()
    try:
        pair.freeze()
    except LockHeld:
        pair.failed()
    else:
        raise AssertionError
    assert pair.freeze().era == 2


def test_a_folder_with_many_files_moves_by_one_entry() -> None:
    pair = MapPair(BLOCK)
    folder = made(pair, b"d")
    files = [made(pair, b"%d" % number, folder) for number in range(1000)]
    pair.freeze()
    pair.committed(b"root")
    pair.renamed(Home(TOP, b"d"), Home(TOP, b"e"))
    assert pair.active.changed() == {TOP}
    assert pair.names.path(files[7]) == b"e/7"
    assert pair.bound(files[7], pair.active) == b"d/7"


def test_what_was_moved_out_of_a_deleted_folder_is_still_bound() -> None:
    pair = MapPair(BLOCK)
    folder = made(pair, b"d")
    file = made(pair, b"f", folder)
    pair.freeze()
    pair.committed(b"root")
    pair.renamed(Home(folder, b"f"), Home(TOP, b"f"))
    pair.unlinked(Home(TOP, b"d"))
    pair.ended(folder, folder=True)
    assert pair.bound(file, pair.active) == b"d/f"


def test_a_file_written_whole_takes_little_memory() -> None:
    pair = MapPair(65536)
    serial = made(pair, b"disk")
    size = 2 << 40
    for offset in range(0, size, 1 << 30):
        pair.wrote(serial, offset, 1 << 30, size)
    change = pair.active.files[serial]
    assert len(change) == size // 65536
    assert len(change.blocks().serialize()) < 8 << 20


def test_truncated_and_grown_again() -> None:
    """What lay beyond is gone, though nothing of it was written."""
    tree = TrackedTree()
    tree.make(tree.top, b"f", is_folder=False)
    (file,) = tree.files()
    tree.write(file, 0, bytes(range(1, 18)))
    tree.pair.freeze()
    tree.pair.committed(b"root")
    base = tree.top.value()
    tree.truncate(file, 5)
    tree.truncate(file, 30)
    assert Assembled(tree, tree.pair.active, base).value() == tree.top.value()
    assert set(tree.pair.active.changed_blocks(file.serial, 17, 30)) == {1, 2, 3, 4}


def committed(pair: MapPair) -> None:
    pair.freeze()
    pair.committed(b"root")


def test_what_moved_in_two_eras_is_bound_where_it_was_before_the_first() -> None:
    pair = MapPair(BLOCK)
    file = made(pair, b"a")
    committed(pair)
    pair.renamed(Home(TOP, b"a"), Home(TOP, b"b"))
    frozen = pair.freeze()
    pair.renamed(Home(TOP, b"b"), Home(TOP, b"c"))
    assert pair.bound(file, frozen) == b"a"
    assert pair.bound(file, pair.active) == b"b"
    pair.failed()
    assert pair.bound(file, pair.active) == b"a"


def test_what_did_not_move_before_the_swap_is_bound_where_it_was_then() -> None:
    pair = MapPair(BLOCK)
    file = made(pair, b"a")
    committed(pair)
    pair.wrote(file, 0, 1, 9)
    frozen = pair.freeze()
    pair.renamed(Home(TOP, b"a"), Home(TOP, b"b"))
    assert pair.bound(file, frozen) == b"a"


def test_what_is_frozen_outlives_its_deletion() -> None:
    pair = MapPair(BLOCK)
    file = made(pair, b"a")
    committed(pair)
    pair.wrote(file, 0, 1, 9)
    frozen = pair.freeze()
    pair.unlinked(Home(TOP, b"a"))
    pair.ended(file)
    assert pair.bound(file, frozen) == b"a"
    pair.failed()
    assert pair.active.changed() == {TOP}


def test_moved_out_of_what_was_committed_it_is_bound_to_nothing() -> None:
    """Another file has its old name in the new root."""
    pair = MapPair(BLOCK)
    folder = made(pair, b"in")
    file = made(pair, b"f", folder)
    committed(pair)
    pair.renamed(Home(folder, b"f"), Home(TOP, b"out"))
    made(pair, b"f", folder)
    pair.freeze()
    entered = Entered()
    entered.add_names(folder, [b"f"])
    pair.committed(b"root", entered)
    assert pair.bound(file, pair.active) is None
    assert pair.active.names == {TOP: {b"out": False}}


def test_of_several_names_the_one_it_had_counts() -> None:
    pair = MapPair(BLOCK)
    names = [b"%d" % number for number in range(50)]
    files = [made(pair, name) for name in names]
    committed(pair)
    for file, name in zip(files, names, strict=True):
        pair.linked(file, Home(TOP, b"new " + name))
        pair.unlinked(Home(TOP, name))
        assert pair.bound(file, pair.active) == name


def test_renaming_one_name_of_a_file_to_another_does_nothing() -> None:
    pair = MapPair(BLOCK)
    file = made(pair, b"a")
    pair.linked(file, Home(TOP, b"b"))
    pair.renamed(Home(TOP, b"a"), Home(TOP, b"b"))
    assert set(pair.names.paths(file)) == {b"a", b"b"}


def test_what_moved_is_not_evicted() -> None:
    """Met again at its new place, it would be taken for what lay there before."""
    pair = MapPair(BLOCK)
    file = made(pair, b"a")
    clean = made(pair, b"b")
    committed(pair)
    pair.renamed(Home(TOP, b"a"), Home(TOP, b"c"))
    assert not pair.evicted(file)
    assert pair.evicted(clean)
    assert pair.met(Home(TOP, b"b")) != clean


def test_of_what_was_made_the_name_is_enough() -> None:
    """Also when it moves after it was met again, or something else has taken its name."""
    pair = MapPair(BLOCK)
    old = made(pair, b"old")
    committed(pair)
    new = made(pair, b"new")
    pair.wrote(new, 0, 5, 0)
    assert not pair.evicted(new)
    assert pair.evicted(new, made=True)
    again = pair.met(Home(TOP, b"new"))
    assert again != new
    pair.renamed(Home(TOP, b"new"), Home(TOP, b"moved"))
    assert pair.bound(again, pair.active) is None
    pair.renamed(Home(TOP, b"old"), Home(TOP, b"new"))
    assert not pair.evicted(old, made=True)
    assert {change.path: change.what for change in map_changes(pair)} == {
        b"moved": "new",
        b"new": "new",
        b"old": "deleted",
    }


def test_names_that_were_told_beforehand_are_all_changed_by_a_write() -> None:
    pair = MapPair(BLOCK)
    file = pair.met(Home(TOP, b"a"))
    pair.known(file, [Home(TOP, b"a"), Home(TOP, b"b")])
    assert list(map_changes(pair)) == []
    pair.wrote(file, 0, 1, 9)
    assert {change.path: change.what for change in map_changes(pair)} == {
        b"a": "modified",
        b"b": "modified",
    }
