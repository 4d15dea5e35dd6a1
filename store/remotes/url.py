"""Remote URLs: which carrier a URL asks for.

    /path, ./path, file:///path         a directory of this machine
    ssh://user@host/path, host:path     SSH
    http://..., https://...             a treering server
    s3://..., gs://..., az://...        an object store

As in Git, a colon before the first slash means a host; write `./a:b` for such a file.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

from ..errors import InvalidInput
from .base import Remote
from .local import open_local

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_CARRIERS: Final = {
    "ssh": "ssh",
    "http": "http",
    "https": "http",
    "s3": "object store",
    "gs": "object store",
    "az": "object store",
}
LOCAL: Final = "local"


class RemoteUrl(NamedTuple):
    """A parsed URL: `carrier` is "local", "ssh", "http" or "object store"; `path` is the folder of
    a local one, and the whole text of any other."""

    carrier: str
    path: str


def parse(url: str) -> RemoteUrl:
    """What a URL asks for. InvalidInput for one that makes no sense."""
    if not url or "\0" in url or "\n" in url:
        raise InvalidInput(f"not a remote URL: {url[:80]!r}")
    scheme = _SCHEME.match(url)
    if scheme is None:
        before, colon, _ = url.partition(":")
        if colon and "/" not in before:
            return RemoteUrl("ssh", url)
        return RemoteUrl(LOCAL, url)
    name = scheme[1].lower()
    if name == "file":
        return RemoteUrl(LOCAL, _file_path(url, url[scheme.end() :]))
    if name not in _CARRIERS:
        raise InvalidInput(f"unknown kind of remote '{name}://' in {url[:80]!r}")
    return RemoteUrl(_CARRIERS[name], url)


def _file_path(url: str, rest: str) -> str:
    path = unquote(rest.removeprefix("localhost"), errors="surrogateescape")
    if not path.startswith("/") or "\0" in path:
        raise InvalidInput(f"{url[:80]!r} should be file:///absolute/path")
    return path


def resolve(url: str, folder: Path) -> str:
    """The URL with a relative local path taken from `folder`; every other URL as it is."""
    parsed = parse(url)
    if parsed.carrier != LOCAL or _SCHEME.match(url):
        return url
    return str(folder / parsed.path)


def connect(
    url: str,
    *,
    threads: int | None = None,
    notice: Callable[[str], None] = lambda _message: None,
    clock: Callable[[], float] = time.time,
) -> Remote:
    """The remote behind a URL; a local path must be absolute (`resolve`). The caller closes it."""
    carrier, path = parse(url)
    if carrier != LOCAL:
        raise InvalidInput(
            f"{carrier} remotes are not in this version yet", hint="use a directory path"
        )
    if not Path(path).is_absolute():
        raise InvalidInput(f"a relative path of a remote: {path[:80]!r}")
    return open_local(Path(path), threads=threads, notice=notice, clock=clock)
