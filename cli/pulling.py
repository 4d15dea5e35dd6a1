"""What `pull` does: fetch, then a fast-forward of the current branch and its work tree.

The fast-forward is a switch to the branch that HEAD is on, which moves between tree and HEAD by
compare-and-swap. The restore log keeps the arguments of a pull that was interrupted: the same pull
finishes it before it fetches, since the remote may have moved on or be out of reach.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..store.errors import Conflict, InvalidInput
from ..store.history import BRANCHES, Commit, RefUpdate
from ..tracker import restore_log
from ..tracker.restore_plan import Result
from ..tracker.switch import Goal, switch
from .context import Context
from .fetching import FetchRequest, fetch_refs
from .refs import move_refs
from .replication import default_remote
from .sizes import count
from .upstreams import Upstream, configured

if TYPE_CHECKING:
    from ..store.remotes.transfer import FetchResult


@dataclass
class Pulled:
    """What was fetched; where the branch was (None: it had no commits) and is; how many commits it
    and theirs lacked of each other; what was written. `resumed` is the commit of a pull that was
    interrupted and was finished first, and what that wrote."""

    fetched: FetchResult
    old: str | None
    new: Commit
    ahead: int
    behind: int
    result: Result = field(default_factory=Result)
    resumed: tuple[Commit, Result] | None = None


def current_branch(context: Context) -> str:
    """The branch to bring forwards. InvalidInput in a bare repository and where HEAD is
    detached."""
    repository = context.repository
    if context.top is None:
        raise InvalidInput(
            f"{repository.path} is bare: it has no work tree",
            hint="commits alone are brought by: treering fetch",
        )
    branch = repository.history.branch()
    if branch is None:
        raise InvalidInput(
            "HEAD is on no branch that could be brought forwards",
            hint="go to one with: treering switch BRANCH",
        )
    return branch


def source_of(context: Context, own: str, remote: str | None, branch: str | None) -> Upstream:
    """Which branch of which remote: as named, else the upstream, else the one of the same name."""
    repository = context.repository
    if remote is not None and branch is not None:
        return Upstream(remote, BRANCHES + branch.removeprefix(BRANCHES))
    upstream = configured(repository, own)
    if upstream is not None and remote in (None, upstream.remote):
        return upstream
    return Upstream(remote or default_remote(repository, own), BRANCHES + own)


def pull(context: Context, own: str, source: Upstream, *, alone: bool, jobs: int) -> Pulled:
    """Bring the branch `own` up to its source; `alone`: nothing else is fetched. Conflict when they
    have diverged, or uncommitted changes are in the way."""
    history = context.repository.history
    before = history.head()
    resumed = _resume(context, own, source)
    refs = (source.merge,) if alone else ()
    request = FetchRequest(refs, needed=source.merge, jobs=jobs)
    fetched = fetch_refs(context, source.remote, request)
    old, target = history.head(), history.resolve(source.tracking)
    ahead, behind = history.ahead_behind(old, target.id) if old is not None else (0, 1)
    if ahead and behind:
        raise _diverged(own, source, ahead, behind)
    found = Pulled(fetched, before, target, ahead, behind, resumed=resumed)
    if behind:
        found.result = _forward(context, own, source, old, target)
    elif old is not None:
        found.new = history.commit(old)
    return found


def _diverged(own: str, source: Upstream, ahead: int, behind: int) -> Conflict:
    theirs = f"{source.remote}/{source.merge.removeprefix(BRANCHES)}"
    return Conflict(
        f"'{own}' and '{theirs}' have diverged: {count(ahead, 'commit')} here,"
        f" {count(behind, 'commit')} there",
        hint=f"this version does not merge; look at theirs with: treering switch -c NAME {theirs}",
    )


def _again(source: Upstream) -> tuple[str, ...]:
    return "pull", source.remote, source.merge.removeprefix(BRANCHES)


def _resume(context: Context, own: str, source: Upstream) -> tuple[Commit, Result] | None:
    """Finish this very pull, if it was interrupted. Conflict when anything else was."""
    repository = context.repository
    pending = restore_log.pending(repository)
    if pending is None:
        return None
    history = repository.history
    _refuse_others(context, own, source)
    commit, old = history.commit(pending.commit), history.head()
    if old is not None and not history.is_ancestor(old, commit.id):
        restore_log.refuse_if_pending(repository)
    result = _forward(context, own, source, old, commit)
    context.notice(f"finished the pull to {commit.short} that was interrupted")
    return commit, result


def _refuse_others(context: Context, own: str, source: Upstream) -> None:
    pending = restore_log.pending(context.repository)
    move = pending.move if pending else None
    if move is None or move.again != _again(source) or move.head != BRANCHES + own:
        restore_log.refuse_if_pending(context.repository)


def _forward(
    context: Context, own: str, source: Upstream, old: str | None, commit: Commit
) -> Result:
    """The work tree, and then the branch, from `old` to a commit."""
    history, ref = context.repository.history, BRANCHES + own
    undo = ", or undo them with: treering restore PATH" if old is not None else ""
    goal = Goal(ref, commit, _again(source), ("switch", own), "pull", f"move them away{undo}")

    def ready() -> None:
        _refuse_others(context, own, source)
        if history.branch() != own or history.head() != old:
            raise Conflict(f"'{own}' has moved meanwhile", hint="run the pull again")

    def advance() -> None:
        if old != commit.id:
            move_refs(context, [RefUpdate(ref, old, commit.id)], "pull: fast-forward")

    with context.progress() as progress:
        return switch(
            context.repository,
            context.work_tree(),
            goal,
            context.person(hint=False),
            ready=ready,
            make_branch=advance,
            progress=progress,
        )
