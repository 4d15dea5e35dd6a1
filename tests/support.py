"""What tests share: nodes in memory, entries made short, small trees, and strategies for nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Union

import msgspec
from hypothesis import strategies as st

from treering.store import directories
from treering.store.block_index import BlockIndex
from treering.store.block_store import BlockStore, expand
from treering.store.codec import Codec
from treering.store.content import IndexBuilder, block_count
from treering.store.errors import Corrupt, NotFound
from treering.store.ids import NULL, Key, block_id, block_key, node_id, node_key, object_id
from treering.store.nodes import (
    BranchNode,
    Child,
    Entry,
    EntryKind,
    Extras,
    IndexNode,
    LeafNode,
    Node,
    RootNode,
    decode,
    encode,
)
from treering.store.object_writer import ObjectWriter
from treering.store.packfile import Record, pack_file_name
from treering.store.trees import encode_root

CODEC = Codec()
BLOCK = 4096
"""Block size of the test trees: the smallest, so that small files have many blocks."""


class Memory:
    """Objects in a dict: a node source, an object source and a PutNode, which counts what is
    loaded and what is new."""

    def __init__(self) -> None:
        self.objects: dict[bytes, bytes] = {}
        self.loaded: list[bytes] = []
        self.stored: list[bytes] = []

    def node(self, identity: bytes) -> bytes:
        self.loaded.append(identity)
        try:
            return self.objects[node_key(identity)]
        except KeyError as error:
            raise NotFound(identity.hex()) from error

    def put_node(self, plain: bytes) -> bytes:
        identity = node_id(plain)
        if node_key(identity) not in self.objects:
            self.stored.append(identity)
            self.objects[node_key(identity)] = plain
        return identity

    def put(self, node: Node) -> bytes:
        """Store a node that a test made by hand."""
        return self.put_node(encode(node))

    def put_block(self, plain: bytes) -> bytes:
        if not plain.strip(b"\0"):
            return NULL
        identity = block_id(plain)
        self.objects[block_key(identity)] = plain
        return identity

    def put_file(self, name: bytes, content: bytes, block_size: int = BLOCK) -> Entry:
        """The entry of a file with this content, blocks and nodes stored."""
        builder = IndexBuilder(self.put_node)
        for start in range(0, len(content), block_size):
            builder.add(self.put_block(content[start : start + block_size]))
        return file_entry(name, size=len(content), content=builder.finish())

    def put_folder(self, name: bytes, entries: Iterable[Entry]) -> Entry:
        return folder_entry(name, build_folder(self, entries))

    def put_root(self, top: Entry, block_size: int = BLOCK) -> bytes:
        return self.put_node(encode_root(top, block_size))

    def stream(self, keys: Sequence[bytes]) -> Iterator[Record]:
        for key in sorted(keys):
            yield record_of(key[0], self.objects[key])

    def expand(self, record: Record) -> bytes:
        return expand(CODEC, record)


Tree = Mapping[bytes, Union[bytes, "Tree"]]
"""A tree as a test writes it: file contents and folders by name."""


def put_tree(store: Memory, tree: Tree, name: bytes = b"") -> Entry:
    """The folder entry of a tree, all its objects stored."""
    entries = [
        store.put_file(child, content)
        if isinstance(content, bytes)
        else put_tree(store, content, child)
        for child, content in sorted(tree.items())
    ]
    return store.put_folder(name, entries)


def file_entry(name: bytes, *, size: int = 0, content: bytes = NULL, mtime: int = 1) -> Entry:
    return Entry(name, EntryKind.FILE, 0o644, 1000, 1000, mtime, size, 0, content)


def folder_entry(name: bytes, folder: directories.Folder) -> Entry:
    return Entry(
        name, EntryKind.FOLDER, 0o755, 1000, 1000, 1, folder.size, folder.files, folder.node
    )


def build_folder(store: Memory, entries: Iterable[Entry]) -> directories.Folder:
    builder = directories.DirectoryBuilder(store.put_node)
    for entry in entries:
        builder.add(entry)
    return builder.finish()


def record_of(kind: int, plain: bytes) -> Record:
    """A record as a writer would append it."""
    codec, payload = CODEC.compress(plain)
    key = Key(bytes([kind]) + object_id(kind, plain))
    return Record(key, codec, len(plain), payload)


def reachable(store: Memory, root: bytes) -> set[bytes]:
    """The keys of all objects of a root, by plain recursion and independent of `closure`."""
    found: set[bytes] = set()

    def content(entry: Entry, block_size: int) -> None:
        if entry.content == NULL:
            return
        if entry.kind == EntryKind.FILE and block_count(entry.size, block_size) <= 1:
            found.add(block_key(entry.content))
        else:
            below(entry.content, block_size)

    def below(identity: bytes, block_size: int) -> None:
        found.add(node_key(identity))
        node = decode(store.objects[node_key(identity)])
        if isinstance(node, RootNode):
            content(node.top, node.block_size)
        elif isinstance(node, LeafNode):
            for entry in node.entries:
                content(entry, block_size)
        elif isinstance(node, BranchNode):
            for child in node.children:
                below(child.node, block_size)
        elif isinstance(node, IndexNode):
            for position in range(len(node)):
                if (child_id := node.child(position)) == NULL:
                    continue
                if node.level:
                    below(child_id, block_size)
                else:
                    found.add(block_key(child_id))

    below(root, 0)
    return found


def open_store(folder: Path) -> BlockStore:
    """A block store in `folder`, made if need be."""
    for name in ("packs", "tmp", "index"):
        (folder / name).mkdir(exist_ok=True)
    return BlockStore(folder / "packs", folder / "tmp", BlockIndex(folder / "index"), CODEC)


def store_objects(store: BlockStore, records: Iterable[Record]) -> list[bytes]:
    """Store records through one writer; the names of its packs."""
    writer = ObjectWriter(store)
    for record in records:
        if writer.claim([record.key])[0]:
            writer.append([record])
    writer.finish()
    return [pack.name for pack in writer.packs]


def payload_path(store: BlockStore, key: bytes) -> tuple[Path, int, int]:
    """Where an object's payload lies: file, offset, length."""
    (location,) = store.index.locate([key])
    assert location is not None
    name = store.index.pack_name(location.pack)
    return store.packs / pack_file_name(name), location.offset, location.stored


