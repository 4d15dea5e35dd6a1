"""A set by fingerprints: like a set, and much smaller."""

from __future__ import annotations

import random
import tracemalloc

from treering.store.fingerprints import Fingerprints


def test_tells_what_was_added() -> None:
    chance, known, found = random.Random(1), set[bytes](), Fingerprints()
    for _ in range(20_000):
        item = chance.randbytes(2)
        assert found.add(item) == (item not in known)
        known.add(item)
    assert len(found) == len(known)


def test_an_item_takes_few_bytes() -> None:
    tracemalloc.start()
    try:
        found = Fingerprints()
        for number in range(150_000):
            found.add(b"%0100d" % number)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) == 150_000
    assert peak < 24 * 150_000
