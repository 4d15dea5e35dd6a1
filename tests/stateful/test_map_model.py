"""A base root and a block map together are the live tree, whatever happened to it; and what stood
at a swap is captured while the tree goes on changing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tracked_tree import BLOCK, Assembled, Captured, Folder, Live, Objects, TrackedTree, Value

from treering.tracker.block_map import TOP, Entered, Home, Serial
from treering.tracker.map_changes import map_changes
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
        swap = pair.preserve(Objects(self.tree), SavedBlocks(Path("/nowhere"), BLOCK))
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
