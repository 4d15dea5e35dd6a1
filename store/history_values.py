"""The values that history deals in: people, commits, tags, objects as they travel, moves of refs.

Plain values, without libgit2: what is made of them is the part of `store.history`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from .ids import NodeId
from .root_record import RootRecord

BRANCHES: Final = "refs/heads/"


class Person(NamedTuple):
    """Who and when: seconds since the epoch, and minutes east of UTC."""

    name: str
    email: str
    time: int
    offset: int = 0


@dataclass(frozen=True)
class Commit:
    """A point in history. `id` and `parents` are Git object ids in hex."""

    id: str
    parents: tuple[str, ...]
    author: Person
    committer: Person
    message: str
    record: RootRecord

    @property
    def root(self) -> NodeId:
        return self.record.root

    @property
    def short(self) -> str:
        return self.id[:10]

    @property
    def title(self) -> str:
        return self.message.strip().partition("\n")[0]


@dataclass(frozen=True)
class Tag:
    """An annotated tag: a Git object of its own, `id`, that names a commit (or another tag) and
    has a message. `tagger` is None where Git's oldest form has none."""

    id: str
    name: str
    target: str
    tagger: Person | None
    message: str

    @property
    def title(self) -> str:
        return self.message.strip().partition("\n")[0]


class HistoryObject(NamedTuple):
    """A Git object as it travels: its type (1 commit, 2 tree, 3 blob, 4 tag) and content."""

    type: int
    content: bytes


class RefUpdate(NamedTuple):
    """Move `name` from `old` to `new`; None is "does not exist". `forced` says that it is known
    that `new` may lack what `old` has."""

    name: str
    old: str | None
    new: str | None
    forced: bool = False