def flip(path: Path, offset: int, mask: int = 1) -> None:
    """Flip bits of one byte of a file, in place."""
    with path.open("r+b") as file:
        file.seek(offset)
        value = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([value ^ mask]))


def is_corrupt(plain: bytes) -> bool:
    """Whether decode refuses these bytes as Corrupt; any other error fails the test."""
    try:
        decode(plain)
    except Corrupt:
        return True
    return False


def pick(*values: bytes) -> st.SearchStrategy[bytes]:
    return st.sampled_from(values)


ids = st.binary(min_size=32, max_size=32).filter(lambda identity: identity != NULL)
names = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
owners = st.integers(0, (1 << 32) - 1)
times = st.integers(-(1 << 63), (1 << 64) - 1)
sizes = st.integers(0, (1 << 63) - 1)


@st.composite
def extras(draw: st.DrawFn, kind: int) -> tuple[Extras | None, int | None]:
    """(extras, size they force) for an entry of `kind`."""
    xattrs = tuple(sorted(draw(st.dictionaries(names, st.binary(max_size=9), max_size=2)).items()))
    target = draw(names) if kind == EntryKind.SYMLINK else None
    devices = (EntryKind.CHARACTER_DEVICE, EntryKind.BLOCK_DEVICE)
    device = draw(st.integers(0, (1 << 64) - 1)) if kind in devices else None
    group = None
    if kind != EntryKind.FOLDER and draw(st.booleans()):
        path = b"/".join(draw(st.lists(names, min_size=1, max_size=3)))
        group = (draw(st.integers(0, 65535)), path)
    if not xattrs and target is None and device is None and group is None:
        return None, None
    return Extras(xattrs, target, device, group), None if target is None else len(target)


@st.composite
def entries(draw: st.DrawFn, name: bytes | None = None, kind: int | None = None) -> Entry:
    """Any valid entry."""
    kind = kind or draw(st.sampled_from(list(EntryKind)))
    more, forced = draw(extras(kind))
    size = draw(sizes) if forced is None else forced
    content = NULL
    if kind == EntryKind.FOLDER:
        content = draw(ids)
    elif kind == EntryKind.FILE and size:
        content = draw(ids | st.just(NULL))
    return Entry(
        name=draw(names) if name is None else name,
        kind=int(kind),
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(owners),
        gid=draw(owners),
        mtime_ns=draw(times),
        size=size,
        files=draw(sizes) if kind == EntryKind.FOLDER else 0,
        content=content,
        extras=more,
    )


@st.composite
def leaf_nodes(draw: st.DrawFn) -> LeafNode:
    found = sorted(draw(st.sets(names, max_size=5)))
    return LeafNode(tuple(draw(entries(name=name)) for name in found))


@st.composite
def branch_nodes(draw: st.DrawFn) -> BranchNode:
    found = sorted(draw(st.sets(names, min_size=1, max_size=5)))
    counts = st.integers(1, (1 << 63) - 1)
    children = tuple(
        Child(name, draw(ids), draw(counts), draw(sizes), draw(sizes)) for name in found
    )
    return BranchNode(draw(st.integers(1, 16)), children)


@st.composite
def index_nodes(draw: st.DrawFn) -> IndexNode:
    children = draw(st.lists(ids | st.just(NULL), min_size=1, max_size=6))
    if not any(child != NULL for child in children):
        children.append(draw(ids))
    return IndexNode(draw(st.integers(0, 7)), b"".join(children))


root_nodes = st.builds(
    RootNode,
    st.just(1),
    st.sampled_from([1 << power for power in range(12, 24)]),
    st.just("fixed"),
    entries(name=b"", kind=EntryKind.FOLDER),
)
any_node: st.SearchStrategy[Node] = st.one_of(
    leaf_nodes(), branch_nodes(), index_nodes(), root_nodes
)


def numbered(count: int, step: int = 1) -> list[Entry]:
    """Files of different sizes and contents, in the order of their names."""
    return [
        file_entry(b"%06d" % n, size=n + 1, content=block_id(b"%d" % n))
        for n in range(0, count, step)
    ]


def with_size(entry: Entry, size: int) -> Entry:
    return msgspec.structs.replace(entry, size=size)


folders = st.dictionaries(names, st.integers(0, 2), max_size=40).map(
    lambda found: [file_entry(name, size=size) for name, size in sorted(found.items())]
)
