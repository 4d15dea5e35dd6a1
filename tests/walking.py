"""Walks of a closure, and the files and folders made by hand that they go over."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from support import BLOCK, Memory, file_entry

from treering.store.closure import ClosureWalk
from treering.store.content import IndexBuilder
from treering.store.errors import Corrupt
from treering.store.ids import block_id, node_key
from treering.store.nodes import Entry


class Walked:
    """What a walk visited: nodes in order, and the keys of everything."""

    def __init__(self, walk: ClosureWalk, store: Memory, limit: int = 7) -> None:
        self.nodes: list[bytes] = []
        self.keys: set[bytes] = set()
        while taken := walk.take(limit):
            assert len(taken) <= limit
            for identity in taken:
                self.nodes.append(identity)
                walk.visit(identity, store.objects[node_key(identity)])
            self.keys.update(walk.drain_blocks().keys)
        assert walk.blocks_waiting == 0
        self.keys.update(map(node_key, self.nodes))


def walk(store: Memory, root: bytes, base: bytes | None = None, limit: int = 7) -> Walked:
    found = ClosureWalk(store)
    found.add_root(root, base)
    return Walked(found, store, limit)


def refuse(store: Memory, *roots: bytes, base: bytes | None = None, split: bool = False) -> None:
    """A walk of these roots, each over the base, ends with Corrupt. `split`: because a folder is
    split in another way than ours, and for nothing else."""
    found = ClosureWalk(store)
    for root in roots:
        found.add_root(root, base)
    with pytest.raises(Corrupt) as caught:
        Walked(found, store)
    assert ("is split in a way of its own" in str(caught.value)) == split


def block(number: int) -> bytes:
    return block_id(b"%d" % number)


def index(store: Memory, ids: Iterable[bytes]) -> bytes:
    builder = IndexBuilder(store.put_node)
    builder.add(b"".join(ids))
    return builder.finish()


def large_file(name: bytes, content: bytes, blocks: int) -> Entry:
    return file_entry(name, size=blocks * BLOCK, content=content)


def root_of(store: Memory, *entries: Entry) -> bytes:
    return store.put_root(store.put_folder(b"", sorted(entries, key=lambda entry: entry.name)))


def changed(entry: Entry, **fields: object) -> Entry:
    return msgspec.structs.replace(entry, **fields)


def numbered(count: int, size: int = 1) -> list[Entry]:
    return [file_entry(b"%06d" % n, size=size, content=block(n)) for n in range(count)]
