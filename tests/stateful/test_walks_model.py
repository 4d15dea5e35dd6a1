"""blame and find over random histories with branches and merges, against plain dictionaries."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from support import BLOCK, Memory, Tree, put_tree

from treering.store.history import History, Person, RefUpdate, create_history
from treering.store.ids import NodeId
from treering.store.locking import FileLock
from treering.store.root_record import RootRecord
from treering.tracker.blame import Blame
from treering.tracker.find import Find
from treering.tracker.glob import Glob

PATHS = (b"a", b"b", b"d/a", b"d/e")
Files = dict[bytes, bytes]


class Made(NamedTuple):
    id: str
    parents: tuple[int, ...]
    files: Files


class Edit(NamedTuple):
    """Of the file at PATHS[path]: delete it, or set its length and the letter of one block."""

    path: int
    delete: bool
    blocks: int
    place: int
    letter: int


class Step(NamedTuple):
    """One commit: on which earlier ones it stands, and what it edits."""

    parents: tuple[int, ...]
    edits: list[Edit]


edits = st.builds(
    Edit,
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 5),
    st.integers(0, 4),
    st.integers(0, 3),
)
steps = st.builds(
    Step,
    st.lists(st.integers(0, 20), max_size=2).map(tuple),
    st.lists(edits, max_size=3),
)


left_out = st.lists(st.integers(0, 20), max_size=2)
"""Commits to leave out, with all that they follow from."""


def apply(files: Files, edit: Edit) -> None:
    """Contents of two paths are never the same, so that nothing passes for a rename."""
    name = PATHS[edit.path]
    if edit.delete:
        files.pop(name, None)
        return
    size = edit.blocks * BLOCK - BLOCK // 2 if edit.blocks else 0
    content = bytearray(files.get(name, b"")[:size].ljust(size, b"\0"))
    letter = bytes([edit.letter and 16 * edit.path + edit.letter])
    start = edit.place * BLOCK
    if start < size:
        content[start : start + BLOCK] = letter * min(BLOCK, size - start)
    if content:
        content[0] = 200 + edit.path
    files[name] = bytes(content)


def nested(files: Files) -> Tree:
    tree: dict[bytes, bytes | dict[bytes, bytes]] = {}
    below = {path[2:]: content for path, content in files.items() if path.startswith(b"d/")}
    tree.update({path: content for path, content in files.items() if b"/" not in path})
    if below:
        tree[b"d"] = below
    return tree


class Model:
    """A history and what it is made of."""

    def __init__(self, folder: Path) -> None:
        self.memory = Memory()
        create_history(folder / "history")
        self.history = History(
            folder / "history", lambda: FileLock(folder / "lock", "test", wait=1)
        )
        self.commits: list[Made] = []

    def make(self, step: Step) -> None:
        count = len(self.commits)
        parents = tuple(dict.fromkeys(number % count for number in step.parents if count))
        files: Files = {}
        for parent in parents:
            files = {**self.commits[parent].files, **files}
        for edit in step.edits:
            apply(files, edit)
        root = NodeId(self.memory.put_root(put_tree(self.memory, nested(files))))
        who = Person("A", "a@example.org", 1_000_000 + count)
        ref = f"refs/heads/c{count}"
        ids = [self.commits[parent].id for parent in parents]
        if ids:
            self.history.update_refs([RefUpdate(ref, None, ids[0])], who, "branch")
        made = self.history.create_commit(RootRecord(root), ids, who, who, "m\n", ref)
        self.commits.append(Made(made.id, parents, files))

    def who(self, number: int, path: bytes, place: int, hidden: set[int]) -> tuple[str, bool]:
        """The commit that wrote a block, by going back block by block, and whether it is one at
        which to stop."""
        commit = self.commits[number]
        if number in hidden:
            return commit.id, True
        for parent in commit.parents:
            before = blocks(self.commits[parent].files.get(path, b""))
            if place < len(before) and before[place] == blocks(commit.files[path])[place]:
                return self.who(parent, path, place, hidden)
        return commit.id, False

    def up_to(self, numbers: Iterable[int]) -> set[int]:
        """These commits and all that they follow from."""
        found: set[int] = set()
        waiting = [number % len(self.commits) for number in numbers]
        while waiting:
            number = waiting.pop()
            found.add(number)
            waiting += self.commits[number].parents
        return found


def blocks(content: bytes) -> list[bytes]:
    """The blocks of a file; one of zeros is like any other of zeros."""
    cut = [content[start : start + BLOCK] for start in range(0, len(content), BLOCK)]
    return [block if block.strip(b"\0") else b"" for block in cut]


def built(history: list[Step]) -> Iterator[Model]:
    folder = Path(tempfile.mkdtemp())
    try:
        model = Model(folder)
        for step in history:
            model.make(step)
        yield model
    finally:
        shutil.rmtree(folder)


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, min_size=1, max_size=9), left_out)
def test_blame_is_what_going_back_block_by_block_says(history: list[Step], out: list[int]) -> None:
    for model in built(history):
        number = len(model.commits) - 1
        hidden = model.up_to(out)
        newest = model.history.commit(model.commits[number].id)
        for path, content in model.commits[number].files.items():
            blame = Blame(model.memory, model.history, BLOCK)
            found = blame(newest, path, [model.commits[each].id for each in hidden])
            assert b"".join(content[r.offset : r.offset + r.length] for r in found) == content
            for region in found:
                inside = content[region.offset : region.offset + region.length]
                first = region.offset // BLOCK
                for place, block in enumerate(blocks(inside), first):
                    who = model.who(number, path, place, hidden)
                    assert (region.commit.id, region.older) == who
                    assert region.hole == (block == b"")


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, min_size=1, max_size=9), left_out)
def test_find_is_what_looking_into_every_commit_says(history: list[Step], out: list[int]) -> None:
    for model in built(history):
        hidden = model.up_to(out)
        among = [number for number in range(len(model.commits)) if number not in hidden]
        inner = {parent for number in among for parent in model.commits[number].parents}
        ends = [model.commits[number] for number in among if number not in inner]
        by_id = {commit.id: commit for commit in model.commits}
        tips = [commit.id for commit in model.commits]
        stop = [model.commits[number].id for number in hidden]
        order = [by_id[i] for i in model.history.oldest_first(tips, stop)]
        look = Find(partial(getattr, model, "memory"), model.history)
        found = {item.path: item for item in look(Glob(b"[a-e]"), tips, stop)}
        ever = {path for number in among for path in model.commits[number].files}
        assert {path for path in found if path != b"d"} == ever
        for path in ever:
            item = found[path]
            first = next(commit for commit in order if path in commit.files)
            assert item.first.id == first.id
            assert item.first_entry.size == len(first.files[path])
            assert item.last_entry.size == len(by_id[item.last.id].files[path])
            if item.deleted_by is None:
                assert item.last.id in {end.id for end in ends}
            else:
                assert not any(path in end.files for end in ends)
                assert path not in by_id[item.deleted_by.id].files
                assert item.last.id in item.deleted_by.parents
