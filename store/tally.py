"""What closures hold, counted: objects once each, and what they stand for as often as it occurs.

A walk by node id, in which no block is read: its lengths stand in the block index. A node is
visited once, whoever names it, and what lies below it is remembered, so that a crafted tree, or the
thousandth commit, costs only what is new in it. That nodes fit each other is not checked: see
`fsck`.

Memory holds a few bytes an object (`object_set`). What lies below each node stands in a temporary
SQLite table: in memory while that is short, and else in a file that SQLite deletes before it writes
to it, so that nothing is left however the command ends. Belongs to one thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .block_index import Location
from .block_store import BlockStore
from .content import block_count
from .errors import StorageError
from .ids import NULL, Key, block_key, node_key
from .nodes import BranchNode, Entry, IndexNode, LeafNode, Node, RootNode, decode
from .object_set import ObjectSet, place
from .progress import SILENT, Progress
from .trees import load_root

PENDING: Final = 4096
"""Rows of the table that wait for one insert."""


@dataclass
class Amount:
    """Objects, each counted once: their number, their plain bytes, and the bytes of their payloads
    in packs."""

    objects: int = 0
    plain: int = 0
    stored: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.objects + other.objects, self.plain + other.plain, self.stored + other.stored
        )

    def __sub__(self, other: Amount) -> Amount:
        return Amount(
            self.objects - other.objects, self.plain - other.plain, self.stored - other.stored
        )

    def add(self, locations: Iterable[Location]) -> None:
        for location in locations:
            self.objects += 1
            self.plain += location.plain
            self.stored += location.stored


@dataclass
class Below:
    """What lies below a node, as often as it occurs: folders, and bytes of files that are no
    holes."""

    folders: int = 0
    data: int = 0

    def add(self, other: Below) -> None:
        self.folders += other.folders
        self.data += other.data


class _References(NamedTuple):
    """What a node, or an entry, refers to; how many of its entries are folders and how many not."""

    blocks: list[Key]
    nodes: list[bytes]
    folders: int = 0
    files: int = 0


@dataclass
class _Visit:
    """A node on the way down: its place, the nodes it refers to that are not visited yet, and what
    was found below it so far."""

    place: int
    nodes: Iterator[tuple[bytes, Location]]
    below: Below = field(default_factory=Below)


class Marking:
    """Walks closures, and keeps the set of their objects. LostObject when one is absent."""

    def __init__(self, store: BlockStore, progress: Progress = SILENT) -> None:
        self.objects = ObjectSet()
        self._store = store
        self._progress = progress

    def root(self, root: bytes) -> Below:
        """Walk a root and its closure."""
        return self.node(root, load_root(self._store, root).block_size)

    def entry(self, entry: Entry, block_size: int) -> Below:
        """Walk what an entry refers to. The entry itself counts as below."""
        return self._walk(_of_entries((entry,), block_size), block_size)

    def node(self, identity: bytes, block_size: int) -> Below:
        """Walk a node and what it refers to; `block_size` is that of the files."""
        return self._walk(_References([], [identity]), block_size)

    def _walk(self, start: _References, block_size: int) -> Below:
        stack = [self._visit(start, -1)]
        while True:
            visit = stack[-1]
            following = next(visit.nodes, None)
            if following is None:
                stack.pop()
                if not stack:
                    return visit.below
                self._leave(visit.place, visit.below)
                stack[-1].below.add(visit.below)
                continue
            identity, location = following
            if self.objects.add([location]):
                self._met_nodes(location)
                found = _references(decode(self._store.node(identity)), block_size)
                stack.append(self._visit(found, place(location)))
            else:
                visit.below.add(self._known(place(location)))

    def _visit(self, found: _References, at: int) -> _Visit:
        located = self._store.locate([*found.blocks, *map(node_key, found.nodes)])
        blocks = located[: len(found.blocks)]
        fresh = self.objects.add(blocks)
        self._met_blocks(fresh)
        self._progress.advance(files=found.files, size=sum(block.plain for block in fresh))
        nodes = zip(found.nodes, located[len(blocks) :], strict=True)
        below = Below(found.folders, sum(block.plain for block in blocks))
        return _Visit(at, nodes, below)

    def _met_blocks(self, fresh: list[Location]) -> None:
        """Blocks that were not met before."""

    def _met_nodes(self, fresh: Location) -> None:
        """A node that was not met before."""

    def _known(self, _place: int) -> Below:
        """What lies below a node that was met before."""
        return Below()

    def _leave(self, at: int, below: Below) -> None:
        """All that lies below a node is known."""


class Tally(Marking):
    """Counts as well: all objects in `blocks` and `nodes`, those that are not among `others` in
    `alone`."""

    def __init__(
        self, store: BlockStore, others: ObjectSet | None = None, progress: Progress = SILENT
    ) -> None:
        super().__init__(store, progress)
        self.blocks, self.nodes, self.alone = Amount(), Amount(), Amount()
        self._others = others
        self._table = _Table()

    def close(self) -> None:
        self._table.close()

    def _met_blocks(self, fresh: list[Location]) -> None:
        self.blocks.add(fresh)
        self._add_alone(fresh)

    def _met_nodes(self, fresh: Location) -> None:
        self.nodes.add([fresh])
        self._add_alone([fresh])

    def _add_alone(self, fresh: list[Location]) -> None:
        others = self._others
        if others is not None:
            self.alone.add(location for location in fresh if location not in others)

    def _known(self, at: int) -> Below:
        return self._table.get(at)

    def _leave(self, at: int, below: Below) -> None:
        self._table.put(at, below)


class _Table:
    """Place of a node -> what lies below it."""

    def __init__(self) -> None:
        self._pending: dict[int, Below] = {}
        with _sqlite_errors():
            self._conn = sqlite3.connect("", isolation_level=None)
            self._conn.execute("create table below (place integer primary key, folders, data)")
            self._conn.execute("begin")

    def close(self) -> None:
        self._conn.close()

    def put(self, at: int, below: Below) -> None:
        self._pending[at] = below
        if len(self._pending) == PENDING:
            # As text: a crafted tree holds more bytes than SQLite's integers reach.
            rows = ((_signed(at), str(b.folders), str(b.data)) for at, b in self._pending.items())
            with _sqlite_errors():
                self._conn.executemany("insert into below values (?, ?, ?)", rows)
            self._pending.clear()

    def get(self, at: int) -> Below:
        found = self._pending.get(at)
        if found is None:
            query = "select folders, data from below where place=?"
            with _sqlite_errors():
                folders, data = self._conn.execute(query, (_signed(at),)).fetchone()
            found = Below(int(folders), int(data))
        return found


def _signed(at: int) -> int:
    """SQLite's integers are signed."""
    return at - (1 << 63)


@contextmanager
def _sqlite_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(
            f"a temporary table: {error}", hint="is there room for temporary files (TMPDIR)?"
        ) from error


def _references(node: Node, block_size: int) -> _References:
    match node:
        case IndexNode():
            children = [node.child(number) for number in range(len(node))]
            held = [child for child in children if child != NULL]
            return _References([], held) if node.level else _References([*map(block_key, held)], [])
        case LeafNode():
            return _of_entries(node.entries, block_size)
        case BranchNode():
            return _References([], [child.node for child in node.children])
        case RootNode():
            return _of_entries((node.top,), block_size)


def _of_entries(entries: Iterable[Entry], block_size: int) -> _References:
    blocks: list[Key] = []
    nodes: list[bytes] = []
    folders = files = 0
    for entry in entries:
        if entry.is_folder:
            folders += 1
            nodes.append(entry.content)
        else:
            files += 1
            if entry.content == NULL:
                continue
            if block_count(entry.size, block_size) > 1:
                nodes.append(entry.content)
            else:
                blocks.append(block_key(entry.content))
    return _References(blocks, nodes, folders, files)
