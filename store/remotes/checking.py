"""Checks that both sides of a transfer make on what the other side says. Pure, from any thread."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from ..block_store import expand
from ..closure_items import Blocks, misfit
from ..codec import Codec
from ..errors import Corrupt, InvalidInput
from ..history import BRANCHES, TAGS, Commit, History, valid_branch
from ..ids import KEY_LENGTH, Kind
from ..nodes import decode
from ..packfile import Record
from .base import MAX_KEYS

COMMIT_ID: Final = re.compile(r"[0-9a-f]{40}")


def short_name(key: bytes) -> str:
    """What messages call an object, whatever the bytes are that pose as its key."""
    kind = {Kind.BLOCK: "block", Kind.NODE: "node"}.get(Kind(key[0])) if valid(key) else None
    return f"{kind}:{key[1:].hex()[:12]}" if kind else f"object {key.hex()[:12]}"


def valid(key: bytes) -> bool:
    return len(key) == KEY_LENGTH and key[0] in (Kind.BLOCK, Kind.NODE)


def check_record(codec: Codec, record: Record, block_size: int) -> bytes:
    """The plain bytes of a record from outside. Corrupt unless it is a block of at most
    `block_size` bytes, not all of them zero, or a canonical node, and has its id."""
    key, _, length, _ = record
    try:
        if not valid(key):
            raise Corrupt("it is neither block nor node")
        if length <= 0 or (key[0] == Kind.BLOCK and length > block_size):
            raise Corrupt(f"no object here has {length} bytes")
        plain = expand(codec, record)
        if key[0] == Kind.NODE:
            decode(plain)
        elif plain.count(0) == length:
            raise Corrupt("a block of zeros is the null id, and never an object")
    except Corrupt as error:
        raise Corrupt(f"{short_name(key)} is bad: {error.message}") from error
    return plain


def check_lengths(blocks: Blocks, lengths: Sequence[int | None]) -> None:
    """Corrupt for a block that is there with another plain length than its file wants."""
    for key, wanted, found in zip(*blocks, lengths, strict=True):
        if found is not None and found != wanted:
            raise Corrupt(misfit(key, wanted, found))


def check_keys(keys: Sequence[bytes]) -> None:
    if len(keys) > MAX_KEYS:
        raise InvalidInput(f"{len(keys)} ids in one question; {MAX_KEYS} are allowed")
    if not all(map(valid, keys)):
        raise InvalidInput("a key that is neither of a block nor of a node")


def check_commit_ids(ids: Sequence[str]) -> None:
    if len(ids) > MAX_KEYS:
        raise InvalidInput(f"{len(ids)} commits in one question; {MAX_KEYS} are allowed")
    for commit_id in ids:
        if not COMMIT_ID.fullmatch(commit_id):
            raise InvalidInput(f"not a commit id: {commit_id[:80]!r}")


def valid_ref(name: str) -> bool:
    """Whether this is the full name of a branch or a tag."""
    for prefix in (BRANCHES, TAGS):
        if name.startswith(prefix):
            return valid_branch(name.removeprefix(prefix))
    return False


def base_of(history: History, commit: Commit, whole: Callable[[bytes], bool]) -> bytes | None:
    """The root of the first parent whose root is `whole`: what need not be walked again."""
    for parent in commit.parents:
        root = history.commit(parent).root
        if whole(root):
            return root
    return None
