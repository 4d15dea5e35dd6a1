"""Finalize: what a repository does to make pushed roots visible.

Nothing that a client says is believed: names, ancestry, the BLAKE3 chain of the commits, the
closure of every new root. Order: all verified -> roots marked as held whole, durably -> refs moved
by compare-and-swap under the history lock -> recorded. A crash between these leaves roots that no
ref names, never a ref to what is not there. Runs in the thread that owns the repository.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ..block_store import BlockStore
from ..closure import ClosureWalk
from ..errors import Conflict, Corrupt, InvalidInput, NotFound
from ..history import BRANCHES, Commit, History, Person, RefUpdate
from ..ids import Key, node_key
from ..repository import Repository
from ..trees import load_root
from .base import MAX_KEYS, MAX_MISSING
from .checking import base_of, check_commit_ids, valid_ref

NODES_AT_ONCE: Final = 256
BLOCKS_AT_ONCE: Final = 1 << 14


def finalize(
    repository: Repository,
    updates: Sequence[RefUpdate],
    who: Person,
    checked_out: str | None,
    carry_on: Callable[[], None],
) -> list[Key]:
    """Verify and move; the keys that are missing, and then nothing moved. `carry_on` is called
    now and then and may raise to give up."""
    history = repository.history
    check_updates(history, updates, checked_out)
    new = [update.new for update in updates if update.new is not None]
    commits = history.oldest_first(new, history.tips().values())
    # A tip that is there already but no longer held whole is being repaired.
    commits += [update.new for update in updates if update.new and update.new == update.old]
    roots: set[bytes] = set()
    missing = _missing(repository, commits, roots, carry_on)
    if missing:
        return missing
    repository.mark_held(sorted(roots), "whole")
    moves = [update for update in updates if update.old != update.new]
    if moves:
        history.update_refs(moves, who, "push")
        repository.mark_finalized(moves)
    return []


def check_updates(history: History, updates: Sequence[RefUpdate], checked_out: str | None) -> None:
    """Conflict or InvalidInput for the first update that cannot be made."""
    names = [update.name for update in updates]
    if not updates or len(names) > MAX_KEYS or len(set(names)) != len(names):
        raise InvalidInput("finalize takes one update for each ref")
    for update in updates:
        if not valid_ref(update.name):
            raise InvalidInput(f"not a branch or tag: {update.name[:80]!r}")
        if update.name == checked_out:
            raise checked_out_error(update.name)
        check_commit_ids([found for found in update[1:] if found is not None])
        if update.new is not None:
            history.commit(update.new)
        _check_move(history, update)


def _check_move(history: History, update: RefUpdate) -> None:
    current = history.ref(update.name)
    if current != update.old:
        raise moved_error(update.name, current)
    if update.old is None or update.new is None:
        if update.old is update.new:
            raise InvalidInput(f"there is no {update.name} to delete")
        return
    if not history.is_ancestor(update.old, update.new):
        raise moved_error(update.name, current)


def moved_error(name: str, current: str | None) -> Conflict:
    """The error for a ref that has commits which the sender does not."""
    where = current[:10] if current else "nothing"
    short = name.removeprefix(BRANCHES)
    return Conflict(
        f"rejected: {short} moved to {where}; fetch first",
        hint="see what it has with: treering fetch",
    )


def checked_out_error(name: str) -> Conflict:
    return Conflict(
        f"rejected: {name.removeprefix(BRANCHES)} is checked out in the remote's work tree",
        hint="push to another branch or to a bare repository, or pull from there",
    )


def _missing(
    repository: Repository,
    commits: Sequence[str],
    verified: set[bytes],
    carry_on: Callable[[], None],
) -> list[Key]:
    """What the roots of these commits, parents first, lack; roots found whole go to `verified`."""
    history = repository.history
    found: dict[Key, None] = {}

    def whole(root: bytes) -> bool:
        return root in verified or repository.held(root) == "whole"

    for commit in map(history.commit, commits):
        history.check_parents(commit)
        if whole(commit.root):
            continue
        base = base_of(history, commit, whole)
        absent = absent_below(repository.store, commit.root, base, carry_on)
        if not absent:
            _check_root(repository, commit)
            verified.add(commit.root)
        found.update(dict.fromkeys(absent))
        if len(found) >= MAX_MISSING:
            break
    return list(found)[:MAX_MISSING]


def _check_root(repository: Repository, commit: Commit) -> None:
    block_size = load_root(repository.store, commit.root).block_size
    if block_size != repository.block_size:
        raise Corrupt(f"commit {commit.short} has blocks of {block_size} bytes")


def absent_below(
    store: BlockStore, root: bytes, base: bytes | None, carry_on: Callable[[], None]
) -> list[Key]:
    """Objects of the closure of `root` that are not in the store, at most about MAX_MISSING; the
    closure of `base` counts as there. What lies below an absent node is not looked at. An object
    found bad has left the index and is absent; Corrupt for a node that does not fit its place."""
    walk = ClosureWalk(store)
    walk.add_root(root, base)
    found: dict[Key, None] = {}
    while len(found) < MAX_MISSING and (ids := walk.take(NODES_AT_ONCE)):
        carry_on()
        for identity in ids:
            try:
                plain = store.node(identity)
            except (NotFound, Corrupt):
                found[node_key(identity)] = None
                walk.skip(identity)
            else:
                walk.visit(identity, plain)
        if walk.blocks_waiting >= BLOCKS_AT_ONCE:
            found.update(dict.fromkeys(_absent(store, walk.drain_blocks())))
    found.update(dict.fromkeys(_absent(store, walk.drain_blocks())))
    return list(found)


def _absent(store: BlockStore, keys: list[Key]) -> list[Key]:
    present = store.index.present(keys)
    return [key for key, there in zip(keys, present, strict=True) if not there]
