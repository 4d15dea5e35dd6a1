"""Damage to Git objects and refs: every command ends with a line that says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from damaging import (
    WAYS,
    Damage,
    cut,
    empty,
    flip,
    garbage,
    nothing_crashes,
    noticed,
    repository,
    rewrite,
)
from fault_trees import third_tree
from faulting import check_error, check_whole, commits
from running import run, succeed, treering


def loose(top: Path, revision: str) -> Path:
    found = run(["git", "rev-parse", revision], repository(top) / "history").out.strip()
    return repository(top) / "history" / "objects" / found[:2] / found[2:]


READERS = ["log", "status", "show", "push", "diff HEAD~1 HEAD", "switch -c other", "ls HEAD"]
READERS += ["commit -m new", "restore text", "log -- text"]


@pytest.mark.parametrize("what", ["HEAD", "HEAD^{tree}", "HEAD:root"])
@pytest.mark.parametrize("way", [cut, empty, garbage])
def test_a_damaged_history_object_ends_every_command(top: Path, what: str, way: Damage) -> None:
    """With 12 and a hint. libgit2 would wait for ever for the rest of one that is cut short."""
    succeed(top, "init", "--bare", str(top.parent / "remote"))
    succeed(top, "remote", "add", "origin", str(top.parent / "remote"))
    way(loose(top, what))
    for command in READERS:
        done = treering(top, *command.split())
        assert done.code == 12, (command, done)
        assert way is garbage or "is cut short" in done.err
        assert "hint: see what else is damaged with: treering fsck" in done.err
        check_error(done)


def test_a_damaged_history_object_of_the_remote_ends_a_push(top: Path) -> None:
    remote = top.parent / "remote"
    succeed(top, "init", "--bare", str(remote))
    succeed(top, "remote", "add", "origin", str(remote))
    succeed(top, "push")
    third_tree(top)
    succeed(top, "commit", "-m", "third")
    name = run(["git", "rev-parse", "main"], remote / "history").out.strip()
    cut(remote / "history" / "objects" / name[:2] / name[2:])
    done = treering(top, "push")
    assert done.code == 12 and "is cut short" in done.err, done
    check_error(done)


@pytest.mark.parametrize("name", ["HEAD", "refs/heads/main"])
@pytest.mark.parametrize("way", [*WAYS, lambda path: flip(path, 3)])
def test_a_damaged_ref_is_found(top: Path, name: str, way: Damage) -> None:
    path = repository(top) / "history" / name
    before = path.read_bytes()
    way(path)
    noticed(top, "HEAD", "main", "history")
    nothing_crashes(top)
    done = treering(top, "commit", "-m", "must not start anew")
    assert done.code in (11, 12), done
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(before)
    check_whole(top)
    assert len(commits(top)) == 2


def test_an_altered_parent_is_found(top: Path) -> None:
    """Integrity never rests on SHA-1 alone: a commit names the BLAKE3 of its parents."""
    history = repository(top) / "history"
    old, tip = loose(top, "HEAD~1"), loose(top, "HEAD")
    rewrite(old, tip.read_bytes())
    assert history.is_dir()
    noticed(top, "commit")
    nothing_crashes(top)
