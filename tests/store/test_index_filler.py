"""Filling a new index at once gives what adding the packs one by one gives."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from treering.store import index_filler
from treering.store.block_index import BlockIndex, Location
from treering.store.index_filler import IndexFiller
from treering.store.packfile import FOOTER_ENTRY, Footer, FooterEntry


def footer(chance: random.Random, known: list[bytes]) -> Footer:
    """A pack of 1 to 80 objects, of which one in ten lies in an earlier pack, too."""
    found = {}
    for _ in range(chance.randrange(1, 80)):
        again = known and chance.random() < 0.1
        key = chance.choice(known) if again else b"\1" + chance.randbytes(32)
        found[key] = FOOTER_ENTRY.pack(key, 1, chance.randrange(1 << 40), 10, 20)
    known += found
    return Footer(b"".join(found[key] for key in sorted(found)))


@pytest.mark.parametrize("run", [1, 100, 1 << 19], ids=["many-runs", "some-runs", "in-memory"])
def test_fills_as_adding_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: int
) -> None:
    monkeypatch.setattr(index_filler, "RUN", run)
    monkeypatch.setattr(index_filler, "AT_ONCE", 64)
    monkeypatch.setattr(index_filler, "PIECE", 7)
    chance, known = random.Random(run), list[bytes]()
    packs = {chance.randbytes(32): footer(chance, known) for _ in range(30)}
    filler = IndexFiller(tmp_path)
    for name, held in packs.items():
        filler.add_pack(name, held)
    assert filler.finish() == len(set(known))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.mdb", "lock.mdb"]

    index = BlockIndex(tmp_path)
    assert index.settled and not index.unfinished()
    assert set(index.packs().values()) == set(packs)
    copies = {(name, entry) for name, held in packs.items() for entry in held}
    for key, location in index.items():
        assert (index.pack_name(location.pack), FooterEntry(key, *location[1:])) in copies
    assert index.present(sorted(set(known))) == [True] * len(index)
    new = b"\1" + chance.randbytes(32)
    added = index.add_pack(b"n" * 32, [FooterEntry(new, 0, 50, 1, 2)])  # type: ignore[arg-type]
    assert index.locate([new]) == [Location(added, 0, 50, 1, 2)]
    assert added not in range(1, len(packs) + 1)
    index.close()
