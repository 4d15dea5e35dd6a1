"""What push, fetch, clone and `commit --push` share: which remote, which refs, what to print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..store.errors import Conflict, InvalidInput, NotFound
from ..store.history import BRANCHES, REMOTES, TAGS, RefUpdate
from ..store.remotes.local import locate
from ..store.remotes.url import LOCAL, connect, parse, resolve
from .context import Context
from .output import say, say_json
from .sizes import count, format_size

if TYPE_CHECKING:
    from ..store.remotes.base import Remote
    from ..store.remotes.transfer import FetchResult, PushResult
    from ..store.repository import Repository


def remote_url(repository: Repository, name: str) -> str:
    """The URL of a configured remote. NotFound with the ones there are."""
    url = repository.config.get(f"remote.{name}.url")
    if url is None:
        known = ", ".join(repository.config.subsections("remote"))
        hint = f"there are: {known}" if known else "add one with: treering remote add NAME URL"
        raise NotFound(f"there is no remote '{name}'", hint=hint)
    return url


def default_remote(repository: Repository, branch: str | None) -> str:
    """The upstream's remote, else origin, else the only one."""
    names = repository.config.subsections("remote")
    upstream = repository.config.get(f"branch.{branch}.remote") if branch else None
    if upstream:
        return upstream
    if "origin" in names:
        return "origin"
    if len(names) == 1:
        return names[0]
    if not names:
        raise NotFound("there is no remote", hint="add one with: treering remote add NAME URL")
    raise InvalidInput(f"which remote? There are: {', '.join(names)}")


def open_remote(context: Context, url: str) -> Remote:
    """The remote behind a URL; a relative path is taken from where we are."""
    found = resolve(url, context.start)
    if parse(found).carrier == LOCAL:
        place = locate(Path(parse(found).path))
        if context.opened is not None and place.repository.samefile(context.opened.path):
            raise InvalidInput(f"{url} is this very repository")
    return connect(found, notice=context.notice)


def push_branches(
    context: Context, name: str | None, branches: tuple[str, ...], jobs: int = 4
) -> None:
    """Push branches (the current one by default) to a remote and say what was sent."""
    from ..store.remotes.transfer import PushUpdate, push

    repository = context.repository
    history = repository.history
    current = history.branch()
    if not branches:
        if current is None:
            raise InvalidInput("HEAD is on no branch", hint="name one: treering push REMOTE BRANCH")
        branches = (current,)
    name = name or default_remote(repository, current)
    updates = []
    for branch in branches:
        target = history.ref(BRANCHES + branch)
        if target is None:
            raise NotFound(
                f"there is no commit on branch '{branch}'", hint="make one with: treering commit"
            )
        updates.append(PushUpdate(target, BRANCHES + branch))
    who = context.person(hint=False)
    remote = open_remote(context, remote_url(repository, name))
    try:
        with context.progress() as progress:
            result = push(repository, remote, updates, who, jobs=jobs, progress=progress)
    finally:
        remote.close()
    tracking = {update.ref: update.commit for update in updates}
    _track(context, name, tracking)
    _say_push(context, name, result, branches)


def _track(context: Context, name: str, refs: dict[str, str]) -> None:
    """Remember where the remote's branches are now."""
    history = context.repository.history
    moves = []
    for ref, commit in refs.items():
        local = REMOTES + f"{name}/" + ref.removeprefix(BRANCHES)
        old = history.ref(local)
        if old != commit:
            moves.append(RefUpdate(local, old, commit))
    if moves:
        try:
            history.update_refs(moves, context.person(hint=False), "push")
        except Conflict:
            context.notice("another command has moved the remote-tracking branches meanwhile")


def _say_push(context: Context, name: str, result: PushResult, branches: tuple[str, ...]) -> None:
    pushed = ", ".join(branches)
    nothing = f"{pushed}: everything is up to date on {name}"
    if result.objects:
        lost = _amount(result)
        nothing = f"{pushed}: up to date on {name}, which had lost {lost}: sent again"
    moved = f"Pushed {count(result.commits, 'commit')} to {name}: {_amount(result)} sent"
    _say_transfer(context, name, result, moved, nothing)


def fetch_all(context: Context, name: str, *, bare: bool = False, jobs: int = 4) -> FetchResult:
    """Bring all branches and new tags of a remote. Into a bare clone branches keep their names,
    else they become remote-tracking ones."""
    from ..store.remotes.transfer import fetch

    repository = context.repository
    remote = open_remote(context, remote_url(repository, name))
    try:
        prefix = BRANCHES if bare else f"{REMOTES}{name}/"
        wanted = {}
        for ref in remote.refs():
            if ref.startswith(BRANCHES):
                wanted[ref] = prefix + ref.removeprefix(BRANCHES)
            elif ref.startswith(TAGS) and repository.history.ref(ref) is None:
                wanted[ref] = ref
        with context.progress() as progress:
            who = context.person(hint=False)
            return fetch(repository, remote, wanted, who, jobs=jobs, progress=progress)
    finally:
        remote.close()


def say_fetch(context: Context, name: str, result: FetchResult) -> None:
    """Say what was fetched."""
    moved = f"Fetched {count(result.commits, 'commit')} from {name}: {_amount(result)} received"
    _say_transfer(context, name, result, moved, f"everything is up to date with {name}")


def _say_transfer(
    context: Context, name: str, result: PushResult | FetchResult, moved: str, nothing: str
) -> None:
    """Say `moved` and which refs, or `nothing` where none moved."""
    if context.json:
        say_json(
            {
                "remote": name,
                "commits": result.commits,
                "objects": result.objects,
                "bytes": result.bytes,
                "moved": [move._asdict() for move in result.moved],
            }
        )
    elif not result.moved:
        say(nothing)
    elif not context.quiet:
        say(moved)
        for move in result.moved:
            say(f"   {_move(move)}")


def _amount(result: PushResult | FetchResult) -> str:
    return f"{count(result.objects, 'object')}, {format_size(result.bytes)}"


def _move(move: RefUpdate) -> str:
    name = move.name.removeprefix(BRANCHES).removeprefix(REMOTES)
    old = f"{move.old[:10]}.." if move.old else "new "
    return f"{old}{(move.new or '')[:10]}  {name}"
