"""treering remote: keep the list of remotes."""

from __future__ import annotations

import os

import click

from ...store.errors import Conflict, InvalidInput
from ...store.history import BRANCHES, REMOTES, RefUpdate, valid_branch
from ...store.repository import Repository
from ..context import Context, common_options, pass_context
from ..output import Json, say, say_json
from ..refs import move_refs
from ..upstreams import configured, followers, unset_upstream


@click.group("remote", invoke_without_command=True)
@common_options
@pass_context
@click.pass_context
def command(ctx: click.Context, context: Context) -> None:
    """Add, list, show, change, rename and remove remotes.

    \b
    Example:
      treering remote add mirror ../backup/photos
    """
    if ctx.invoked_subcommand is None:
        _list(context)


@command.command("add")
@click.argument("name")
@click.argument("url")
@common_options
@pass_context
def add(context: Context, name: str, url: str) -> None:
    """Add the remote NAME at URL: the path of a repository on this machine, or file:///PATH."""
    _check_name(context.repository, name)
    context.repository.config.set(f"remote.{name}.url", _absolute(context, url))


def _check_name(repository: Repository, name: str) -> None:
    """Errors for a name that no remote can have, or that one has."""
    if not valid_branch(name) or "." in name or "/" in name:
        raise InvalidInput(f"'{name}' cannot be the name of a remote")
    if repository.config.get(f"remote.{name}.url") is not None:
        raise Conflict(
            f"there is a remote '{name}' already", hint=f"treering remote set-url {name} URL"
        )


@command.command("list")
@common_options
@pass_context
def list_(context: Context) -> None:
    """List the remotes and their URLs."""
    _list(context)


@command.command("show")
@click.argument("name")
@common_options
@pass_context
def show(context: Context, name: str) -> None:
    """Show where the branches and tags of a remote are, as it says now, and what is known of them
    here: `tracked`, `new` (the next fetch brings it), or `stale` (fetch --prune forgets it)."""
    from ..replication import open_remote, remote_url

    repository = context.repository
    url = remote_url(repository, name)
    remote = open_remote(context, url)
    try:
        refs, description = remote.refs(), remote.describe()
    finally:
        remote.close()
    known = _known(repository, name)
    stale = {ref: commit for ref, commit in known.items() if ref not in refs}
    follows = {branch: configured(repository, branch) for branch in followers(repository, name)}
    if context.json:
        document: Json = {"name": name, "url": url, "head": description.head, "refs": refs}
        document["tracked"] = sorted(ref for ref in known if ref in refs)
        document["stale"] = sorted(stale)
        document["followers"] = {one: found.merge for one, found in follows.items() if found}
        say_json(document)
        return
    say(f"{name}  {url}")
    for ref, commit in sorted({**refs, **stale}.items()):
        notes = ["HEAD"] if ref == description.head else []
        if ref.startswith(BRANCHES):
            notes.append("stale" if ref in stale else "tracked" if ref in known else "new")
        say(f"  {commit[:10]}  {ref}" + (f"  ({', '.join(notes)})" if notes else ""))
    for branch, upstream in follows.items():
        if upstream is not None:
            say(f"  {branch} follows {upstream.merge.removeprefix(BRANCHES)}")


def _known(repository: Repository, name: str) -> dict[str, str]:
    """The remote's branches as they were when we last heard of them."""
    prefix = f"{REMOTES}{name}/"
    found = repository.history.refs(prefix)
    return {BRANCHES + ref.removeprefix(prefix): commit for ref, commit in found.items()}


@command.command("set-url")
@click.argument("name")
@click.argument("url")
@common_options
@pass_context
def set_url(context: Context, name: str, url: str) -> None:
    """Change the URL of a remote."""
    from ..replication import remote_url

    remote_url(context.repository, name)
    context.repository.config.set(f"remote.{name}.url", _absolute(context, url))


@command.command("remove")
@click.argument("name")
@common_options
@pass_context
def remove(context: Context, name: str) -> None:
    """Forget a remote, its remote-tracking branches and who follows them; nothing is done to the
    remote itself."""
    from ..replication import remote_url

    repository = context.repository
    remote_url(repository, name)
    prefix = f"{REMOTES}{name}/"
    gone = [RefUpdate(ref, old, None) for ref, old in repository.history.refs(prefix).items()]
    if gone:
        move_refs(context, gone, "remote remove")
    for branch in followers(repository, name):
        unset_upstream(repository, branch)
    for key in repository.config.items():
        if key.startswith(f"remote.{name}."):
            repository.config.unset(key)


@command.command("rename")
@click.argument("old")
@click.argument("new")
@common_options
@pass_context
def rename(context: Context, old: str, new: str) -> None:
    """Give a remote another name, and its remote-tracking branches with it."""
    from ..replication import remote_url

    repository = context.repository
    config, history = repository.config, repository.history
    remote_url(repository, old)
    _check_name(repository, new)
    moves = []
    for ref, held in history.refs(f"{REMOTES}{old}/").items():
        target = f"{REMOTES}{new}/{ref.removeprefix(f'{REMOTES}{old}/')}"
        moves += [RefUpdate(target, history.ref(target), held), RefUpdate(ref, held, None)]
    for key, value in config.items().items():
        if key.startswith(f"remote.{old}."):
            config.set(f"remote.{new}.{key.removeprefix(f'remote.{old}.')}", value)
            config.unset(key)
    for branch in followers(repository, old):
        config.set(f"branch.{branch}.remote", new)
    if moves:
        move_refs(context, moves, "remote rename")


def _list(context: Context) -> None:
    config = context.repository.config
    names = config.subsections("remote")
    found = {name: config.get(f"remote.{name}.url") or "" for name in names}
    if context.json:
        say_json([{"name": name, "url": url} for name, url in found.items()])
        return
    for name, url in found.items():
        say(f"{name}\t{url}")


def _absolute(context: Context, url: str) -> str:
    from ...store.remotes.url import LOCAL, parse, resolve

    if parse(url).carrier != LOCAL:
        return url
    return os.path.normpath(resolve(url, context.start)) if "://" not in url else url
