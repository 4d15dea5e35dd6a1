"""The block maps beside the last commit: where the committed content of each changed block lies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, Literal, NamedTuple

from ..store import trees
from ..store.content import block_count, blocks_of
from ..store.errors import NotFound
from ..store.ids import block_key
from ..store.nodes import Entry
from ..store.repository import Repository
from .fuse.control import Reply, raw

AT_ONCE: Final = 1000


class Place(NamedTuple):
    """Where an object's payload lies: the name of the pack, and the offset in bytes."""

    pack: bytes
    offset: int


Address = Place | Literal["hole", "new"]
"""`hole`: the commit has zeros there; `new`: nothing."""


class BlockRow(NamedTuple):
    """So many `blocks` of a file from `first` on that have the same status and address; 1 where
    the address is a place."""

    path: bytes
    first: int
    blocks: int
    address: Address
    status: str


def block_rows(
    repository: Repository, base: Entry | None, rows: Iterable[Reply]
) -> Iterator[BlockRow]:
    """What the driver's rows say of each block, beside the top folder of the maps' base root."""
    for row in rows:
        path, status = raw(row["file"]), row["status"]
        first, end = row["block"], row["block"] + row["count"]
        stored = _stored(repository, base, row["base"])
        blocks = block_count(stored.size, repository.block_size) if stored is not None else 0
        middle = max(first, min(end, blocks))
        if stored is not None and first < middle:
            for number, count, address in _addresses(repository, stored, blocks, first, middle):
                yield BlockRow(path, number, count, address, status)
        if middle < end:
            yield BlockRow(path, middle, end - middle, "new", status)


def _stored(repository: Repository, base: Entry | None, path: str | None) -> Entry | None:
    if base is None or path is None:
        return None
    try:
        entry = trees.lookup(repository.store, base, raw(path))
    except NotFound:
        return None
    return entry if entry.is_file else None


def _addresses(
    repository: Repository, file: Entry, blocks: int, first: int, end: int
) -> Iterator[tuple[int, int, Address]]:
    """(first, count, address) of the blocks from `first` to `end` of a stored file."""
    source, index = repository.store, repository.store.index
    found = blocks_of(source, file.content, blocks, first, end)
    at = first
    while batch := list(islice(found, AT_ONCE)):
        places = index.locate([block_key(identity) for _, identity in batch])
        for (number, identity), place in zip(batch, places, strict=True):
            if place is None:
                raise NotFound(f"block {identity.hex()[:12]} is not in the block index")
            if at < number:
                yield at, number - at, "hole"
            yield number, 1, Place(index.pack_name(place.pack), place.offset)
            at = number + 1
    if at < end:
        yield at, end - at, "hole"
