"""The text blob `root` in a commit's Git tree: which root the commit is, and what Git cannot say.

    root HEX64
    parent HEX64                                 for each parent: the BLAKE3 of its commit object
    change files N regions N bytes N stored N
    uid N NAME
    gid N NAME

The `parent` lines chain commits by BLAKE3, so that integrity never rests on SHA-1. Owner names
differ by machine; they stand here and not in nodes, so that the root depends on content alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .errors import Corrupt, InvalidInput
from .ids import NodeId, parse_id

MAX_BYTES: Final = 16 << 20


class Change(NamedTuple):
    """What a commit changed against its first parent: files, regions, bytes in those regions, and
    the bytes it added to the store."""

    files: int = 0
    regions: int = 0
    size: int = 0
    stored: int = 0


NO_CHANGE: Final = Change()


@dataclass(frozen=True)
class RootRecord:
    root: NodeId
    parents: tuple[bytes, ...] = ()
    change: Change = NO_CHANGE
    users: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)


def encode_record(record: RootRecord) -> bytes:
    lines = [f"root {record.root.hex()}"]
    lines += [f"parent {parent.hex()}" for parent in record.parents]
    files, regions, size, stored = record.change
    lines.append(f"change files {files} regions {regions} bytes {size} stored {stored}")
    lines += [f"uid {number} {name}" for number, name in sorted(record.users.items())]
    lines += [f"gid {number} {name}" for number, name in sorted(record.groups.items())]
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def decode_record(text: bytes) -> RootRecord:
    """The record behind the blob. Corrupt unless it encodes back to the same bytes."""
    if len(text) > MAX_BYTES:
        raise Corrupt("a commit's root record is too long")
    try:
        record = _parse(text.decode("utf-8", "surrogateescape"))
        same = encode_record(record) == text
    except (LookupError, TypeError, ValueError, InvalidInput) as error:
        raise Corrupt(f"a commit's root record makes no sense: {error}") from error
    if not same:
        raise Corrupt("a commit's root record is not in canonical form")
    return record


def _parse(text: str) -> RootRecord:
    lines = [line.split(" ", 2) for line in text.removesuffix("\n").split("\n")]
    if lines[0][0] != "root":
        raise ValueError("it does not start with 'root'")
    parents: list[bytes] = []
    owners: dict[str, dict[int, str]] = {"uid": {}, "gid": {}}
    change = Change()
    for word, *rest in lines[1:]:
        if word == "parent":
            parents.append(parse_id(rest[0]))
        elif word == "change":
            numbers = " ".join(rest).split(" ")[1::2]
            change = Change(*map(int, numbers))
        else:
            owners[word][int(rest[0])] = rest[1]
    root = NodeId(parse_id(lines[0][1]))
    return RootRecord(root, tuple(parents), change, owners["uid"], owners["gid"])
