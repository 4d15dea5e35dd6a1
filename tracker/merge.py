"""A merge: another commit's changes brought into the branch and its work tree.

The merged tree is worked out and stored first (`merge_plan`), then the work tree is moved to it
like in a switch (`move`). Without a clash the commit of two parents follows at once; what is not
committed in the work tree is carried along and is not in it. With clashes the state of the merge is
kept (`merge_state`), and the next commit is the merge's. Settling a clash by taking a side, and
giving the merge up, are moves, too.

A crash leaves the restore log, which knows the merge: it is finished by `finish_interrupted`, or
taken back by `abort`. All of these hold the commit lock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from ..store.errors import Conflict, InvalidInput, NotFound
from ..store.head import current
from ..store.history import Commit, Person
from ..store.ids import NodeId
from ..store.nodes import Entry
from ..store.progress import SILENT, Progress
from ..store.quoting import quote_path
from ..store.repository import Repository
from ..store.root_record import RootRecord
from ..store.trees import lookup, lookup_or_none
from . import merge_state, move, restore_log, snapshot
from .changes import count_changes
from .entry_merge import Side
from .merge_plan import Request, edited_root, plan, top_of
from .merge_state import Clash, Merging
from .restore_log import Move
from .restore_plan import Result
from .scope import Relation, Scope
from .snapshot import head_commit, owner_names

MERGE: Final = "merge"
RESOLUTION: Final = "merge resolution"
ABORT: Final = "merge abort"
CONTINUE: Final = ("merge", "--continue")
GO_BACK: Final = ("merge", "--abort")


@dataclass(frozen=True)
class Outcome:
    """How a merge stands: its commit once that is made, and what was written to the work tree."""

    merging: Merging
    commit: Commit | None
    result: Result


def start(
    repository: Repository,
    top: Path,
    request: Request,
    who: Person,
    *,
    progress: Progress = SILENT,
) -> Outcome:
    """Merge a commit into HEAD. Conflict when something else is not finished, when the two have
    nothing in common, or when changes that are not committed are in the way: nothing has changed
    then."""
    with repository.lock("commit", "a merge"):
        restore_log.refuse_if_pending(repository)
        merge_state.clear(repository)
        head = head_commit(repository)
        if head is None:
            raise Conflict("there are no commits yet that could be merged with")
        merging = plan(repository, head, request, progress)
        way = _move(repository, MERGE, head.root, merging.root, merging)
        result = move.begin(
            repository,
            top,
            way,
            request.theirs.id,
            rescue="commit them, or move them away, and merge then",
            later=_Sides(repository, merging).both() if merging.clashes else None,
            progress=progress,
        )
        way = _pending(repository, (MERGE,)) or way
        return Outcome(merging, _settle(repository, way, who), result)


def finish_interrupted(
    repository: Repository, top: Path, who: Person, *, progress: Progress = SILENT
) -> Outcome | None:
    """Finish what a crash has left of a merge, or of a resolution; None where it left nothing.
    Conflict when it left something else."""
    with repository.lock("commit", "a merge"):
        return _finish(repository, top, who, (MERGE, RESOLUTION), progress)


def _finish(
    repository: Repository, top: Path, who: Person, verbs: tuple[str, ...], progress: Progress
) -> Outcome | None:
    way = _pending(repository, verbs)
    if way is None:
        return None
    result = move.again(repository, top, way, back=False, progress=progress)
    made = _settle(repository, way, who)
    return Outcome(way.merging, made, result) if way.merging else None


def _pending(repository: Repository, verbs: tuple[str, ...]) -> Move | None:
    """The move that was interrupted. Conflict when it is none of these."""
    found = restore_log.pending(repository)
    if found is None:
        return None
    if found.move is None or found.move.verb not in verbs:
        restore_log.refuse_if_pending(repository)
    return found.move


def resolve(
    repository: Repository,
    top: Path,
    scope: Scope,
    side: Side,
    who: Person,
    *,
    progress: Progress = SILENT,
) -> Outcome:
    """Settle the clashes in `scope` (everything: those that are still open) by taking one side's
    version, whatever was done to the path since. InvalidInput when no merge is under way, NotFound
    when nothing there is in dispute."""
    with repository.lock("commit", "a merge"):
        restore_log.refuse_if_pending(repository)
        merging = under_way(repository)
        chosen = _chosen(merging, top, scope)
        sides = _Sides(repository, merging)
        base, target = sides.base(chosen, side), sides.target(chosen, side)
        settled = {clash.path for clash in chosen}
        left = tuple(clash for clash in merging.clashes if clash.path not in settled)
        merging = merging._replace(root=target, clashes=left)
        way = _move(repository, RESOLUTION, base, target, merging)
        result = move.begin(repository, top, way, merging.theirs, force=True, progress=progress)
        return Outcome(merging, _settle(repository, way, who), result)


def _chosen(merging: Merging, top: Path, scope: Scope) -> list[Clash]:
    if scope.whole:
        found = merge_state.unsettled(merging, top)
    else:
        found = [clash for clash in merging.clashes if _is_in(scope, clash)]
    if not found:
        where = "" if scope.whole else f" at {', '.join(map(quote_path, scope.paths))}"
        raise NotFound(f"nothing is in dispute{where}", hint="see: treering status")
    return found


def _is_in(scope: Scope, clash: Clash) -> bool:
    """Whether a clash is named, by its path or by where their version stands."""
    paths = (clash.path, clash.beside)
    return any(scope.relation(path) is Relation.INSIDE for path in paths if path is not None)


def abort(
    repository: Repository,
    top: Path,
    who: Person,
    *,
    force: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Give the merge up: the work tree goes back to our commit, but for changes made since at
    names that the merge did not touch. Conflict when others would be lost, unless `force` is
    given; InvalidInput when no merge is under way."""
    with repository.lock("commit", "a merge"):
        way = _pending(repository, (MERGE, RESOLUTION, ABORT))
        if way is not None and way.verb == MERGE:
            return _take_back(repository, top, way, who, progress)
        finished = _finish(repository, top, who, (RESOLUTION, ABORT), progress)
        if way is not None and finished is None:
            return Result()
        merging = under_way(repository)
        base = _Sides(repository, merging).written()
        ours = repository.history.commit(merging.ours)
        way = _move(repository, ABORT, base, ours.root, None)
        result = move.begin(
            repository,
            top,
            way,
            merging.theirs,
            force=force,
            rescue="move them away, or give them up with: treering merge --abort --force",
            progress=progress,
        )
        _settle(repository, way, who)
        return result


