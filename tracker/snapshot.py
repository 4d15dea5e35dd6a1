"""A commit: one snapshot of a work tree, or of several at one instant, from lock to moved ref.

Order of durability: packs, block index, state of the scan, the note that the root is held whole,
Git objects, the ref. Whatever ends it earlier leaves the refs where they were and, of what was
stored, what the next commit finds again.
"""

from __future__ import annotations

import grp
import os
import pwd
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ..store.errors import Conflict, Corrupt, NotFound, TreeringError
from ..store.history import BRANCHES, Commit, Person, RefUpdate
from ..store.ids import NodeId
from ..store.nodes import EMPTY_FOLDER, Entry
from ..store.object_writer import ObjectWriter
from ..store.packfile import PackInfo
from ..store.progress import SILENT, Progress
from ..store.repository import Repository
from ..store.root_record import Change, RootRecord
from ..store.trees import encode_root, load_root
from . import merge_state, restore_log
from .capture.build import Capture
from .capture.instant import Instant, freeze_together
from .changes import count_changes
from .links import LinkTable
from .merge_state import Merging
from .metadata import XattrFilter
from .report import Report
from .scan_build import ScanBuild
from .scope import EVERYTHING, Scope

DEFAULT_MESSAGE = "snapshot\n"


@dataclass(frozen=True)
class Request:
    """What to commit and as whom. An empty message stands for the merge's, or "snapshot". `scope`:
    everything, or only what lies at some paths."""

    message: str
    author: Person
    committer: Person
    scope: Scope = EVERYTHING
    allow_empty: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a commit did. `commit` is None when there was nothing to commit. `pause`: for so many
    seconds nothing could change the tree, whose root is of that instant; None for a scan."""

    commit: Commit | None
    root: NodeId
    change: Change
    seconds: float
    report: Report = field(default_factory=Report)
    pause: float | None = None


def xattr_filter(repository: Repository) -> XattrFilter:
    return XattrFilter(os.geteuid() == 0, repository.config.boolean("core.labels", False))


def head_commit(repository: Repository) -> Commit | None:
    """The commit that HEAD names, or None."""
    head = repository.history.head()
    try:
        return repository.history.commit(head) if head else None
    except NotFound as error:
        raise Corrupt(
            f"HEAD names commit {head}, which is not there", hint="see: treering fsck"
        ) from error


def top_entry(repository: Repository, commit: Commit | None) -> Entry | None:
    """The top folder of a commit's root."""
    return load_root(repository.store, commit.root).top if commit else None


class Place(NamedTuple):
    """A repository and its work tree."""

    repository: Repository
    top: Path


def commit(
    repository: Repository,
    top: Path,
    request: Request,
    *,
    progress: Progress = SILENT,
    check: Callable[[], None] = lambda: None,
    on_pack: Callable[[PackInfo], None] = lambda _pack: None,
) -> Outcome:
    """Commit the work tree at `top`, which finishes a merge that is under way. `check` runs once
    the lock is held and may refuse; `on_pack` is told of each pack that is durable."""
    with TreeCommit(Place(repository, top), request, progress, check, on_pack) as made:
        made.build()
        made.record()
        return made.end()


def commit_together(
    places: Sequence[Place], request: Request, *, progress: Progress = SILENT
) -> list[Outcome]:
    """Commit attached trees as they are at one instant, which is the same for all of them: all are
    committed, or none. Conflict where one has no such instant."""
    with ExitStack() as stack:
        commits = {}
        for place in sorted(places, key=lambda place: place.repository.path):  # no two ways round
            commits[place] = stack.enter_context(TreeCommit(place, request, progress))
        freeze_together([made.instant for made in commits.values()])
        for made in commits.values():
            made.build()
        _record_all([*commits.values()])
        return [commits[place].end() for place in places]


