"""Nodes kept for a while take the memory they are allowed, however small they are."""

from __future__ import annotations

import tracemalloc

from treering.store.ids import NODE_PREFIX, Key, node_id
from treering.store.node_cache import AHEAD_BYTES, PLAIN_BYTES, NodeCache
from treering.store.packfile import Record


def test_memory_of_tiny_nodes() -> None:
    cache = NodeCache()
    tracemalloc.start()
    try:
        for number in range(100_000):
            plain = b"node %064d" % number
            identity = node_id(plain)
            cache.keep(identity, plain)
            cache.keep_records([Record(Key(NODE_PREFIX + identity + b"r"), 0, 70, plain + b"r")])
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert cache.plain(node_id(b"node %064d" % 99_999)) is not None
    assert cache.plain(node_id(b"node %064d" % 0)) is None
    assert taken < 1.2 * (PLAIN_BYTES + AHEAD_BYTES)