def _take_back(
    repository: Repository, top: Path, way: Move, who: Person, progress: Progress
) -> Result:
    """Undo a merge that was interrupted. Conflict when its commit is made: it is finished then."""
    assert way.merging is not None
    if merge_state.is_committed(repository, way.merging):
        _finish(repository, top, who, (MERGE,), progress)
        raise Conflict(
            f"the merge of '{way.merging.label}' is committed already, and finished now",
            hint="see: treering log --graph",
        )
    result = move.again(repository, top, way, back=True, progress=progress)
    _settle(repository, way._replace(merging=None), who)
    return result


def under_way(repository: Repository) -> Merging:
    """The merge that is under way. InvalidInput when there is none."""
    merging = merge_state.pending(repository)
    if merging is None:
        raise InvalidInput("no merge is under way", hint="begin one with: treering merge REV")
    return merging


def _move(
    repository: Repository, verb: str, base: bytes, target: bytes, merging: Merging | None
) -> Move:
    again, back = (GO_BACK, ()) if verb == ABORT else (CONTINUE, GO_BACK)
    head = current(repository.history)
    return Move(verb, base, target, head, again, back, merging=merging)


def _settle(repository: Repository, way: Move, who: Person) -> Commit | None:
    """What follows once the work tree is where a move wanted it, durably; the commit, where one is
    made. May be done twice."""
    merging, made = way.merging, None
    if merging is None:
        merge_state.end(repository)
    elif merging.clean:
        made = _committed(repository, merging, who)
    else:
        if way.verb == MERGE:
            merging = merging._replace(equal=way.equal)
        merge_state.write(repository, merging)
    move.end(repository)
    return made


