"""Nodes: the canonical MessagePack records that make up a root tree.

Four shapes, each an array that starts with its type number (`docs/format.md` has the tables):

- *index*: level and up to 256 child ids, one byte string. Level 0 lists block ids. The null id
  stands for an all-zero block and for an index node all of whose children are null.
- *directory leaf*: entries sorted by name bytes.
- *directory branch*: children of a split folder, with the sums of what lies below each.
- *root*: format, block size, chunker and the entry of the top folder (its name is empty).

Invariant: one content has one encoding. `decode` refuses whatever does not encode back to the same
bytes, and checks order, uniqueness, shapes and ranges, so that code behind it may trust a node.
Pure; every function may be called from any thread.
"""

from __future__ import annotations

from enum import IntEnum
from operator import lt
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from .errors import Corrupt
from .ids import ID_LENGTH, NULL, node_id

FANOUT: Final = 256
MAX_INDEX_LEVEL: Final = 7
MAX_BRANCH_HEIGHT: Final = 16
MAX_LEAF_ENTRIES: Final = 1024
MAX_NAME: Final = 255
MAX_TARGET: Final = 4095
FORMAT_VERSION: Final = 1
CHUNKER_FIXED: Final = "fixed"
MIN_BLOCK_SIZE: Final = 4096
MAX_BLOCK_SIZE: Final = 8 << 20


class EntryKind(IntEnum):
    """What a directory entry is. The values are stored: never renumber."""

    FILE = 1
    FOLDER = 2
    SYMLINK = 3
    FIFO = 4
    CHARACTER_DEVICE = 5
    BLOCK_DEVICE = 6


FILE: Final = int(EntryKind.FILE)
FOLDER: Final = int(EntryKind.FOLDER)
"""As plain ints: members of an enum are looked up slowly, and every entry is asked for its kind."""

Id = Annotated[bytes, Meta(min_length=ID_LENGTH, max_length=ID_LENGTH)]
Owner = Annotated[int, Meta(ge=0, le=(1 << 32) - 1)]
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
"""Ranges that msgspec checks while it decodes: ten times faster than Python could."""


class LinkGroup(NamedTuple):
    """A hard-link group by its first path in tree order: `path`, relative to the folder that lies
    `levels_up` above the entry's own folder."""

    levels_up: int
    path: bytes


