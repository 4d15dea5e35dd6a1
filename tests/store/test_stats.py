"""What commits hold and alone hold, against plain dictionaries and a walk without any memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from support import BLOCK, Memory, Tree, put_tree, record_of, store_objects

from treering.store.errors import LostObject
from treering.store.history import Commit, Person, RefUpdate
from treering.store.ids import NULL, NodeId, block_key, node_key
from treering.store.nodes import BranchNode, Entry, IndexNode, LeafNode, RootNode, decode
from treering.store.packfile import scan_records
from treering.store.repository import Repository
from treering.store.root_record import RootRecord
from treering.store.stats import Logical, repository_stats, tree_stats
from treering.store.tally import Amount

WHO = Person("A", "a@example.org", 1_700_000_000)
MAIN = "refs/heads/main"
PATHS = (b"a", b"b", b"d/a", b"d/b", b"e/a")
PROBES = (b"d", b"w", b"w/0150", *PATHS)
Places = dict[bytes, set[bytes]]


def places(memory: Memory, root: bytes) -> Places:
    """The keys of a closure by the path that they belong to, each as often as it occurs: a folder's
    nodes to the folder, a file's blocks and nodes to the file."""
    found: Places = {}

    def entry(path: bytes, held: Entry) -> None:
        if held.content == NULL:
            return
        if held.is_file and held.size <= BLOCK:
            found.setdefault(path, set()).add(block_key(held.content))
        else:
            node(path, held.content)

    def node(path: bytes, identity: bytes) -> None:
        found.setdefault(path, set()).add(node_key(identity))
        shape = decode(memory.objects[node_key(identity)])
        if isinstance(shape, RootNode):
            entry(path, shape.top)
        elif isinstance(shape, LeafNode):
            for below in shape.entries:
                entry(path + b"/" + below.name if path else below.name, below)
        elif isinstance(shape, BranchNode):
            for child in shape.children:
                node(path, child.node)
        elif isinstance(shape, IndexNode):
            ids = {shape.child(number) for number in range(len(shape))} - {NULL}
            if shape.level:
                for child_id in ids:
                    node(path, child_id)
            else:
                found[path].update(map(block_key, ids))

    node(b"", root)
    return found


def at(found: Places, path: bytes) -> set[bytes]:
    """All keys at a path and below."""
    inside = (keys for where, keys in found.items() if is_at(where, path))
    return set().union(*inside)


def beside(found: Places, path: bytes) -> set[bytes]:
    outside = (keys for where, keys in found.items() if not is_at(where, path))
    return set().union(*outside)


def is_at(where: bytes, path: bytes) -> bool:
    return not path or where == path or where.startswith(path + b"/")


def shown(files: dict[bytes, bytes], path: bytes) -> Logical:
    """The figures of a tree of files, by plain counting."""
    inside = {name: content for name, content in files.items() if is_at(name, path)}
    folders = {name[:end] for name in inside for end in range(len(name)) if name[end:][:1] == b"/"}
    below = {name for name in folders if is_at(name, path) and name != path}
    holes = sum(
        len(piece)
        for content in inside.values()
        for piece in pieces(content)
        if not piece.strip(b"\0")
    )
    return Logical(len(inside), len(below), sum(map(len, inside.values())), holes)


def pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), BLOCK):
        yield content[start : start + BLOCK]