def _committed(repository: Repository, merging: Merging, who: Person) -> Commit:
    history = repository.history
    if merge_state.is_committed(repository, merging):
        return history.commit(history.head() or "")
    parents = [history.commit(merging.ours), history.commit(merging.theirs)]
    before, after = top_of(repository, parents[0].root), top_of(repository, merging.root)
    change = count_changes(repository.store, before, after, repository.block_size)
    names = owner_names(parents, (set(), set()))
    record = RootRecord(NodeId(merging.root), (), change._replace(stored=merging.stored), *names)
    request = snapshot.Request(merging.message, who, who)
    return snapshot.record_commit(repository, request, parents, record)


class _Sides:
    """Both sides of the clashes of a merge."""

    def __init__(self, repository: Repository, merging: Merging) -> None:
        self._repository = repository
        self._source = repository.store
        self._merging = merging
        self._merged = top_of(repository, merging.root)
        history = repository.history
        self._tops: dict[Side, Entry] = {
            "ours": top_of(repository, history.commit(merging.ours).root),
            "theirs": top_of(repository, history.commit(merging.theirs).root),
        }

    def base(self, clashes: Iterable[Clash], side: Side) -> bytes:
        """The root to start from when clashes are settled by taking a side: it has the other side's
        version at each path, so that whatever stands there is brought to the target."""
        return edited_root(self._repository, self._merging.root, self._others(clashes, side))

    def _others(self, clashes: Iterable[Clash], side: Side) -> dict[bytes, Entry | None]:
        return self._edits(clashes, "theirs" if side == "ours" else "ours")

    def _edits(self, clashes: Iterable[Clash], side: Side) -> dict[bytes, Entry | None]:
        """What gives the merged root this side's version at each path: ours is there already."""
        return {clash.path: self._theirs(clash) for clash in clashes if side == "theirs"}

    def both(self) -> tuple[bytes, bytes]:
        """The roots of all clashes settled by taking one side, and by taking the other."""
        clashes = self._merging.clashes
        return self.target(clashes, "ours"), self.target(clashes, "theirs")

    def written(self) -> bytes:
        """The root to start from when the merge is given up: as `base`, and what the merge has not
        written, since it was there, is as ours."""
        edits = self._others(self._merging.clashes, "ours")
        top = self._tops["ours"]
        edits |= {path: lookup_or_none(self._source, top, path) for path in self._merging.equal}
        return edited_root(self._repository, self._merging.root, edits)

    def target(self, clashes: Collection[Clash], side: Side) -> bytes:
        """The root with clashes settled by taking a side."""
        edits = self._edits(clashes, side)
        edits |= {clash.beside: None for clash in clashes if clash.beside is not None}
        top = self._tops[side]

        def prune(path: bytes) -> bool:
            return lookup_or_none(self._source, top, path) is None

        return edited_root(self._repository, self._merging.root, edits, prune)

    def _theirs(self, clash: Clash) -> Entry | None:
        """Their version, or the folder with their attributes where these are in dispute."""
        if clash.attributes is not None:
            own, found = lookup(self._source, self._merged, clash.path), clash.attributes
            return replace(own, mode=found.mode, uid=found.uid, gid=found.gid, extras=found.extras)
        if clash.beside is None:
            return None
        theirs = lookup(self._source, self._merged, clash.beside)
        return replace(theirs, name=clash.path.rpartition(b"/")[2])