class Extras(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What most entries lack: xattrs sorted by name, link target, device number, link group."""

    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    target: bytes | None = None
    device: int | None = None
    group: tuple[int, bytes] | None = None


NO_EXTRAS: Final = Extras()


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One name in a folder.

    `mode` has the twelve permission bits, `mtime_ns` nanoseconds since the epoch (may be negative).
    `size` is bytes of a file, of a link's target, or of all files below a folder; `files` counts
    what is below a folder and is not a folder itself, and is 0 for anything else. `content` is 32
    bytes: the block id of a file of at most one block, else its top index node; a folder's
    directory node; the null id for what has no content.
    """

    name: bytes
    kind: Annotated[int, Meta(ge=1, le=6)]
    mode: Annotated[int, Meta(ge=0, le=0o7777)]
    uid: Owner
    gid: Owner
    mtime_ns: int
    size: Count
    files: Count
    content: Id
    extras: Extras | None = None

    @property
    def is_folder(self) -> bool:
        return self.kind == FOLDER

    @property
    def is_file(self) -> bool:
        return self.kind == FILE

    @property
    def kind_name(self) -> str:
        """The kind as people write it: "file", "block-device"."""
        return EntryKind(self.kind).name.lower().replace("_", "-")

    @property
    def more(self) -> Extras:
        """The extras, empty ones where there are none."""
        return self.extras or NO_EXTRAS


class Child(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One child of a directory branch: the last name below it, its id, and sums over its
    entries: their number, files and bytes."""

    last: bytes
    node: Id
    entries: Annotated[int, Meta(ge=1)]
    files: Annotated[int, Meta(ge=0)]
    size: Annotated[int, Meta(ge=0)]


class IndexNode(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    level: int
    children: bytes

    def child(self, position: int) -> bytes:
        start = position * ID_LENGTH
        return self.children[start : start + ID_LENGTH]

    def __len__(self) -> int:
        return len(self.children) // ID_LENGTH


class LeafNode(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    entries: tuple[Entry, ...]


class BranchNode(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    height: int
    children: tuple[Child, ...]


class RootNode(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    format: int
    block_size: int
    chunker: str
    top: Entry


Node = IndexNode | LeafNode | BranchNode | RootNode
DirectoryNode = LeafNode | BranchNode

UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeError, OverflowError, RecursionError)
"""What msgspec raises for bytes that are not what was asked for."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Node)
_entries_decoder = msgspec.msgpack.Decoder(tuple[Entry, ...])
encode = _encoder.encode

EMPTY_FOLDER: Final = node_id(encode(LeafNode(())))

AnyNode = TypeVar("AnyNode", IndexNode, LeafNode, BranchNode, RootNode)


def decode(plain: bytes) -> Node:
    """The node behind `plain`. Corrupt for anything that is not the one canonical encoding of a
    well-formed node, whatever the bytes are."""
    try:
        node: Node = _decoder.decode(plain)
        if encode(node) != plain:
            raise Corrupt("a node is not in canonical form")
    except UNDECODABLE as error:
        raise Corrupt(f"not a node: {error}") from error
    _check(node)
    return node


def decode_as(shape: type[AnyNode], plain: bytes) -> AnyNode:
    """Like decode; Corrupt also when the node is of another shape."""
    node = decode(plain)
    if not isinstance(node, shape):
        raise Corrupt(f"expected a {shape.__name__}, found a {type(node).__name__}")
    return node


def decode_entries(count: int, content: bytes) -> tuple[Entry, ...]:
    """The `count` entries that `content` is, one behind the other; Corrupt when it is anything
    else. That they are canonical, and what they say, is not checked: see check_leaf."""
    head = (0x90 | count).to_bytes() if count < 16 else b"\xdc" + count.to_bytes(2)
    try:
        entries: tuple[Entry, ...] = _entries_decoder.decode(head + content)
    except UNDECODABLE as error:
        raise Corrupt(f"not entries: {error}") from error
    return entries


def _check_index(node: IndexNode) -> None:
    count, rest = divmod(len(node.children), ID_LENGTH)
    if rest or not 1 <= count <= FANOUT or not 0 <= node.level <= MAX_INDEX_LEVEL:
        raise Corrupt("an index node of impossible shape")
    if node.children == bytes(len(node.children)):
        raise Corrupt("an index node of null children only")


def check_leaf(node: LeafNode) -> None:
    """Corrupt unless the entries are in order, and each is one that can be."""
    entries = node.entries
    if len(entries) > MAX_LEAF_ENTRIES:
        raise Corrupt("a directory leaf with too many entries")
    _check_names([entry.name for entry in entries])
    for entry in entries:
        kind = entry.kind
        plain = (kind == FILE and entry.size and not entry.files) or (
            kind == FOLDER and entry.content != NULL
        )
        if not plain or entry.extras is not None:
            _check_entry(entry)


def _check_names(names: list[bytes]) -> None:
    """Corrupt unless they are in order, and each can be one component of a path."""
    if not all(map(lt, names, names[1:])):
        raise Corrupt("directory entries out of order")
    joined = b"/".join(names)
    if (
        joined.count(b"/") != max(0, len(names) - 1)
        or b"\0" in joined
        or not RESERVED.isdisjoint(names)
        or max(map(len, names), default=0) > MAX_NAME
    ):
        for name in names:
            check_name(name)


def _check_branch(node: BranchNode) -> None:
    if not 1 <= node.height <= MAX_BRANCH_HEIGHT or not 1 <= len(node.children) <= MAX_LEAF_ENTRIES:
        raise Corrupt("a directory branch of impossible shape")
    previous = b""
    for child in node.children:
        if child.last <= previous:
            raise Corrupt("directory children out of order")
        previous = child.last
        if child.node == NULL:
            raise Corrupt("a directory child without an id")


def _check_root(node: RootNode) -> None:
    if node.format != FORMAT_VERSION or node.chunker != CHUNKER_FIXED:
        raise Corrupt(f"a root of unknown format {node.format} or chunker {node.chunker[:40]!r}")
    if not valid_block_size(node.block_size):
        raise Corrupt(f"a root with block size {node.block_size}")
    if node.top.name or not node.top.is_folder:
        raise Corrupt("a root whose top is not a folder")
    _check_entry(node.top)


def valid_block_size(size: int) -> bool:
    """A power of two from 4 KiB to 8 MiB."""
    return MIN_BLOCK_SIZE <= size <= MAX_BLOCK_SIZE and size & (size - 1) == 0


RESERVED: Final = frozenset((b"", b".", b".."))


def check_name(name: bytes) -> None:
    """Corrupt unless `name` can be one component of a path: this is what keeps a crafted tree from
    escaping its folder."""
    if not 1 <= len(name) <= MAX_NAME or b"/" in name or b"\0" in name or name in RESERVED:
        raise Corrupt(f"an impossible file name: {name[:80]!r}")


def _check_entry(entry: Entry) -> None:
    kind = entry.kind
    if kind != FOLDER and entry.files:
        raise Corrupt("an entry that is no folder counts files")
    if (kind == FOLDER) == (entry.content == NULL) and kind != FILE:
        raise Corrupt("an entry whose content does not fit its kind")
    if kind == FILE and entry.size == 0 and entry.content != NULL:
        raise Corrupt("an empty file with content")
    if entry.extras is not None:
        _check_extras(entry, entry.extras)
    elif kind not in (FILE, FOLDER, EntryKind.FIFO):
        raise Corrupt("an entry without its link target or device")


def _check_extras(entry: Entry, extras: Extras) -> None:
    if extras == NO_EXTRAS:
        raise Corrupt("an entry with empty extras")
    names = [name for name, _ in extras.xattrs]
    if names != sorted(set(names)) or not all(0 < len(name) <= MAX_NAME for name in names):
        raise Corrupt("xattrs out of order")
    has_target, has_device = extras.target is not None, extras.device is not None
    if has_target != (entry.kind == EntryKind.SYMLINK):
        raise Corrupt("a link target where none belongs, or none where one does")
    if extras.target is not None and (
        not 1 <= len(extras.target) <= MAX_TARGET
        or b"\0" in extras.target
        or entry.size != len(extras.target)
    ):
        raise Corrupt("an impossible link target")
    if has_device != (entry.kind in (EntryKind.CHARACTER_DEVICE, EntryKind.BLOCK_DEVICE)):
        raise Corrupt("a device number where none belongs, or none where one does")
    if extras.device is not None and not 0 <= extras.device < 1 << 64:
        raise Corrupt("an impossible device number")
    if extras.group is not None:
        _check_group(entry, extras.group)


def _check_group(entry: Entry, group: tuple[int, bytes]) -> None:
    levels_up, path = group
    if entry.is_folder or not 0 <= levels_up < 1 << 16:
        raise Corrupt("an impossible hard-link group")
    for name in path.split(b"/"):
        check_name(name)


def _check(node: Node) -> None:
    match node:
        case IndexNode():
            _check_index(node)
        case LeafNode():
            check_leaf(node)
        case BranchNode():
            _check_branch(node)
        case RootNode():
            _check_root(node)
