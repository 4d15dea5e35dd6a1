"""treering clone: make a new repository from a remote one."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ...store.errors import Conflict, NotFound
from ...store.head import set_head
from ...store.history import BRANCHES, DEFAULT_BRANCH, REMOTES, RefUpdate
from ..context import Context, common_options, pass_context
from ..options import jobs_option
from ..output import say, say_json
from ..sizes import count, format_size
from ..summary import finish_report
from ..upstreams import Upstream, set_upstream


@click.command("clone")
@click.option("--bare", is_flag=True, help="Without a work tree.")
@click.option("--repo", metavar="PATH", help="Keep the repository here, on another disk say.")
@click.option("-b", "--branch", metavar="BRANCH", help="Restore this one, not the current one.")
@jobs_option("requests to make")
@click.argument("url")
@click.argument("directory", required=False)
@common_options
@pass_context
def command(
    context: Context,
    bare: bool,
    repo: str | None,
    branch: str | None,
    jobs: int,
    url: str,
    directory: str | None,
) -> None:
    """Make a repository in DIRECTORY from the one at URL, with all its history and tags, and
    restore its current branch there, which follows the remote's from then on.

    An interrupted clone goes on when the same command is run again.

    \b
    Example:
      treering clone ../backup/photos ../photos
    """
    from ...store.remotes.url import resolve
    from ..fetching import FetchRequest, fetch_refs
    from ..replication import open_remote

    source = resolve(url, context.start)
    top = (context.start / (directory or _name(source))).resolve()
    remote = open_remote(context, source)
    try:
        description = remote.describe()
        refs = remote.refs()
        head = _head(description.head, refs, branch)
        empty = not refs
    finally:
        remote.close()
    _prepare(context, top, source, description.block_size, bare=bare, repo=repo)
    if not context.quiet and not context.json:
        say(f"Cloning into '{top}'")
    result = fetch_refs(context, "origin", FetchRequest(bare=bare, jobs=jobs))
    files, written = _check_out(context, head.removeprefix(BRANCHES), bare=bare)
    if context.json:
        say_json(
            {
                "repository": str(context.repository.path),
                "commits": result.commits,
                "objects": result.objects,
                "bytes": result.bytes,
                "files": files,
                "written": written,
            }
        )
    elif empty:
        context.notice("the remote has no commits yet")
    elif not context.quiet:
        say(
            f"{count(result.commits, 'commit')}, {count(result.objects, 'object')},"
            f" {format_size(result.bytes)} received; {count(files, 'file')} restored"
        )


def _head(head: str | None, refs: dict[str, str], branch: str | None) -> str:
    """The branch to restore: the one asked for, that of the remote's HEAD, or, where that has no
    commits, the only one there is."""
    if branch is not None:
        if BRANCHES + branch not in refs:
            raise NotFound(f"the remote has no branch '{branch}'")
        return BRANCHES + branch
    if head is not None and head in refs:
        return head
    there = [ref for ref in refs if ref.startswith(BRANCHES)]
    return there[0] if len(there) == 1 else head or BRANCHES + DEFAULT_BRANCH


def _name(source: str) -> str:
    """Photos for /mnt/backup/photos or /home/me/photos/.treering."""
    path = Path(source.removeprefix("file://"))
    return path.parent.name if path.name == ".treering" else path.name


def _prepare(
    context: Context, top: Path, source: str, block_size: int, *, bare: bool, repo: str | None
) -> None:
    """An empty repository with the remote `origin`, made new or left by a clone that was
    interrupted."""
    from ...store.errors import NoRepository
    from ...store.remotes.local import locate
    from ...store.repository import Repository
    from ...tracker.work_tree import create_work_tree

    try:
        place = locate(top)
    except NoRepository:
        if top.exists() and (not top.is_dir() or os.listdir(top)):
            raise Conflict(f"{top} exists and is not empty") from None
        top.mkdir(parents=True, exist_ok=True)
        if bare:
            Repository.create(top, block_size)
        else:
            create_work_tree(top, block_size, (context.start / repo).resolve() if repo else None)
        place = locate(top)
    context.use(place.repository, None if bare else top)
    config = context.repository.config
    known = config.get("remote.origin.url")
    if context.repository.history.head() is not None or known not in (None, source):
        raise Conflict(f"there is a repository in {top} already")
    config.set("remote.origin.url", source)


def _check_out(context: Context, branch: str, *, bare: bool) -> tuple[int, int]:
    """Put HEAD on the remote's branch and restore it: (files, bytes written)."""
    from ...tracker.restore import restore_clone

    repository = context.repository
    history = repository.history
    set_head(history, BRANCHES + branch)
    target = history.ref(f"{BRANCHES if bare else REMOTES + 'origin/'}{branch}")
    if bare or target is None:
        return 0, 0
    # HEAD is born last: until then the same command goes on.
    with context.progress() as progress:
        result = restore_clone(
            repository, context.work_tree(), history.commit(target), progress=progress
        )
    set_upstream(repository, branch, Upstream("origin", BRANCHES + branch))
    move = RefUpdate(BRANCHES + branch, None, target)
    history.update_refs([move], context.person(hint=False), "clone")
    repository.mark_finalized([move])
    if result.unowned:
        context.notice(f"the owners of {count(result.unowned, 'file')} could not be set")
    finish_report(context, result.report)
    return result.files, result.size
