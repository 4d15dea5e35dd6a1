"""treering remote: keep the list of remotes."""

from __future__ import annotations

import os

import click

from ...store.errors import Conflict, InvalidInput
from ...store.history import REMOTES, RefUpdate, valid_branch
from ..context import Context, common_options, pass_context
from ..output import say, say_json


@click.group("remote", invoke_without_command=True)
@common_options
@pass_context
@click.pass_context
def command(ctx: click.Context, context: Context) -> None:
    """Add, list, show, change and remove remotes.

    \b
    Example:
      treering remote add backup /mnt/backup/photos
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
    config = context.repository.config
    if not valid_branch(name) or "." in name or "/" in name:
        raise InvalidInput(f"'{name}' cannot be the name of a remote")
    if config.get(f"remote.{name}.url") is not None:
        raise Conflict(
            f"there is a remote '{name}' already", hint=f"treering remote set-url {name} URL"
        )
    config.set(f"remote.{name}.url", _absolute(context, url))


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
    """Show where the branches of a remote are, as it says now."""
    from ..replication import open_remote, remote_url

    url = remote_url(context.repository, name)
    remote = open_remote(context, url)
    try:
        refs, description = remote.refs(), remote.describe()
    finally:
        remote.close()
    if context.json:
        say_json({"name": name, "url": url, "head": description.head, "refs": refs})
        return
    say(f"{name}  {url}")
    for ref, commit in sorted(refs.items()):
        say(f"  {commit[:10]}  {ref}{'  (HEAD)' if ref == description.head else ''}")


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
    """Forget a remote and its remote-tracking branches; nothing is done to the remote itself."""
    from ..replication import remote_url

    repository = context.repository
    remote_url(repository, name)
    prefix = f"{REMOTES}{name}/"
    gone = [RefUpdate(ref, old, None) for ref, old in repository.history.refs(prefix).items()]
    if gone:
        repository.history.update_refs(gone, context.person(hint=False), "remote remove")
        repository.mark_finalized(gone)
    for key in repository.config.items():
        if key.startswith(f"remote.{name}."):
            repository.config.unset(key)


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
