"""The merge that is under way: which commits, what is still in dispute, and what was written.

A small file in the repository's `tracker/`, made durable once the work tree holds the merged tree
and before the restore log goes, and deleted after the merge is committed or given up. While it is
there, a commit is the merge's, and whatever would move the work tree elsewhere is refused.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal, NamedTuple

from ..store.errors import Conflict
from ..store.nodes import Entry
from ..store.quoting import quote_path
from ..store.repository import Repository
from ..store.state_file import StateFile
from .folder_chain import folders_below

NAMED: Final = 5
"""So many paths are spelled out in a message."""

What = Literal["changed", "added", "deleted-here", "deleted-there", "kind", "attributes"]


class Clash(NamedTuple):
    """A path that both sides changed, each in its own way. `beside` is where their version stands;
    None where they have none, or where only attributes of a folder are in dispute: then
    `attributes` is the folder as taking their side makes it."""

    path: bytes
    what: What
    beside: bytes | None = None
    attributes: Entry | None = None


class Merging(NamedTuple):
    """A merge of commit `theirs`, called `label`, into commit `ours`: the root that was written to
    the work tree, with what it added to the store (bytes), and the clashes that are not settled.
    `clean`: there were none. `equal` are paths that stood there, uncommitted, as the merge wants
    them: giving it up leaves them."""

    ours: str
    theirs: str
    label: str
    message: str
    root: bytes
    stored: int
    clean: bool
    clashes: tuple[Clash, ...] = ()
    equal: tuple[bytes, ...] = ()


_FILE: Final = StateFile(
    "merge",
    "state of the merge",
    Merging,
    "delete it: what is in the tree stays as it is, and the merge can be made again",
)


def write(repository: Repository, merging: Merging) -> None:
    """Note durably that a merge is under way, and how it stands."""
    _FILE.write(repository.path / "tracker", merging)


def end(repository: Repository) -> None:
    """No merge is under way any more."""
    _FILE.remove(repository.path / "tracker")


def pending(repository: Repository) -> Merging | None:
    """The merge that is under way. A crash may leave the file of one that is committed: that is
    none."""
    found = _FILE.read(repository.path / "tracker")
    return None if found is None or is_committed(repository, found) else found


def is_committed(repository: Repository, merging: Merging) -> bool:
    """Whether HEAD is the commit of this merge."""
    head = repository.history.head()
    if head is None or head == merging.ours:
        return False
    return repository.history.commit(head).parents == (merging.ours, merging.theirs)


def forget_committed(repository: Repository) -> None:
    """Delete what a crash has left of a merge after its commit: once HEAD moves on, that would
    count as under way again. The commit lock is held."""
    found = _FILE.read(repository.path / "tracker")
    if found is not None and is_committed(repository, found):
        end(repository)


def refuse_if_pending(repository: Repository) -> None:
    """Conflict while a merge is under way."""
    found = pending(repository)
    if found is not None:
        raise Conflict(
            f"a merge of '{found.label}' is not finished",
            hint="finish it with: treering merge --continue; or go back with: "
            "treering merge --abort",
        )


def clear(repository: Repository) -> None:
    """Make sure that no merge is in the way of moving the work tree: Conflict while one is under
    way. The commit lock is held."""
    forget_committed(repository)
    refuse_if_pending(repository)


def unsettled(merging: Merging, top: Path) -> list[Clash]:
    """The clashes that are still open: their version stands beside ours, or, where they have none,
    ours is still there. So are those where nobody can look."""
    return [clash for clash in merging.clashes if _is_there(top, clash)]


def _is_there(top: Path, clash: Clash) -> bool:
    path = clash.path if clash.beside is None else clash.beside
    folder, _, name = path.rpartition(b"/")
    try:
        with folders_below(top) as chain:
            os.stat(name or b".", dir_fd=chain.reach(folder), follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def refuse_if_unsettled(repository: Repository, merging: Merging, top: Path) -> None:
    """Conflict while a merge cannot be committed."""
    if repository.history.head() != merging.ours:
        raise Conflict(
            f"HEAD has moved since the merge of '{merging.label}' began",
            hint="give the merge up with: treering merge --abort",
        )
    left = unsettled(merging, top)
    if left:
        paths = ", ".join(quote_path(clash.path or b".") for clash in left[:NAMED])
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        raise Conflict(
            f"the merge of '{merging.label}' is not settled: {paths}{more}",
            hint="treering status says what to do about each",
        )
