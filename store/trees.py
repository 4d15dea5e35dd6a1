"""Root trees: what a snapshot is, looked at from its root.

Reads only; every function may be called from any thread. Paths are bytes without a leading slash;
the empty path is the top folder. The cost of a look-up follows the depth of the path, of a walk
what it yields.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple, Protocol

from . import directories
from .content import NodeSource, block_count, blocks_of
from .errors import Corrupt, NotFound
from .folder_differences import differences as folder_differences
from .ids import NULL, block_key
from .leaf_pairs import LeafPairs
from .nodes import CHUNKER_FIXED, FORMAT_VERSION, Entry, EntryKind, RootNode, decode_as, encode
from .packfile import Record

READ_BATCH: Final = 64
"""Blocks fetched at once by a sequential reader: 4 MiB of the default block size."""


class ObjectSource(NodeSource, Protocol):
    """A node source that also serves records, in whatever order suits the disk."""

    def stream(self, keys: list[bytes]) -> Iterator[Record]: ...

    def expand(self, record: Record) -> bytes: ...


def load_root(source: NodeSource, root: bytes) -> RootNode:
    """The root node `root`. Corrupt when the object is anything else."""
    return decode_as(RootNode, source.node(root))


def load_tree(source: NodeSource, name: str, root: bytes) -> Tree:
    """The tree of the root of a commit, `name`."""
    return Tree(name, load_root(source, root).top)


def encode_root(top: Entry, block_size: int) -> bytes:
    """The plain bytes of the root node over a top folder entry."""
    return encode(RootNode(FORMAT_VERSION, block_size, CHUNKER_FIXED, top))


class Tree(NamedTuple):
    """A whole stored tree: a name that stays its own wherever refs move - the id of a commit, or
    root:HEX - and its top folder."""

    name: str
    top: Entry

    @property
    def commit(self) -> str | None:
        """The id of the commit that was named."""
        return None if ":" in self.name else self.name


def short_name(name: str) -> str:
    """The name of a tree as messages write it."""
    kind, colon, digits = name.rpartition(":")
    return f"{kind}{colon}{digits[:10]}"


def components(path: bytes) -> list[bytes]:
    """The names along a path; b"" and b"/" have none."""
    return [name for name in path.split(b"/") if name]


def lookup(source: NodeSource, top: Entry, path: bytes) -> Entry:
    """The entry at `path` below a folder entry. NotFound when there is none."""
    entry = top
    for name in components(path):
        found = directories.find(source, entry.content, name) if entry.is_folder else None
        if found is None:
            raise NotFound(f"no such path: {path.decode(errors='surrogateescape')}")
        entry = found
    return entry


def lookup_or_none(source: NodeSource, top: Entry | None, path: bytes) -> Entry | None:
    """The entry at `path` below a folder entry, or None."""
    try:
        return lookup(source, top, path) if top is not None else None
    except NotFound:
        return None


class Located(NamedTuple):
    """An entry and its path from the top."""

    path: bytes
    entry: Entry


def walk(source: NodeSource, folder: Entry, prefix: bytes = b"") -> Iterator[Located]:
    """Everything below a folder entry in tree order: a folder comes before what is in it."""
    stack = [(prefix, directories.entries(source, folder.content))]
    while stack:
        base, listing = stack[-1]
        entry = next(listing, None)
        if entry is None:
            stack.pop()
            continue
        path = base + entry.name
        yield Located(path, entry)
        if entry.is_folder:
            stack.append((path + b"/", directories.entries(source, entry.content)))


class PathDifference(NamedTuple):
    """What stands at `path` in the old and in the new tree; None where nothing does."""

    path: bytes
    old: Entry | None
    new: Entry | None


def differences(
    source: NodeSource,
    old: Entry | None,
    new: Entry | None,
    prefix: bytes = b"",
    pairs: LeafPairs | None = None,
) -> Iterator[PathDifference]:
    """All paths that differ between two folder entries, in tree order; a folder comes before what
    is in it, when its own metadata or its content differs. Equal nodes are not read. `pairs` as for
    two folders."""
    pairs = pairs or LeafPairs()
    stack = [(prefix, folder_differences(source, _folder(old), _folder(new), pairs=pairs))]
    while stack:
        base, listing = stack[-1]
        found = next(listing, None)
        if found is None:
            stack.pop()
            continue
        name, before, after = found
        yield PathDifference(path := base + name, before, after)
        held, wanted = _folder(before), _folder(after)
        if held != wanted:
            below = folder_differences(source, held, wanted, pairs=pairs)
            stack.append((path + b"/", below))


def _folder(entry: Entry | None) -> bytes | None:
    return entry.content if entry is not None and entry.kind == EntryKind.FOLDER else None


def read_file(
    source: ObjectSource, entry: Entry, block_size: int, offset: int = 0, length: int | None = None
) -> Iterator[bytes]:
    """The bytes of a file entry from `offset`, `length` of them or to the end, in pieces of at most
    one block; holes come as zeros. Every block is verified."""
    end = entry.size if length is None else min(entry.size, offset + length)
    blocks = block_count(entry.size, block_size)
    position = offset
    wanted = blocks_of(
        source, entry.content, blocks, offset // block_size, block_count(end, block_size)
    )
    while batch := list(islice(wanted, READ_BATCH)):
        plain = read_blocks(source, {identity for _, identity in batch})
        for number, identity in batch:
            start = number * block_size
            yield from _zeros(start - position, block_size)
            block = plain[identity]
            if len(block) != min(block_size, entry.size - start):
                raise Corrupt(f"a block of {entry.name!r} has the wrong length")
            position = max(position, start)
            piece = block[position - start : end - start]
            yield piece
            position += len(piece)
    yield from _zeros(end - position, block_size)


def read_blocks(source: ObjectSource, ids: set[bytes]) -> dict[bytes, bytes]:
    """The plain bytes of blocks by id."""
    keys: list[bytes] = [block_key(identity) for identity in ids if identity != NULL]
    return {record.key[1:]: source.expand(record) for record in source.stream(keys)}


def _zeros(count: int, piece: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, piece))
        count -= piece
