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
from ..closure_items import Blocks
from ..errors import Corrupt, NotFound
from ..history import Commit, Person, RefUpdate
from ..ids import Key, node_key
from ..ref_moves import move_refs
from ..repository import Repository
from ..trees import load_root
from .base import MAX_MISSING
from .checking import base_of, check_lengths
from .receive_rules import ReceiveRules, check_updates

NODES_AT_ONCE: Final = 256
BLOCKS_AT_ONCE: Final = 1 << 14


def finalize(
    repository: Repository,
    updates: Sequence[RefUpdate],
    who: Person,
    rules: ReceiveRules,
    carry_on: Callable[[], None],
) -> list[Key]:
    """Verify and move; the keys that are missing, and then nothing moved. `carry_on` is called
    now and then and may raise to give up."""
    history = repository.history
    check_updates(history, updates, rules)
    new = {update: history.peeled(update.new) for update in updates if update.new is not None}
    commits = history.oldest_first(filter(None, new.values()), history.tips().values())
    # A tip that is there already but no longer held whole is being repaired.
    commits += [tip for update, tip in new.items() if tip and update.new == update.old]
    roots: set[bytes] = set()
    missing = _missing(repository, commits, roots, carry_on)
    if missing:
        return missing
    repository.mark_held(sorted(roots), "whole")
    moves = [update for update in updates if update.old != update.new]
    if moves:
        move_refs(repository, moves, who, "push")
    return []


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
    found bad has left the index and is absent; Corrupt for one that does not fit its place."""
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


def _absent(store: BlockStore, blocks: Blocks) -> list[Key]:
    lengths = store.index.lengths(blocks.keys)
    check_lengths(blocks, lengths)
    return [key for key, length in zip(blocks.keys, lengths, strict=True) if length is None]
