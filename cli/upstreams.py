"""Upstreams: which remote branch a branch follows, kept as Git keeps it in `branch.NAME.*`, and
where push and pull go when none was set: the branch of the same name on the default remote.
"""

from __future__ import annotations

from typing import NamedTuple

from ..store.errors import InvalidInput, NotFound
from ..store.history import BRANCHES, REMOTES
from ..store.repository import Repository


class Upstream(NamedTuple):
    """A remote and the full name of a branch there."""

    remote: str
    merge: str

    @property
    def name(self) -> str:
        """As people write it: origin/main."""
        return self.tracking.removeprefix(REMOTES)

    @property
    def tracking(self) -> str:
        """The remote-tracking branch."""
        return f"{REMOTES}{self.remote}/{self.merge.removeprefix(BRANCHES)}"


def configured(repository: Repository, branch: str) -> Upstream | None:
    """What was set for a branch."""
    config = repository.config
    remote = config.get(f"branch.{branch}.remote")
    merge = config.get(f"branch.{branch}.merge")
    return Upstream(remote, merge) if remote and merge else None


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


def source(repository: Repository, branch: str, remote: str | None = None) -> Upstream:
    """What a branch pulls from: its upstream, else the branch of the same name on the default
    remote. `remote`: from there, whatever the upstream is. Raises as `default_remote`."""
    upstream = configured(repository, branch)
    if upstream is not None and remote in (None, upstream.remote):
        return upstream
    return Upstream(remote or default_remote(repository, branch), BRANCHES + branch)


def followed(repository: Repository, branch: str) -> Upstream | None:
    """What a branch is compared with: what it pulls from, if that is known here."""
    try:
        found = source(repository, branch)
    except (NotFound, InvalidInput):
        return None
    return found if repository.history.ref(found.tracking) else None


def set_upstream(repository: Repository, branch: str, upstream: Upstream) -> None:
    repository.config.set(f"branch.{branch}.remote", upstream.remote)
    repository.config.set(f"branch.{branch}.merge", upstream.merge)


def unset_upstream(repository: Repository, branch: str) -> None:
    for key in ("remote", "merge"):
        repository.config.unset(f"branch.{branch}.{key}")


def named(repository: Repository, text: str) -> Upstream:
    """The upstream that REMOTE/BRANCH means. NotFound where there is no such tracking branch."""
    remote, slash, branch = text.removeprefix(REMOTES).partition("/")
    if not slash or not branch:
        raise InvalidInput(f"'{text}' should be REMOTE/BRANCH")
    if remote not in repository.config.subsections("remote"):
        raise NotFound(f"there is no remote '{remote}'", hint="see: treering remote")
    found = Upstream(remote, BRANCHES + branch)
    if repository.history.ref(found.tracking) is None:
        raise NotFound(
            f"there is no branch '{branch}' on {remote}, as far as is known",
            hint=f"treering fetch {remote} looks again; treering push -u {remote} makes it",
        )
    return found


def comparison(repository: Repository, branch: str, target: str) -> str:
    """[origin/main: ahead 1, behind 2], with a space behind it; nothing without an upstream."""
    upstream = configured(repository, branch)
    if upstream is None:
        return ""
    name = upstream.name
    there = repository.history.ref(upstream.tracking)
    if there is None:
        return f"[{name}: gone] "
    ahead, behind = repository.history.ahead_behind(target, there)
    parts = [f"{word} {n}" for word, n in (("ahead", ahead), ("behind", behind)) if n]
    return f"[{name}: {', '.join(parts)}] " if parts else f"[{name}] "


def followers(repository: Repository, remote: str) -> list[str]:
    """The branches whose upstream is on a remote."""
    branches = repository.config.subsections("branch")
    return [one for one in branches if repository.config.get(f"branch.{one}.remote") == remote]