class Kept:
    """A repository, the objects it was given, and its commits."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.memory = Memory()
        self.commits: list[Commit] = []
        self.files: list[dict[bytes, bytes]] = []
        self._stored: set[bytes] = set()
        self._packed: dict[bytes, int] = {}
        self._scanned: set[Path] = set()

    def commit(self, files: dict[bytes, bytes], ref: str = MAIN) -> Commit:
        self.files.append(files)
        return self.commit_root(self.memory.put_root(put_tree(self.memory, nested(files))), ref)

    def commit_root(self, root: bytes, ref: str = MAIN) -> Commit:
        self.store()
        before = self.repository.history.ref(ref)
        parents = [before] if before else []
        record = RootRecord(NodeId(root))
        who = WHO._replace(time=WHO.time + len(self.commits))
        made = self.repository.history.create_commit(record, parents, who, who, "x\n", ref)
        self.commits.append(made)
        return made

    def store(self) -> None:
        """Put what is new in memory into packs."""
        fresh = self.memory.objects.keys() - self._stored
        store_objects(
            self.repository.store, [record_of(key[0], self.memory.objects[key]) for key in fresh]
        )
        self._stored |= fresh
        for path in set((self.repository.path / "packs").iterdir()) - self._scanned:
            self._scanned.add(path)
            for entry, _ in scan_records(path):
                self._packed[entry.key] = entry.stored

    def amount(self, keys: set[bytes]) -> Amount:
        """What these objects take, by what lies in the packs."""
        return Amount(
            len(keys),
            sum(len(self.memory.objects[key]) for key in keys),
            sum(self._packed[key] for key in keys),
        )

    def places(self) -> list[Places]:
        return [places(self.memory, commit.root) for commit in self.commits]


def nested(files: dict[bytes, bytes]) -> Tree:
    tree: dict[bytes, dict[bytes, bytes] | bytes] = {}
    for path, content in files.items():
        folder, slash, name = path.rpartition(b"/")
        if slash:
            below = tree.setdefault(folder, {})
            assert isinstance(below, dict)
            below[name] = content
        else:
            tree[name] = content
    return tree


def blocks_of(keys: set[bytes]) -> set[bytes]:
    return {key for key in keys if key[0] == 1}


letters = st.lists(st.integers(0, 3), max_size=5)
trees = st.dictionaries(st.sampled_from(PATHS), letters, min_size=1)


class Step(NamedTuple):
    files: dict[bytes, list[int]]
    wide: int
    side: bool


steps = st.builds(Step, trees, st.sampled_from([0, 0, 300]), st.booleans())


def contents(step: Step) -> dict[bytes, bytes]:
    """Files of whole blocks of one letter, the last one cut; a wide folder is one of many nodes."""
    found = {
        path: b"".join(bytes([letter]) * BLOCK for letter in letters)[: -BLOCK // 2]
        for path, letters in step.files.items()
    }
    wide = {b"w/%04d" % number: b"%d" % (number % 7) for number in range(step.wide)}
    return {**found, **wide}


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, min_size=1, max_size=4))
def test_any_history(made: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Repository.create(Path(folder) / "r", BLOCK)
        repository = Repository(Path(folder) / "r", threads=1)
        try:
            kept = Kept(repository)
            for step in made:
                kept.commit(contents(step), "refs/heads/side" if step.side else MAIN)
            check_commits(kept)
            check_repository(kept)
        finally:
            repository.close()


def check_commits(kept: Kept) -> None:
    all_places = kept.places()
    for number, (commit, files) in enumerate(zip(kept.commits, kept.files, strict=True)):
        mine = all_places[number]
        others = set().union(
            *(at(found, b"") for other, found in enumerate(all_places) if other != number)
        )
        for path in {b"", *PROBES} & {b"", *mine, *files}:
            found = tree_stats(kept.repository, commit, path)
            inside = at(mine, path)
            assert found.logical == shown(files, path)
            assert found.stored.blocks == kept.amount(blocks_of(inside))
            assert found.stored.nodes == kept.amount(inside - blocks_of(inside))
            assert found.alone == kept.amount(inside - beside(mine, path) - others)


def check_repository(kept: Kept) -> None:
    found = repository_stats(kept.repository)
    keys = set().union(*(at(one, b"") for one in kept.places()))
    assert found.commits == len(kept.commits)
    assert found.logical == tuple(map(sum, zip(*(shown(f, b"") for f in kept.files), strict=True)))
    assert found.stored.blocks == kept.amount(blocks_of(keys))
    assert found.stored.nodes == kept.amount(keys - blocks_of(keys))
    cut = {piece for files in kept.files for held in files.values() for piece in pieces(held)}
    plain = {blake3(piece).digest(): len(piece) for piece in cut if piece.strip(b"\0")}
    assert found.stored.blocks.plain == sum(plain.values())
    assert (found.reflog_commits, found.reflogs) == (0, Amount())
    assert found.garbage == (0, 0)


@pytest.fixture
def kept(repository: Repository) -> Kept:
    return Kept(repository)


def test_a_second_commit_of_the_same_tree_leaves_nothing_alone(kept: Kept) -> None:
    first = kept.commit({b"a": b"x" * BLOCK})
    assert tree_stats(kept.repository, first).alone.objects == 3
    second = kept.commit({b"a": b"x" * BLOCK})
    for commit in (first, second):
        found = tree_stats(kept.repository, commit)
        assert (found.alone, found.stored.blocks.objects) == (Amount(), 1)


def test_a_copy_in_another_folder_of_the_commit_is_not_held_alone(kept: Kept) -> None:
    files = {b"d/a": b"x" * 3 * BLOCK, b"d/b": b"y", b"e/a": b"x" * 3 * BLOCK, b"e/b": b"y"}
    commit = kept.commit(files)
    assert tree_stats(kept.repository, commit, b"d").alone == Amount()
    assert tree_stats(kept.repository, commit).alone.objects > 0
    other = kept.commit({**files, b"e/b": b"z"})
    found = tree_stats(kept.repository, other, b"e").alone
    assert found == kept.amount(
        at(places(kept.memory, other.root), b"e")
        - at(kept.places()[0], b"")
        - {block_key(blake3(b"y").digest())}
    )


def test_a_tree_that_names_itself_over_and_over_is_visited_once(kept: Kept) -> None:
    memory = kept.memory
    folder = memory.put_folder(b"x", [memory.put_file(b"f", b"hole".ljust(2 * BLOCK, b"\0"))])
    for _ in range(40):
        folder = memory.put_folder(
            b"x", [msgspec.structs.replace(folder, name=name) for name in (b"a", b"b")]
        )
    top = msgspec.structs.replace(folder, name=b"")
    commit = kept.commit_root(memory.put_root(top))
    found = tree_stats(kept.repository, commit)
    assert found.logical == (2**40, 2**41 - 2, 2**41 * BLOCK, 2**40 * BLOCK)
    assert found.stored.nodes.objects == 43
    whole = repository_stats(kept.repository)
    assert whole.logical == found.logical


def test_what_only_a_reflog_keeps_and_what_nothing_keeps(kept: Kept) -> None:
    kept.commit({b"a": b"1"})
    gone = kept.commit({b"a": b"2"})
    history = kept.repository.history
    history.update_refs([RefUpdate(MAIN, gone.id, gone.parents[0])], WHO, "back")
    kept.memory.put_block(b"garbage")
    kept.store()
    store_objects(kept.repository.store, [])
    found = repository_stats(kept.repository)
    first, second = (at(one, b"") for one in kept.places())
    assert (found.commits, found.reflog_commits) == (1, 1)
    assert found.stored.blocks + found.stored.nodes == kept.amount(first)
    assert found.reflogs == kept.amount(second - first)
    assert found.garbage == (1, len(b"garbage"))
    assert found.packs.size == sum(
        p.stat().st_size for p in (kept.repository.path / "packs").iterdir()
    )
    assert tree_stats(kept.repository, gone).alone == kept.amount(second - first)


def test_a_lost_object_is_named(kept: Kept) -> None:
    commit = kept.commit({b"a": b"1", b"b": b"2"})
    lost = block_key(blake3(b"2").digest())
    kept.repository.store.index.forget([lost])
    for look in (
        lambda: tree_stats(kept.repository, commit),
        lambda: repository_stats(kept.repository),
    ):
        with pytest.raises(LostObject, match=f"block:{lost[1:].hex()[:8]}"):
            look()
