"""The block maps beside the last commit: where the committed content of each changed block lies,
and where on the device the file has the block now."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from operator import attrgetter
from typing import Final, Literal, NamedTuple

from ..store.content import block_count, blocks_of
from ..store.errors import DriverError, NotFound
from ..store.ids import block_key
from ..store.nodes import Entry
from ..store.path_finder import PathFinder
from ..store.quoting import quote_path
from ..store.repository import Repository
from .attached import Attachment
from .block_reader import OPEN_FLAGS
from .extents import device_runs
from .folder_chain import FolderChain
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
    device: int | None = None
    """Where on the device the file has the first of them now, in bytes, if that was asked for."""


def block_rows(
    repository: Repository, base: Entry | None, rows: Iterable[Reply]
) -> Iterator[BlockRow]:
    """What the driver's rows say of each block, beside the top folder of the maps' base root."""
    finder = PathFinder(repository.store, base)
    for row in rows:
        path, status = raw(row["file"]), row["status"]
        first, end = row["block"], row["block"] + row["count"]
        stored = _stored(finder, row["base"])
        blocks = block_count(stored.size, repository.block_size) if stored is not None else 0
        middle = max(first, min(end, blocks))
        if stored is not None and first < middle:
            for number, count, address in _addresses(repository, stored, blocks, first, middle):
                yield BlockRow(path, number, count, address, status)
        if middle < end:
            yield BlockRow(path, middle, end - middle, "new", status)


def _stored(finder: PathFinder, path: str | None) -> Entry | None:
    entry = None if path is None else finder.find(raw(path))
    return entry if entry is not None and entry.is_file else None


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


def with_places(
    attached: Attachment, rows: Iterable[BlockRow], block_size: int
) -> Iterator[BlockRow]:
    """Rows with where their blocks lie on the device, split where that is elsewhere. DriverError
    where the file system does not tell."""
    top = attached.backing()
    try:
        with FolderChain(top) as folders:
            for path, of_file in groupby(rows, attrgetter("path")):
                yield from _places(folders, path, of_file, block_size)
    finally:
        os.close(top)


def _places(
    folders: FolderChain, path: bytes, rows: Iterable[BlockRow], block_size: int
) -> Iterator[BlockRow]:
    folder, _, name = path.rpartition(b"/")
    try:
        descriptor = os.open(name, OPEN_FLAGS, dir_fd=folders.reach(folder))
    except OSError:
        yield from rows  # it is gone, or only root may see it
        return
    try:
        for row in rows:
            for first, count, device in device_runs(descriptor, row.first, row.blocks, block_size):
                yield row._replace(first=first, blocks=count, device=device)
    except OSError as error:
        raise DriverError(
            f"the file system does not tell where {quote_path(path)} lies: {error.strerror}",
            hint="leave --physical away",
        ) from error
    finally:
        os.close(descriptor)
