"""What every command that speaks with a remote needs: which one, and the connection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..store.errors import InvalidInput, NotFound
from ..store.remotes.local import locate
from ..store.remotes.url import LOCAL, connect, parse, resolve
from .context import Context

if TYPE_CHECKING:
    from ..store.remotes.base import Remote
    from ..store.repository import Repository


def remote_url(repository: Repository, name: str) -> str:
    """The URL of a configured remote. NotFound with the ones there are."""
    url = repository.config.get(f"remote.{name}.url")
    if url is None:
        known = ", ".join(repository.config.subsections("remote"))
        hint = f"there are: {known}" if known else "add one with: treering remote add NAME URL"
        raise NotFound(f"there is no remote '{name}'", hint=hint)
    return url


def open_remote(context: Context, url: str) -> Remote:
    """The remote behind a URL; a relative path is taken from where we are."""
    found = resolve(url, context.start)
    if parse(found).carrier == LOCAL:
        place = locate(Path(parse(found).path))
        if context.opened is not None and place.repository.samefile(context.opened.path):
            raise InvalidInput(f"{url} is this very repository")
    return connect(found, notice=context.notice)