def _record_all(commits: Sequence[TreeCommit]) -> None:
    done: list[TreeCommit] = []
    try:
        for made in commits:
            made.record()
            done.append(made)
    except BaseException:
        for made in reversed(done):
            made.take_back()
        raise


class TreeCommit:
    """One commit of a work tree, step by step, in a `with`: its lock is held, and what was frozen
    for it stays so. `build` stores the root, `record` moves the ref, `end` tells the driver. What
    ends it before that leaves everything as it was."""

    def __init__(
        self,
        place: Place,
        request: Request,
        progress: Progress = SILENT,
        check: Callable[[], None] = lambda: None,
        on_pack: Callable[[PackInfo], None] = lambda _pack: None,
    ) -> None:
        self._repository, self._top = place
        self._on_pack = on_pack
        self._request = request
        self._progress = progress
        self._check = check
        self._started = time.monotonic()
        self._stack = ExitStack()
        self._made: Commit | None = None
        self._change = Change()

    def __enter__(self) -> TreeCommit:
        with ExitStack() as stack:
            stack.enter_context(self._repository.lock("commit", "a commit"))
            self._begin()
            whole = self._request.scope.whole
            self.instant = stack.enter_context(Instant(self._repository, self._head, whole=whole))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def _begin(self) -> None:
        repository = self._repository
        restore_log.refuse_if_pending(repository)
        self._check()
        self._head = head_commit(repository)
        if self._head is None:
            _refuse_lost_branch(repository)
        self._merging = _merging(repository, self._top, self._request)
        self._base = _base(repository, self._head)

    def build(self) -> None:
        """Store the root durably."""
        repository = self._repository
        writer = repository.writer(self._on_pack)
        try:
            self._built = _built(
                Place(repository, self._top),
                self._request.scope,
                self._base,
                writer,
                self.instant,
                self._progress,
            )
            entry = self._built.entry
            self._root = NodeId(writer.put_node(encode_root(entry, repository.block_size)))
            writer.finish()
            self._built.save_state()
        except BaseException:
            writer.abort()
            raise
        self._progress.begin("recording")
        repository.record_packs(writer.packs)
        self._stored = writer.stored_bytes

    def record(self) -> None:
        """Make the commit and move the ref, if there is anything to commit."""
        repository, request, merging = self._repository, self._request, self._merging
        wanted = merging is not None or request.allow_empty
        if wanted or not _is_same(self._head, self._root, self._built.entry):
            change = _count(repository, self._base, self._built)
            self._change = change._replace(stored=self._stored)
            parents = _parents(repository, self._head, merging)
            names = owner_names(parents, self._built.owners)
            record = RootRecord(self._root, (), self._change, *names)
            message = request.message or (merging.message if merging else DEFAULT_MESSAGE)
            request = replace(request, message=message)
            self._made = record_commit(repository, request, parents, record)

    def take_back(self) -> None:
        """The ref goes back to where it was: another of the commits that belong together failed.
        Where it cannot, that is said."""
        if self._made is None:
            return
        repository, history = self._repository, self._repository.history
        branch = history.branch()
        ref = BRANCHES + branch if branch else "HEAD"
        before = self._head.id if self._head is not None else None
        back = RefUpdate(ref, self._made.id, before)
        try:
            history.update_refs([back], self._request.committer, "commit: taken back")
            repository.mark_finalized([back])
        except TreeringError as error:
            repository.notice(f"{self._top} stays committed: {error.message}")

    def end(self) -> Outcome:
        """The commit is durable, and nothing takes it back."""
        LinkTable(self._repository.catalog).belongs_to(self._root.hex())
        self.instant.committed(self._root, problems=bool(self._built.report.problem_count))
        if self._merging is not None:
            merge_state.end(self._repository)
        seconds = time.monotonic() - self._started
        report, pause = self._built.report, self.instant.pause
        return Outcome(self._made, self._root, self._change, seconds, report, pause)


