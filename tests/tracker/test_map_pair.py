"""A base root and a block map together are the live tree, whatever happened to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tracked_tree import BLOCK, Assembled, Captured, Folder, Live, Objects, TrackedTree, Value

from treering.store.errors import LockHeld
from treering.tracker.block_map import TOP, Entered, Home, Serial
from treering.tracker.map_changes import map_changes
from treering.tracker.map_pair import BlockStatus, MapPair
from treering.tracker.saved_blocks import SavedBlocks

NAMES = st.sampled_from([b"a", b"b", b"c", b"d"])
PICK = st.integers(0, 1 << 16)


class Tracking(RuleBasedStateMachine):
    """`base`: the last committed root; `frozen`: the tree as it stood at the swap."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = TrackedTree()
        self.base: Value = Folder(0, {})
        self.frozen: Value | None = None
        self.written: dict[Serial, set[int]] = {}
        self.written_before: dict[Serial, set[int]] = {}

    def folder(self, pick: int) -> Live:
        folders = self.tree.folders()
        return folders[pick % len(folders)]

    def place(self, pick: int) -> tuple[Live, bytes] | None:
        """A folder and a name in it."""
        places = [(f, name) for f in self.tree.folders() for name in f.inside or ()]
        return places[pick % len(places)] if places else None

    def file(self, pick: int) -> Live | None:
        files = self.tree.files()
        return files[pick % len(files)] if files else None

    @rule(pick=PICK, name=NAMES, is_folder=st.booleans())
    def make(self, pick: int, name: bytes, is_folder: bool) -> None:
        self.tree.make(self.folder(pick), name, is_folder=is_folder)

    @rule(pick=PICK, offset=st.integers(0, 20), data=st.binary(max_size=12))
    def write(self, pick: int, offset: int, data: bytes) -> None:
        if file := self.file(pick):
            end = offset + len(data)
            start = min(offset, len(file.content)) if end > len(file.content) else offset
            if data:
                self._note(file, start, end)
            self.tree.write(file, offset, data)

    @rule(pick=PICK, size=st.integers(0, 24))
    def truncate(self, pick: int, size: int) -> None:
        if file := self.file(pick):
            self._note(file, *sorted((size, len(file.content))))
            self.tree.truncate(file, size)

    def _note(self, file: Live, start: int, end: int) -> None:
        blocks = range(start // BLOCK, end // BLOCK + 1)
        self.written.setdefault(file.serial, set()).update(blocks)

    @rule(pick=PICK)
    def touch(self, pick: int) -> None:
        everything = list(self.tree.top.below())
        self.tree.touch(everything[pick % len(everything)])

    @rule(pick=PICK, into=PICK, name=NAMES)
    def link(self, pick: int, into: int, name: bytes) -> None:
        if file := self.file(pick):
            self.tree.link(file, self.folder(into), name)

    @rule(pick=PICK)
    def remove(self, pick: int) -> None:
        if place := self.place(pick):
            self.tree.remove(*place)

    @rule(pick=PICK, into=PICK, name=NAMES)
    def rename(self, pick: int, into: int, name: bytes) -> None:
        if place := self.place(pick):
            self.tree.rename(*place, self.folder(into), name)

    @rule(pick=PICK, other=PICK)
    def exchange(self, pick: int, other: int) -> None:
        if place := self.place(pick):
            self.tree.exchange(*place, *(self.place(other) or place))

    @rule(pick=PICK, made=st.booleans())
    def evict(self, pick: int, made: bool) -> None:
        """The kernel forgets a file that nobody uses, and looks it up again. Of a new one its name
        may be all that is kept."""
        place = self.place(pick)
        if place is None:
            return
        folder, name = place
        live = (folder.inside or {})[name]
        if live.inside is None and live.names == 1:
            before, pair = live.serial, self.tree.pair
            if pair.evicted(before, made=made):
                live.serial = pair.met(Home(folder.serial, name))
                self.tree.all[live.serial] = live
                self.written.pop(before, None)

    @precondition(lambda self: self.frozen is None)
    @rule()
    def freeze(self) -> None:
        frozen = self.tree.pair.freeze()
        self.frozen = self.tree.top.value()
        self.written_before, self.written = self.written, {}
        assert Assembled(self.tree, frozen, self.base).value() == self.frozen
        pair = self.tree.pair
        swap = pair.preserve(Objects(self.tree), SavedBlocks(Path("/nowhere")))
        assert pair.log is not None
        self.captured = Captured(self.tree, swap, pair.log, frozen, self.base)

    @precondition(lambda self: self.frozen is not None)
    @rule(pick=PICK, blocks=st.sets(st.integers(0, 6)))
    def capture_some(self, pick: int, blocks: set[int]) -> None:
        """The commit reads some of what is frozen; the rest may change before it comes to it."""
        serials = sorted(self.captured.frozen.files)
        if serials:
            serial = serials[pick % len(serials)]
            wanted = self.captured.swap.frozen_blocks(serial, 7)
            if self.captured.log.path(serial) is not None:
                self.captured.take(serial, blocks & set(wanted))

    @precondition(lambda self: self.frozen is not None)
    @rule()
    def commit(self) -> None:
        assert self.captured.value() == self.frozen
        assert self.frozen is not None
        self.base, self.frozen = self.frozen, None
        self.written_before = {}
        self.tree.pair.committed(b"root")

    @precondition(lambda self: self.frozen is not None)
    @rule()
    def fail(self) -> None:
        self.tree.pair.failed()
        self.frozen = None
        for serial, blocks in self.written_before.items():
            self.written.setdefault(serial, set()).update(blocks)

    @precondition(lambda self: self.frozen is None)
    @rule(pick=PICK)
    def commit_one(self, pick: int) -> None:
        """Of a frozen map, one name of the top folder with all below it."""
        assert isinstance(self.base, Folder)
        inside = self.tree.top.inside or {}
        names = sorted(inside.keys() | self.base.inside.keys())
        if not names:
            return
        name = names[pick % len(names)]
        if any(x.names > 1 for x in self.tree.files()):
            return  # which of the names enter is the commit's to say
        self.tree.pair.freeze()
        self.tree.pair.committed(b"root", self._entered(name))
        rest = {n: value for n, value in self.base.inside.items() if n != name}
        if name in inside:
            rest[name] = inside[name].value()
        self.base = self.base._replace(inside=rest)

    def _entered(self, name: bytes) -> Entered:
        entered = Entered()
        entered.add_names(TOP, [name])
        frozen = self.tree.pair.frozen
        assert frozen is not None
        top = (self.tree.top.inside or {}).get(name)
        if top is not None:
            entered.placed[top.serial] = Home(TOP, name)
            for live in top.below():
                entered.files.add(live.serial)
                entered.attributes.add(live.serial)
                for inner, child in (live.inside or {}).items():
                    entered.placed[child.serial] = Home(live.serial, inner)
                entered.add_names(live.serial, frozen.names.get(live.serial, ()))
        gone = (x for x in frozen.names if self.tree.pair.names.path(x) is None)
        for serial in gone:
            path = self.tree.pair.bound(serial, frozen)
            if path is not None and path.split(b"/")[0] == name:
                entered.add_names(serial, frozen.names[serial])
        return entered

    @invariant()
    def what_differs_is_said(self) -> None:
        """New and deleted paths exactly; of modified ones perhaps too many. Of a folder that took
        another's place, no more than that."""
        found = {change.path: change.what for change in map_changes(self.tree.pair)}
        expected = dict(differing(self.base, self.tree.top.value()))
        for path, what in expected.items():
            assert found.get(path) == what or said_above(path, found), (path, what, found)
        for path, what in found.items():
            assert what == "modified" or expected.get(path) == what, (path, what, expected)

    @invariant()
    def base_and_map_are_the_tree(self) -> None:
        base = self.base if self.frozen is None else self.frozen
        made = Assembled(self.tree, self.tree.pair.active, base)
        assert made.value() == self.tree.top.value()
        if self.frozen is None:
            for serial, blocks in made.read.items():
                assert blocks <= self.written.get(serial, set()), "more than what was written"


def differing(before: Value, now: Value, path: bytes = b"") -> Iterator[tuple[bytes, str]]:
    """What differs between two trees; what is in a new folder is not told."""
    if before[0] != now[0] or type(before) is not type(now):
        yield path, "modified"
    if not (isinstance(before, Folder) and isinstance(now, Folder)):
        if before != now and before[0] == now[0]:
            yield path, "modified"
        return
    for name in before.inside.keys() | now.inside.keys():
        below = path + b"/" + name if path else name
        if name not in now.inside:
            yield below, "deleted"
        elif name not in before.inside:
            yield below, "new"
        else:
            yield from differing(before.inside[name], now.inside[name], below)


def said_above(path: bytes, found: Mapping[bytes, str]) -> bool:
    parts = path.split(b"/")
    return any(found.get(b"/".join(parts[:end])) == "modified" for end in range(1, len(parts)))


TestTracking = Tracking.TestCase
TestTracking.settings = settings(max_examples=200, stateful_step_count=40)


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
