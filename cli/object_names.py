"""What stands behind REV:PATH, and behind ids of other objects: root:HEX, node:HEX, block:HEX.

The digits are an id or the beginning of one, 7 or more, that only one object of that kind in the
store has; a root or the node of a folder may have `:PATH` behind it. Such a name goes before a path
of a branch that is called `root`: that one is `refs/heads/root:PATH`.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from ..store import trees
from ..store.block_store import BlockStore
from ..store.errors import InvalidInput, NotFound
from ..store.ids import BLOCK_PREFIX, ID_LENGTH, NODE_PREFIX
from ..store.nodes import BranchNode, Entry, EntryKind, LeafNode, RootNode, decode
from ..store.trees import Tree
from .ranges import split_path

if TYPE_CHECKING:
    from .context import Context

SPELLED: Final = re.compile(r"(root|node|block):([0-9a-fA-F]+)(?::(.*))?", re.DOTALL)
MIN_DIGITS: Final = 7
MAX_NEAR: Final = 4096
"""Keys looked at for an odd last digit; ids are spread evenly, so that more is no unique name."""


class Place(NamedTuple):
    """An entry of some tree, its path from the top, and the block size of its files."""

    entry: Entry
    path: bytes
    block_size: int


def tree_of(context: Context, text: str) -> Tree:
    """The tree of a commit, or of root:HEX."""
    store = context.repository.store
    spelled = SPELLED.fullmatch(text)
    if spelled is None:
        try:
            commit = context.commit(text)
        except NotFound as error:
            raise (error if split_path(text)[1] is None else _no_tree(text)) from error
        return trees.load_tree(store, commit.id, commit.root)
    kind, digits, below = spelled.groups()
    if kind != "root" or below:
        raise _no_tree(text)
    identity = _identity(store, kind, digits.lower())
    return Tree(f"root:{identity.hex()}", _top(store, kind, identity))


def _no_tree(text: str) -> InvalidInput:
    return InvalidInput(
        f"'{text}' does not name a whole tree",
        hint="give a commit or root:HEX, and paths behind it",
    )


def place_of(context: Context, text: str) -> Place:
    """What REV[:PATH], root:HEX[:PATH], node:HEX[:PATH] or block:HEX names."""
    store, block_size = context.repository.store, context.repository.block_size
    spelled = SPELLED.fullmatch(text)
    if spelled is None:
        commit, path = context.split_revision(text)
        root = trees.load_root(store, commit.root)
        return Place(trees.lookup(store, root.top, path), path, root.block_size)
    kind, digits, below = spelled.groups()
    identity = _identity(store, kind, digits.lower())
    if kind == "block":
        if below is not None:
            raise InvalidInput(f"a block has no paths: '{text}'")
        return Place(_block(store, identity), os.fsencode(text), block_size)
    path = os.fsencode(below or "").strip(b"/")
    return Place(trees.lookup(store, _top(store, kind, identity), path), path, block_size)


def _identity(store: BlockStore, kind: str, digits: str) -> bytes:
    """The one id that begins with these digits."""
    name = f"{kind}:{digits}"
    if not MIN_DIGITS <= len(digits) <= 2 * ID_LENGTH:
        raise InvalidInput(f"'{name}' should have {MIN_DIGITS} to {2 * ID_LENGTH} hex digits")
    start = BLOCK_PREFIX if kind == "block" else NODE_PREFIX
    near = store.index.matching(start + bytes.fromhex(digits[: len(digits) & ~1]), MAX_NEAR)
    found = [key[1:] for key in near if key[1:].hex().startswith(digits)]
    if not found:
        raise NotFound(f"there is no {name} here")
    if len(found) > 1:
        raise InvalidInput(f"'{name}' is ambiguous", hint="give more digits")
    return found[0]


def _top(store: BlockStore, kind: str, identity: bytes) -> Entry:
    """The folder that a root or a directory node is."""
    node = decode(store.node(identity))
    if kind == "root" and isinstance(node, RootNode):
        return node.top
    if kind == "node" and isinstance(node, LeafNode | BranchNode):
        return _nameless(EntryKind.FOLDER, 0, identity)
    what = "root" if kind == "root" else "folder"
    raise InvalidInput(f"node {identity.hex()[:12]} is not a {what}")


def _block(store: BlockStore, identity: bytes) -> Entry:
    """A block as the file that it would be."""
    (location,) = store.index.locate([BLOCK_PREFIX + identity])
    if location is None:
        raise NotFound(f"there is no block {identity.hex()[:12]} here")
    return _nameless(EntryKind.FILE, location.plain, identity)


def _nameless(kind: EntryKind, size: int, content: bytes) -> Entry:
    return Entry(b"", kind, 0, 0, 0, 0, size, 0, content)