def _refuse_lost_branch(repository: Repository) -> None:
    """A branch that was finalized and is not there was lost: a commit must not start it anew."""
    name = f"{BRANCHES}{repository.history.branch()}"
    last = repository.finalized().get(name)
    if last is not None:
        raise Corrupt(f"{name} is missing; it was at {last[:10]}", hint="see: treering fsck")


def _base(repository: Repository, head: Commit | None) -> Entry | None:
    """The top folder of the last commit; None where its root is damaged: the tree is then stored as
    if for the first time, which brings back what the root had."""
    if head is None:
        return None
    store = repository.store  # a damaged index is another matter
    try:
        return load_root(store, head.root).top
    except (Corrupt, NotFound) as error:
        repository.notice(f"the last commit is damaged: {error.message}")
        return None


def _is_same(head: Commit | None, root: NodeId, top: Entry) -> bool:
    if head is None:
        return top.content == EMPTY_FOLDER
    return head.root == root


def _count(repository: Repository, base: Entry | None, built: ScanBuild | Capture) -> Change:
    change = Change(built.entry.files, built.totals.regions, built.totals.data)
    if base is not None:
        try:
            change = count_changes(repository.store, base, built.entry, repository.block_size)
        except (Corrupt, NotFound) as error:  # as in _base
            repository.notice(f"the last commit is damaged: {error.message}")
    return change


def _merging(repository: Repository, top: Path, request: Request) -> Merging | None:
    """The merge that this commit finishes. Conflict when it may not."""
    merge_state.forget_committed(repository)
    merging = merge_state.pending(repository)
    if merging is None:
        return None
    if not request.scope.whole:
        raise Conflict(
            "a merge is committed whole, not by paths",
            hint="leave the paths away; or go back with: treering merge --abort",
        )
    merge_state.refuse_if_unsettled(repository, merging, top)
    return merging


def _parents(repository: Repository, head: Commit | None, merging: Merging | None) -> list[Commit]:
    found = [head] if head else []
    return [*found, repository.history.commit(merging.theirs)] if merging else found


def record_commit(
    repository: Repository, request: Request, parents: list[Commit], record: RootRecord
) -> Commit:
    """Make the commit of a root that is stored durably, and move the branch, or detached HEAD,
    from the first parent to it. Conflict when that has moved."""
    head = parents[0].id if parents else None
    branch = repository.history.branch()
    ref = BRANCHES + branch if branch else "HEAD"
    repository.mark_held([record.root], "whole")
    made = repository.history.create_commit(
        record,
        [parent.id for parent in parents],
        request.author,
        request.committer,
        request.message,
        ref,
    )
    repository.mark_finalized([RefUpdate(ref, head, made.id)])
    return made


def owner_names(
    parents: list[Commit], owners: tuple[set[int], set[int]]
) -> tuple[dict[int, str], dict[int, str]]:
    """Names of the owners in the snapshot, as this machine knows them: those met now, beside those
    of the parents, of which the first comes first."""
    users = {uid: name for parent in parents[::-1] for uid, name in parent.record.users.items()}
    groups = {gid: name for parent in parents[::-1] for gid, name in parent.record.groups.items()}
    for uid in owners[0]:
        try:
            users[uid] = pwd.getpwuid(uid).pw_name
        except (KeyError, OverflowError):
            continue
    for gid in owners[1]:
        try:
            groups[gid] = grp.getgrgid(gid).gr_name
        except (KeyError, OverflowError):
            continue
    return users, groups


def _built(
    place: Place,
    scope: Scope,
    base: Entry | None,
    writer: ObjectWriter,
    instant: Instant,
    progress: Progress,
) -> ScanBuild | Capture:
    """What makes the root, when it has: of the maps, or by a scan."""
    keep = xattr_filter(place.repository)
    made = instant.capture(base, writer, keep, progress)
    if made is not None:
        return made
    scan = ScanBuild(*place, scope, base, writer, keep, progress)
    scan.run()
    return scan
