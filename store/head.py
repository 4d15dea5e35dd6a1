"""HEAD: the branch, or detached the commit, that the work tree is on, and where it was before.

HEAD moves under the history's lock, durably, with the line in its reflog from which Git's `@{-1}`
and `switch -` tell where it was. Nothing here touches a work tree.
"""

from __future__ import annotations

import re
from typing import Final

import pygit2

from .errors import NotFound
from .git_objects import clean_name
from .history import BRANCHES, History, Person
from .repository import Repository

_MOVED: Final = re.compile(r"\tcheckout: moving from (\S+) to \S+$")


def set_head(history: History, target: str, who: Person | None = None) -> None:
    """Put HEAD on a branch (its full ref name, born or not) or, detached, on a commit id. libgit2
    fsyncs the file and the folder that names it."""
    with history.changing() as repo:
        if who is not None:
            repo.set_ident(clean_name(who.name), clean_name(who.email))
        repo.set_head(target if target.startswith("refs/") else pygit2.Oid(hex=target))


def current(history: History) -> str:
    """What HEAD is on: a full ref name, born or not, or a commit id."""
    branch = history.branch()
    return BRANCHES + branch if branch is not None else history.head() or ""


def previous(repository: Repository, steps: int = 1) -> str:
    """The branch or commit that HEAD was on `steps` switches ago, by its reflog. NotFound."""
    try:
        text = (repository.path / "history" / "logs" / "HEAD").read_text(errors="surrogateescape")
    except FileNotFoundError:
        text = ""
    found = [match[1] for line in text.splitlines() if (match := _MOVED.search(line))]
    if steps < 1 or len(found) < steps:
        raise NotFound("there was no other branch before this one")
    return found[-steps]
