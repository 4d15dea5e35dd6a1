"""treering branch: list, make, move, rename and delete branches."""

from __future__ import annotations

import click

from ...store.errors import Conflict, InvalidInput, NotFound
from ...store.head import set_head
from ...store.history import BRANCHES, REMOTES, RefUpdate
from ..completion import branches, offering, revisions
from ..context import Context, common_options, pass_context
from ..output import Json, say, say_json
from ..refs import check_name, existing, make_ref, move_refs
from ..upstreams import comparison, configured, followed, named, set_upstream
from ..upstreams import unset_upstream as unset_upstream_of


@click.command("branch")
@click.option("-d", "--delete", is_flag=True, help="Delete branches whose commits are elsewhere.")
@click.option("-m", "--move", is_flag=True, help="Rename a branch, or the one we are on.")
@click.option("-f", "--force", is_flag=True, help="Move a branch that exists; delete it anyway.")
@click.option("-r", "--remotes", is_flag=True, help="List the branches of remotes.")
@click.option("-a", "--all", "everything", is_flag=True, help="List both.")
@click.option(
    "-u", "--set-upstream-to", "upstream", metavar="REMOTE/BRANCH", help="Follow it from now on."
)
@click.option("--unset-upstream", is_flag=True, help="Follow nothing any more.")
@click.argument(
    "arguments", nargs=-1, metavar="[NAME [REV]]", shell_complete=offering(branches, revisions)
)
@common_options
@pass_context
def command(
    context: Context,
    delete: bool,
    move: bool,
    force: bool,
    remotes: bool,
    everything: bool,
    upstream: str | None,
    unset_upstream: bool,
    arguments: tuple[str, ...],
) -> None:
    """List branches, or make one at HEAD or at REV. The work tree stays as it is.

    \b
    Example:
      treering branch before-cleaning
      treering branch -d before-cleaning
      treering branch -v
    """
    if sum((delete, move, upstream is not None, unset_upstream)) > 1:
        raise InvalidInput("--delete, --move and setting the upstream exclude each other")
    if upstream is not None or unset_upstream:
        _follow(context, arguments, upstream)
    elif delete:
        _delete(context, arguments, force)
    elif move:
        _rename(context, arguments)
    elif arguments:
        if len(arguments) > 2:
            raise InvalidInput("branch takes a name and a revision")
        if force and arguments[0] == context.repository.history.branch():
            raise Conflict(f"'{arguments[0]}' is the branch we are on")
        make_ref(context, BRANCHES, arguments[0], (*arguments, "HEAD")[1], force=force)
    else:
        _list(context, local=not remotes or everything, remote=remotes or everything)


def _list(context: Context, *, local: bool, remote: bool) -> None:
    history = context.repository.history
    current = history.branch()
    found = []
    for ref, target in sorted(history.tips().items()):
        if (ref.startswith(BRANCHES) and local) or (ref.startswith(REMOTES) and remote):
            found.append((ref, target))
    if context.json:
        say_json([_json(context, ref, target, current) for ref, target in found])
        return
    context.page()
    if current is None and history.head() is not None and local:
        say(f"* (HEAD detached at {(history.head() or '')[:10]})")
    for ref, target in found:
        mark = "*" if ref == f"{BRANCHES}{current}" else " "
        name = ref.removeprefix(BRANCHES).removeprefix("refs/")
        say(f"{mark} {name}{_about(context, ref, target) if context.verbose else ''}")


def _about(context: Context, ref: str, target: str) -> str:
    """The commit of a branch, and how it and its upstream differ."""
    commit = context.repository.history.commit(target)
    follows = ""
    if ref.startswith(BRANCHES):
        follows = comparison(context.repository, ref.removeprefix(BRANCHES), target)
    return f" {commit.short} {follows}{commit.title}"


def _follow(context: Context, arguments: tuple[str, ...], upstream: str | None) -> None:
    """Set the upstream of a branch, or of the current one; None: it follows nothing."""
    if len(arguments) > 1:
        raise InvalidInput("one branch at a time")
    repository = context.repository
    branch = arguments[0] if arguments else repository.history.branch()
    if branch is None:
        raise InvalidInput("HEAD is detached: which branch?")
    if branch != repository.history.branch():
        existing(context, BRANCHES, branch)
    if upstream is not None:
        found = named(repository, upstream)
        set_upstream(repository, branch, found)
        if not context.quiet and not context.json:
            say(f"branch '{branch}' follows {found.name}")
    elif configured(repository, branch) is None:
        raise NotFound(f"branch '{branch}' has no upstream")
    else:
        unset_upstream_of(repository, branch)


def _json(context: Context, ref: str, target: str, current: str | None) -> Json:
    name = ref.removeprefix(BRANCHES)
    is_local = ref.startswith(BRANCHES)
    followed_by = followed(context.repository, name) if is_local else None
    return {
        "name": name.removeprefix(REMOTES),
        "ref": ref,
        "commit": target,
        "current": is_local and name == current,
        "upstream": followed_by.tracking if followed_by else None,
    }


def _delete(context: Context, names: tuple[str, ...], force: bool) -> None:
    if not names:
        raise InvalidInput("which branch? see: treering branch --help")
    history = context.repository.history
    for name in names:
        target = existing(context, BRANCHES, name)
        if name == history.branch():
            raise Conflict(f"'{name}' is the branch we are on")
        if not force and not _is_elsewhere(context, name, target):
            raise Conflict(
                f"the commits of '{name}' are on no other branch",
                hint=f"treering branch -d --force {name} deletes it all the same",
            )
        move_refs(context, [RefUpdate(BRANCHES + name, target, None)], f"branch: deleted {name}")
        if not context.quiet and not context.json:
            say(f"Deleted branch {name} (was {target[:10]})")
        unset_upstream_of(context.repository, name)


def _is_elsewhere(context: Context, name: str, target: str) -> bool:
    """Whether HEAD, or what the branch follows, has its commits."""
    history = context.repository.history
    upstream = followed(context.repository, name)
    kept = [history.head(), history.ref(upstream.tracking) if upstream else None]
    return any(other is not None and history.is_ancestor(target, other) for other in kept)


def _rename(context: Context, names: tuple[str, ...]) -> None:
    history = context.repository.history
    if not 1 <= len(names) <= 2:
        raise InvalidInput("--move takes the new name, or the old one and the new one")
    old, new = names if len(names) == 2 else (history.branch(), names[0])
    if old is None:
        raise InvalidInput("HEAD is detached: which branch is to be renamed?")
    check_name(new, "branch")
    if history.ref(BRANCHES + new) is not None:
        raise Conflict(f"a branch named '{new}' exists already")
    is_current = old == history.branch()
    if not (is_current and history.head() is None):
        target = existing(context, BRANCHES, old)
        move_refs(context, [RefUpdate(BRANCHES + new, None, target)], f"branch: was {old}")
    if (followed := configured(context.repository, old)) is not None:
        set_upstream(context.repository, new, followed)
        unset_upstream_of(context.repository, old)
    if is_current:
        set_head(history, BRANCHES + new)
    if history.ref(BRANCHES + old) is not None:
        target = existing(context, BRANCHES, old)
        move_refs(context, [RefUpdate(BRANCHES + old, target, None)], f"branch: now {new}")
