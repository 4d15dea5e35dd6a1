"""What `pull` does: fetch, then a fast-forward of the current branch and its work tree.

Where both sides have commits of their own it merges, if asked to. The restore log keeps the
arguments of a pull that was interrupted: the same pull finishes it before it fetches, since the
remote may have moved on or be out of reach.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..store.errors import Conflict, InvalidInput
from ..store.history import BRANCHES, Commit
from ..tracker import merge_state, restore_log
from ..tracker.restore_plan import Result
from . import upstreams
from .context import Context
from .fetching import FetchRequest, fetch_refs
from .forwarding import Forward, forward
from .merging import Done, Wish, merge
from .sizes import count
from .upstreams import Upstream

if TYPE_CHECKING:
    from ..store.remotes.transfer import FetchResult


@dataclass
class Pulled:
    """What was fetched; where the branch was (None: it had no commits) and is; how many commits it
    and theirs lacked of each other; what was written. `resumed` is the commit of a pull that was
    interrupted and was finished first, and what that wrote; `merged` a merge that was made."""

    fetched: FetchResult
    old: str | None
    new: Commit
    ahead: int
    behind: int
    result: Result = field(default_factory=Result)
    resumed: tuple[Commit, Result] | None = None
    merged: Done | None = None


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
    if remote is not None and branch is not None:
        return Upstream(remote, BRANCHES + branch.removeprefix(BRANCHES))
    return upstreams.source(context.repository, own, remote)


def pull(
    context: Context, own: str, source: Upstream, wish: Wish | None, *, alone: bool, jobs: int
) -> Pulled:
    """Bring the branch `own` up to its source; `alone`: nothing else is fetched. Where both have
    commits of their own they are merged as `wish` says. Conflict when there is none, or uncommitted
    changes are in the way."""
    history = context.repository.history
    before = history.head()
    merge_state.refuse_if_pending(context.repository)
    resumed = _resume(context, own, source)
    refs = (source.merge,) if alone else ()
    request = FetchRequest(refs, needed=source.merge, jobs=jobs)
    fetched = fetch_refs(context, source.remote, request)
    old, target = history.head(), history.resolve(source.tracking)
    ahead, behind = history.ahead_behind(old, target.id) if old is not None else (0, 1)
    found = Pulled(fetched, before, target, ahead, behind, resumed=resumed)
    if ahead and behind:
        if wish is None:
            raise _diverged(own, source, ahead, behind)
        found.merged = merge(context, source.tracking, wish)
        found.result = found.merged.result
    elif behind:
        found.result = _forward(context, own, source, old, target)
    elif old is not None:
        found.new = history.commit(old)
    return found


def _diverged(own: str, source: Upstream, ahead: int, behind: int) -> Conflict:
    theirs = source.name
    return Conflict(
        f"'{own}' and '{theirs}' have diverged: {count(ahead, 'commit')} here,"
        f" {count(behind, 'commit')} there",
        hint=f"look at theirs with: treering log ..{theirs}; merge it with: treering pull --merge",
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
    step = Forward(old, commit, _again(source), "pull")
    return forward(context, step, lambda: _refuse_others(context, own, source))
