"""Where HEAD, branches and tags are, and where they were, as libgit2 reads it. A file that it makes
no sense of is Corrupt: that is not the same as none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pygit2

from .errors import Corrupt
from .history_values import BRANCHES
from .loose_objects import SEE_FSCK


class RefReader:
    """Reads the refs of one open repository."""

    def __init__(self, repo: pygit2.Repository) -> None:
        self._repo = repo

    def head(self) -> str | None:
        """The id of the commit that HEAD names, or None when there is none yet. Corrupt when HEAD
        or its branch cannot be read: that is not the same as none."""
        try:
            if self._repo.head_is_unborn:
                return None
            return str(self._repo.head.target)
        except (pygit2.GitError, KeyError) as error:
            what = " ".join(str(error).split())
            raise Corrupt(f"HEAD or its branch is damaged: {what}", hint=SEE_FSCK) from error

    def branch(self) -> str | None:
        """The branch that HEAD is on, without refs/heads/, born or not; None when detached."""
        with readable_refs():
            target = self._repo.lookup_reference("HEAD").raw_target
        if isinstance(target, bytes):
            name = target.decode("utf-8", "surrogateescape")
            if not name.startswith(BRANCHES):
                raise Corrupt(f"HEAD is damaged: it names {name!r}, which is no branch")
            return name.removeprefix(BRANCHES)
        return None

    def refs(self, prefix: str = "refs/") -> dict[str, str]:
        """Full ref name -> the id it holds, for refs below `prefix`: what a move compares with
        and what travels. Of an annotated tag that is the tag object, not a commit: see `tips`."""
        found = {}
        with readable_refs():
            for name in self._repo.references:
                if name.startswith(prefix):
                    with suppress(KeyError):
                        found[name] = str(self._repo.references[name].resolve().target)
        return found

    def held(self, name: str) -> str | None:
        """The id that a full ref name holds, or None."""
        try:
            with readable_refs():
                return str(self._repo.lookup_reference(name).resolve().target)
        except (KeyError, ValueError):
            return None

    def moves(self, name: str) -> Iterator[tuple[str, str]]:
        """The ids that a ref was moved from and to, by its reflog, the last move first; nothing
        where there is no such ref."""
        with readable_refs(), suppress(KeyError):
            for entry in self._repo.lookup_reference(name).log():
                yield str(entry.oid_old), str(entry.oid_new)


@contextmanager
def readable_refs() -> Iterator[None]:
    """Files of refs that libgit2 cannot make sense of, as Corrupt."""
    try:
        yield
    except (KeyError, ValueError):  # a ref that is not there is a GitError, too
        raise
    except pygit2.GitError as error:
        raise Corrupt(f"history: a ref is damaged: {error}", hint=SEE_FSCK) from error
