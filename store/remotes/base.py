"""What a remote is: another repository, asked for what it holds and given what it lacks.

`Remote` is the whole surface that push, fetch and clone use. It speaks of ids, records and refs
only - no path and no file descriptor - so that the same calls work in this process, through a pipe
and over a network. A remote trusts nobody: it verifies each object before `store` returns, and the
closure of each root before a ref moves. The sender does the same with what `fetch` brings.

Methods may be called from any thread; up to `parallel` calls run at once and others take their
turn. An iterator that a method returned occupies its turn until it is exhausted or closed, so no
other call may be made meanwhile by the thread that consumes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from ..history import HistoryObject, Person, RefUpdate
from ..ids import Key
from ..packfile import Record

MAX_KEYS: Final = 1 << 16
"""Ids in one question."""
MAX_MISSING: Final = 10_000
"""Ids in the answer of `finalize`."""
MAX_STORE_BYTES: Final = 1 << 30
"""Payload in one `store` call: sixteen times what a sender groups."""
MAX_STORE_RECORDS: Final = 1 << 20
MAX_HISTORY_BYTES: Final = 64 << 20
"""History objects in one `store_history` call."""


class Description(NamedTuple):
    """What a sender must know before it sends. `head` is the full name of the branch that HEAD is
    on, born or not, None when detached; `checked_out` is the same where pushes to that branch are
    refused, as a work tree has it, else None."""

    version: int
    block_size: int
    ids: str
    cipher: str
    head: str | None
    checked_out: str | None


class Remote(Protocol):
    """A repository at the other end of a carrier. Every method may block for as long as the
    carrier does and raises RemoteError when the connection is lost or the other side breaks the
    protocol; errors of the other side arrive as the class they were raised as."""

    @property
    def parallel(self) -> int:
        """How many calls run at once, 1 or more."""

    def describe(self) -> Description:
        """The format of the repository and where its HEAD is."""

    def refs(self) -> dict[str, str]:
        """Full ref name -> what it holds, for branches and tags: the id of a commit, or of an
        annotated tag. This is what is finalized."""

    def held(self, roots: Sequence[bytes]) -> list[str]:
        """For each root (at most MAX_KEYS) "whole", "nodes" or "none"."""

    def missing(self, keys: Sequence[Key]) -> list[Key]:
        """Those of the keys (at most MAX_KEYS) that it does not have, in the same order."""

    def known_commits(self, ids: Sequence[str]) -> list[bool]:
        """For each commit (at most MAX_KEYS) whether its history objects are there and good,
        finalized or not."""

    def store(self, records: Iterable[Record]) -> int:
        """Take blocks and nodes in any order; how many were new. Each is decoded and hashed; all
        are durable and indexed on return. Corrupt for the first that is not what its key says or
        is no canonical node; InvalidInput beyond MAX_STORE_BYTES or MAX_STORE_RECORDS: then
        nothing of the call is acknowledged, though objects already verified may be kept. An
        error that `records` raises comes out as it is."""

    def store_history(self, objects: Iterable[HistoryObject]) -> None:
        """Take Git objects (at most MAX_HISTORY_BYTES); durable on return."""

    def finalize(self, updates: Sequence[RefUpdate], who: Person) -> list[Key]:
        """Move refs, all or none, after verifying every new tag and commit and the closure of its
        root. The empty list says that it is done and durable; else nothing moved, and these are
        ids that are missing (at most MAX_MISSING, there may be more). An update that is not
        `forced` may only go forwards, and move no tag; one without `new` deletes. Conflict names
        each ref that is not at `old`, or that the repository's own rules keep where it is."""

    def fetch(self, keys: Sequence[Key]) -> Iterator[Record]:
        """The objects of these keys (at most MAX_KEYS) in the remote's disk order. NotFound when
        one is absent. The caller verifies them."""

    def history(self, wants: Sequence[str], haves: Sequence[str]) -> Iterator[HistoryObject]:
        """The objects of all commits reachable from `wants` and not from `haves`, parents before
        children, and then the annotated tags among `wants`, tags of tags after what they name.
        `wants` must be reachable from a ref, or held by one."""

    def close(self) -> None:
        """End the connection; may be called twice."""
