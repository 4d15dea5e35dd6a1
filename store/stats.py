"""What commits hold, and what the repository stores for it: the figures of `treering stats`.

*Alone* is what would be freed if only one commit, or what lies at one path of it, went: the objects
that no other commit needs which a ref or a reflog leads to. For that all of history is walked, each
node once. *Garbage* is what the packs hold and none of these commits needs: second copies too, and
what a commit that is running has stored already.
"""

from __future__ import annotations

from bisect import bisect_left
from contextlib import closing
from copy import copy
from operator import add
from pathlib import Path
from typing import NamedTuple

from . import directories, kept_commits, trees
from .content import NodeSource
from .errors import Corrupt
from .history import Commit
from .nodes import BranchNode, Entry, RootNode
from .packfile import Contents, packs_in, read_contents
from .progress import SILENT, Progress
from .repository import Repository
from .tally import Amount, Below, Marking, Tally


class Logical(NamedTuple):
    """What a tree shows, each name counted: files and whatever else is no folder, folders, bytes of
    files, and how many of these lie in holes."""

    files: int = 0
    folders: int = 0
    size: int = 0
    holes: int = 0


class Stored(NamedTuple):
    """What is stored of it, each object counted once."""

    blocks: Amount
    nodes: Amount


class TreeStats(NamedTuple):
    """A commit, or what lies at a path of it; `alone` is what nothing else needs."""

    logical: Logical
    stored: Stored
    alone: Amount


class Packs(NamedTuple):
    """Sealed packs: their number, their bytes on disk, what is in them."""

    number: int
    size: int
    contents: Contents


class RepositoryStats(NamedTuple):
    """All commits of refs: how many, what they show together, what is stored of it. Then what only
    reflogs keep, the packs, and what of their contents is garbage."""

    commits: int
    logical: Logical
    stored: Stored
    reflog_commits: int
    reflogs: Amount
    packs: Packs
    garbage: Contents


def tree_stats(
    repository: Repository, commit: Commit, path: bytes = b"", *, progress: Progress = SILENT
) -> TreeStats:
    """What lies at a path of a commit. NotFound where nothing does; LostObject when an object is
    absent of this or of another commit."""
    store = repository.store
    root = trees.load_root(store, commit.root)
    entry = trees.lookup(store, root.top, path)
    others = Marking(store, progress)
    progress.begin("looking through what is beside it")
    _mark_beside(others, store, root, path)
    for other in kept_commits.of_all(repository.history):
        if other.id != commit.id:
            others.root(other.root)
    progress.begin("counting")
    with closing(Tally(store, others.objects, progress)) as tally:
        below = tally.entry(entry, root.block_size) if path else tally.root(commit.root)
        return TreeStats(_logical(entry, below), Stored(tally.blocks, tally.nodes), tally.alone)


def _mark_beside(others: Marking, source: NodeSource, root: RootNode, path: bytes) -> None:
    """Walk all of a commit but what is at a path, and the nodes that lead there: none of these can
    be below it."""
    folder = root.top
    for name in trees.components(path):
        node = directories.load_directory(source, folder.content)
        while isinstance(node, BranchNode):
            position = bisect_left(node.children, name, key=lambda child: child.last)
            for child in (*node.children[:position], *node.children[position + 1 :]):
                others.node(child.node, root.block_size)
            node = directories.load_directory(source, node.children[position].node)
        for entry in node.entries:
            if entry.name == name:
                folder = entry
            else:
                others.entry(entry, root.block_size)


def _logical(entry: Entry, below: Below) -> Logical:
    """The figures of an entry, of which `below` was found. Corrupt when these cannot be."""
    size = entry.size if entry.is_folder or entry.is_file else 0
    if below.data > size:
        raise Corrupt("the blocks of files are longer than the files", hint="see: treering fsck")
    files = entry.files if entry.is_folder else 1
    return Logical(files, below.folders - entry.is_folder, size, size - below.data)


def repository_stats(repository: Repository, *, progress: Progress = SILENT) -> RepositoryStats:
    """What the whole repository holds. LostObject when an object of a commit is absent, Corrupt
    when a pack is damaged."""
    history, store = repository.history, repository.store
    commits = reflog_commits = 0
    shown = Logical()
    with closing(Tally(store, progress=progress)) as tally:
        progress.begin("looking through commits")
        for commit in kept_commits.of_refs(history):
            commits += 1
            top = trees.load_root(store, commit.root).top
            shown = _sum(shown, _logical(top, tally.root(commit.root)))
        stored = Stored(copy(tally.blocks), copy(tally.nodes))
        progress.begin("looking through reflogs")
        for commit in kept_commits.of_reflogs_alone(history):
            reflog_commits += 1
            tally.root(commit.root)
        kept = tally.blocks + tally.nodes
    reflogs = kept - (stored.blocks + stored.nodes)
    packs = _packs(store.packs)
    records, payloads = packs.contents
    garbage = Contents(records - kept.objects, payloads - kept.stored)
    return RepositoryStats(commits, shown, stored, reflog_commits, reflogs, packs, garbage)


def _packs(folder: Path) -> Packs:
    count = size = records = payloads = 0
    for _, path in packs_in(folder):
        contents = read_contents(path)
        count += 1
        size += path.stat().st_size
        records += contents.records
        payloads += contents.stored
    return Packs(count, size, Contents(records, payloads))


def _sum(a: Logical, b: Logical) -> Logical:
    return Logical(*map(add, a, b))
