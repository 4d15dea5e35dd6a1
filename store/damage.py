"""What damaged objects mean: the paths of commits that they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from . import directories, trees
from .content import NodeSource, block_count, blocks_of
from .errors import Corrupt, NotFound
from .history import Commit
from .ids import block_key, node_key
from .nodes import Entry
from .repository import Repository


class Affected(NamedTuple):
    """A path of a commit that a damaged object belongs to."""

    commit: str
    path: bytes


def affected_paths(repository: Repository, bad: set[bytes]) -> Iterator[Affected]:
    """Where damaged objects belong: paths of commits, newest first, each tree looked at once."""
    seen: set[bytes] = set()
    history = repository.history
    try:
        commits = list(history.log(set(history.tips().values())))
    except (Corrupt, NotFound):
        return
    for commit in commits:
        if node_key(commit.root) in bad:
            yield Affected(commit.id, b"")
            continue
        yield from _affected(repository, commit, bad, seen)


def _affected(
    repository: Repository, commit: Commit, bad: set[bytes], seen: set[bytes]
) -> Iterator[Affected]:
    store = repository.store
    try:
        root = trees.load_root(store, commit.root)
    except (Corrupt, NotFound):
        yield Affected(commit.id, b"")
        return
    stack: list[tuple[bytes, Entry]] = [(b"", root.top)]
    while stack:
        path, entry = stack.pop()
        if entry.content in seen:
            continue
        seen.add(entry.content)
        if _holds_bad(repository, entry, root.block_size, bad):
            yield Affected(commit.id, path)
        elif entry.is_folder:
            below = [(path + b"/" + e.name if path else e.name, e) for e in _safe(store, entry)]
            stack += reversed(below)


def _safe(store: NodeSource, entry: Entry) -> list[Entry]:
    try:
        return list(directories.entries(store, entry.content))
    except (Corrupt, NotFound):
        return []


def _holds_bad(repository: Repository, entry: Entry, block_size: int, bad: set[bytes]) -> bool:
    """Whether a file's own objects, or a folder's own node, are among the bad ones."""
    if node_key(entry.content) in bad or block_key(entry.content) in bad:
        return True
    if not entry.is_file or entry.size <= block_size:
        return False
    try:
        blocks = blocks_of(repository.store, entry.content, block_count(entry.size, block_size))
        return any(block_key(identity) in bad for _, identity in blocks)
    except (Corrupt, NotFound):
        return True
