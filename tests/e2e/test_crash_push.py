"""A push, and what the receiving repository does by itself at its end, killed or refused by the
disk at any system call that changes something: the remote is whole, at its old commits or the new
ones, and the next push goes through."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conformance.sample import records, send_history
from fault_trees import read_tree
from faulting import (
    Point,
    check_end,
    check_whole,
    commits,
    copy,
    fault_each,
    faults,
    inject,
    repoint,
)
from running import run, succeed

from treering.store.remotes.local import open_local
from treering.store.repository import Repository


def push_at(what: str, point: Point, folder: Path) -> None:
    top, remote = folder / "tree", folder / "remote"
    repoint(folder)
    new, *old = commits(top)
    assert commits(remote) == old
    done = inject(point, what, folder, ["push"], top)
    check_end(what, done, folder)
    there = commits(remote)
    assert there in (old, [new, *old])
    assert done.code != 0 or there == [new, *old]
    check_whole(remote)
    check_whole(top)
    succeed(top, "push")
    assert commits(remote) == [new, *old]
    check_whole(remote)
    succeed(folder, "clone", "remote", "copy")
    assert read_tree(folder / "copy") == read_tree(top)


@faults(4, 2)
def test_a_push(with_remote: Path, tmp_path: Path, what: str, count: int) -> None:
    fault_each(with_remote, ["push"], what, count, tmp_path, push_at)


SEVERAL = ["push", "origin", "main", "side:new", "+side:old", ":gone"]


@pytest.fixture(scope="module")
def with_branches(with_remote: Path) -> Path:
    """A case whose next push makes, forces, deletes and forwards branches of the remote."""
    folder = with_remote.with_name("branches")
    copy(with_remote, folder)
    repoint(folder)
    top = folder / "tree"
    succeed(top, "branch", "side", "HEAD~2")
    succeed(top, "push", "origin", "HEAD~1:old", "HEAD~1:gone")
    return folder


def branches(remote: Path) -> dict[str, str]:
    listed = succeed(remote, "branch", "--json").json
    return {ref["name"]: ref["commit"] for ref in listed}


def push_of_several_at(what: str, point: Point, folder: Path) -> None:
    top, remote = folder / "tree", folder / "remote"
    repoint(folder)
    new, middle, first = commits(top)
    before = {"main": middle, "old": middle, "gone": middle}
    after = {"main": new, "new": first, "old": first}
    assert branches(remote) == before
    done = inject(point, what, folder, SEVERAL, top)
    check_end(what, done, folder)
    # Whoever asks the remote for its refs finds all of them moved, or none.
    shown = succeed(top, "remote", "show", "origin", "--json").json["refs"]
    there = {name.removeprefix("refs/heads/"): commit for name, commit in shown.items()}
    assert there in (before, after)
    assert done.code != 0 or there == after
    check_whole(remote)
    check_whole(top)
    succeed(top, *(SEVERAL if there == before else SEVERAL[:-1]))
    assert branches(remote) == after
    check_whole(remote)


@faults(3, 1)
def test_a_push_of_several_refs_moves_all_or_none(
    with_branches: Path, tmp_path: Path, what: str, count: int
) -> None:
    """At the points where the remote's history changes: others are those of any push."""
    below = "remote/history/"
    fault_each(with_branches, SEVERAL, what, count, tmp_path, push_of_several_at, below=below)


# -- finalize by itself --------------------------------------------------------------------------

CHILD = """
import os, sys
from pathlib import Path
from treering.store.errors import TreeringError
from treering.store.history import Person, RefUpdate
from treering.store.remotes.local import open_local
remote = open_local(Path(sys.argv[1]).absolute())
update = RefUpdate("refs/heads/main", *sys.argv[2:])
try:
    sys.exit(bool(remote.finalize([update], Person("Ann", "ann@example.org", 5, 0))))
except TreeringError as error:
    sys.exit(f"treering: {error}")
finally:
    remote.close()
"""


@pytest.fixture(scope="module")
def arrived(with_remote: Path) -> Path:
    """A case whose remote has all that is new: only its refs are still to be moved."""
    folder = with_remote.with_name("arrived")
    copy(with_remote, folder)
    source = Repository(folder / "tree" / ".treering")
    remote = open_local(folder / "remote")
    tip = source.history.head()
    assert tip is not None
    remote.store(records(source))
    send_history(source, remote, tip)
    remote.close()
    source.close()
    return folder


def finalize(folder: Path) -> list[str]:
    new, old, *_ = commits(folder / "tree")
    return [sys.executable, "-c", CHILD, "../remote", old, new]


def finalize_at(what: str, point: Point, folder: Path) -> None:
    top, remote = folder / "tree", folder / "remote"
    new, *old = commits(top)
    assert commits(remote) == old
    done = inject(point, what, folder, finalize(folder), top)
    check_end(what, done, folder)
    there = commits(remote)
    assert there in (old, [new, *old])
    assert done.code != 0 or there == [new, *old]
    check_whole(remote)
    if there == old:
        assert run(finalize(folder), top).code == 0
    repoint(folder)
    succeed(top, "push")
    assert commits(remote) == [new, *old]
    check_whole(remote)


@faults(3, 1)
def test_finalize(arrived: Path, tmp_path: Path, what: str, count: int) -> None:
    fault_each(arrived, finalize(arrived), what, count, tmp_path, finalize_at)
