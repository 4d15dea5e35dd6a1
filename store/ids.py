"""Ids: what names an object.

A block's id is the BLAKE3-256 of its plain bytes, so `b3sum` of a file of one block is its block
id. A node's id is BLAKE3 in derive_key mode, so that no file content can pose as a node; a history
record (a Git object) has a context of its own for the same reason. An object is looked up by its
*key*: one byte of kind, then the id. All functions are pure and thread-safe; blake3 releases the
GIL for inputs over 2 KiB.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NewType

from blake3 import blake3

from .errors import InvalidInput

BlockId = NewType("BlockId", bytes)
NodeId = NewType("NodeId", bytes)
HistoryId = NewType("HistoryId", bytes)
Key = NewType("Key", bytes)

ID_LENGTH = 32
KEY_LENGTH = 1 + ID_LENGTH
NULL = bytes(ID_LENGTH)
"""The null id: an all-zero block, an index node with only null children, no content at all."""

NODE_CONTEXT = "treering node v1"
HISTORY_CONTEXT = "treering history v1"

_NODE_HASHER = blake3(derive_key_context=NODE_CONTEXT)
"""Only copied: deriving the key of the context costs as much as hashing 700 bytes."""


class Kind(IntEnum):
    """What an object is. The values are stored in packs and keys: never renumber."""

    BLOCK = 1
    NODE = 2
    HISTORY = 3


KIND_PREFIX = {kind: bytes([kind]) for kind in Kind}
BLOCK_PREFIX = KIND_PREFIX[Kind.BLOCK]
NODE_PREFIX = KIND_PREFIX[Kind.NODE]


def block_id(plain: bytes | memoryview) -> BlockId:
    return BlockId(blake3(plain).digest())


def node_id(plain: bytes | memoryview) -> NodeId:
    hasher = _NODE_HASHER.copy()
    hasher.update(plain)
    return NodeId(hasher.digest())


def history_id(plain: bytes | memoryview) -> HistoryId:
    return HistoryId(blake3(plain, derive_key_context=HISTORY_CONTEXT).digest())


_ID_FUNCTIONS = {
    int(Kind.BLOCK): block_id,
    int(Kind.NODE): node_id,
    int(Kind.HISTORY): history_id,
}


def object_id(kind: int, plain: bytes | memoryview) -> bytes:
    """The id that an object of `kind` with the content `plain` must have."""
    return _ID_FUNCTIONS[kind](plain)


def block_key(identity: bytes) -> Key:
    return Key(BLOCK_PREFIX + identity)


def node_key(identity: bytes) -> Key:
    return Key(NODE_PREFIX + identity)


def key_name(key: bytes) -> str:
    """`block:HEX` or `node:HEX`, as messages and the command line write ids."""
    return f"{Kind(key[0]).name.lower()}:{key[1:].hex()}"


def parse_id(text: str) -> bytes:
    """The 32 bytes behind 64 hex digits; InvalidInput for anything else."""
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != ID_LENGTH or len(text) != 2 * ID_LENGTH:
        raise InvalidInput(f"not an id of 64 hex digits: {text[:80]!r}")
    return value
