"""The tree of a merge: worked out and stored before anything of the work tree moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from ..store.content import NodeSource
from ..store.errors import Conflict
from ..store.folder_editor import Edits, edit_tree
from ..store.history import Commit
from ..store.nodes import Entry
from ..store.object_writer import ObjectWriter
from ..store.progress import Progress
from ..store.repository import Repository
from ..store.trees import encode_root, load_root
from .entry_merge import Side
from .link_merge import regrouped
from .merge_base import base_tree
from .merge_state import Merging
from .tree_merge import Merge, Options, merge_trees

MAX_LABEL: Final = 40
"""Letters of a label in the names of files."""


MAX_FRESH: Final = 16 << 20
"""Bytes of new nodes that are kept in memory."""


class Request(NamedTuple):
    """What to merge: commit `theirs`, called `label`. `regions`: compose files of the regions that
    either side changed. `favour`: whose version is taken where both changed a name. `unrelated`:
    also what has no commit in common."""

    theirs: Commit
    label: str
    message: str
    regions: bool = False
    favour: Side | None = None
    unrelated: bool = False


def top_of(repository: Repository, root: bytes) -> Entry:
    """The top folder of a root."""
    return load_root(repository.store, root).top


def plan(repository: Repository, ours: Commit, request: Request, progress: Progress) -> Merging:
    """Merge the trees of two commits. Conflict when they have nothing in common."""
    progress.begin("merging")
    with _writing(repository) as writer:
        planner = _Planner(repository, writer)
        base = planner.base(ours, request)
        merge = planner.merge(base, ours, request)
        root = writer.put_node(encode_root(merge.top, repository.block_size))
        writer.finish()
    return Merging(
        ours.id,
        request.theirs.id,
        request.label,
        request.message,
        root,
        writer.stored_bytes,
        not merge.clashes,
        tuple(merge.clashes),
    )


def edited_root(
    repository: Repository,
    root: bytes,
    edits: Edits,
    prune: Callable[[bytes], bool] = lambda _path: False,
) -> bytes:
    """The root with `edits` applied, as `edit_tree` does; stored durably."""
    if not edits:
        return root
    with _writing(repository) as writer:
        top = top_of(repository, root)
        top = edit_tree(repository.store, writer.put_node, top, edits, prune=prune)
        made: bytes = writer.put_node(encode_root(top, repository.block_size))
        writer.finish()
    return made


@contextmanager
def _writing(repository: Repository) -> Iterator[ObjectWriter]:
    writer = repository.writer()
    try:
        yield writer
    except BaseException:
        writer.abort()
        raise
    repository.record_packs(writer.packs)


class _Fresh:
    """Nodes that can be read before they are durable: a merge reads what it has just made."""

    def __init__(self, source: NodeSource, writer: ObjectWriter) -> None:
        self._source = source
        self._writer = writer
        self._plain: dict[bytes, bytes] = {}
        self._size = 0

    def put_node(self, plain: bytes) -> bytes:
        identity = self._writer.put_node(plain)
        self._plain[identity] = plain
        self._size += len(plain)
        if self._size > MAX_FRESH:
            self._writer.flush()
            self._plain, self._size = {}, 0
        return identity

    def node(self, identity: bytes) -> bytes:
        return self._plain.get(identity) or self._source.node(identity)


class _Planner:
    def __init__(self, repository: Repository, writer: ObjectWriter) -> None:
        self._repository = repository
        self._fresh = _Fresh(repository.store, writer)

    def base(self, ours: Commit, request: Request) -> Entry | None:
        history = self._repository.history
        base = base_tree(
            history, ours.id, request.theirs.id, top_of=self._top_of, merge=self._merge_bases
        )
        if base is None and not request.unrelated:
            raise Conflict(
                f"'{request.label}' has no commit in common with HEAD",
                hint="--allow-unrelated-histories merges it all the same",
            )
        return base

    def _top_of(self, commit_id: str) -> Entry:
        return top_of(self._repository, self._repository.history.commit(commit_id).root)

    def _merge_bases(self, base: Entry | None, one: Entry, other: Entry) -> Entry:
        return self._merge_trees((base, one, other), Options(favour="neither")).top

    def merge(self, base: Entry | None, ours: Commit, request: Request) -> Merge:
        trio = base, self._top_of(ours.id), self._top_of(request.theirs.id)
        options = Options(file_label(request.label), request.regions, request.favour)
        found = self._merge_trees(trio, options)
        top = self._edit(found.top, found.beside)
        top = self._edit(top, regrouped(self._fresh, trio, top))
        return found._replace(top=top)

    def _merge_trees(self, trio: tuple[Entry | None, Entry, Entry], options: Options) -> Merge:
        size = self._repository.block_size
        return merge_trees(self._fresh, self._fresh.put_node, size, trio, options)

    def _edit(self, top: Entry, edits: Edits) -> Entry:
        return edit_tree(self._fresh, self._fresh.put_node, top, edits) if edits else top


def file_label(label: str) -> bytes:
    """The label as part of a file's name."""
    safe = "".join("-" if letter in "/~" or ord(letter) < ord("!") else letter for letter in label)
    return safe[:MAX_LABEL].encode("utf-8", "surrogateescape")
