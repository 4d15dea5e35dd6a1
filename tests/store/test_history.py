"""History: a real Git repository, that stock Git agrees with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from blake3 import blake3
from histories import JANE, MAIN, chain, commit, git, open_history

from treering.store.errors import Conflict, Corrupt, InvalidInput, NotFound
from treering.store.head import set_head
from treering.store.history import Commit, History, Person, RefUpdate, valid_branch
from treering.store.ids import NodeId
from treering.store.root_record import Change, RootRecord


def test_nothing_yet(history: History) -> None:
    assert history.head() is None
    assert history.branch() == "main"
    assert history.refs() == {}
    assert history.ref(MAIN) is None
    assert history.reflog_ids(MAIN) == set()
    with pytest.raises(NotFound, match="no commits yet"):
        history.resolve("HEAD")


def test_commit_comes_back(history: History, path: Path) -> None:
    made = commit(history, 7, message="title\n\nbody \u00e9\n")
    assert open_history(path).commit(made.id) == made
    assert made.author == JANE._replace(time=JANE.time + 7)
    assert (made.title, made.message) == ("title", "title\n\nbody \u00e9\n")
    assert made.root == b"%032d" % 7
    assert made.record.change == Change(1, 2, 3, 7)
    assert made.short == made.id[:10]
    assert history.head() == history.ref(MAIN) == made.id
    assert history.has(made.id) and not history.has("0" * 39 + "1")


def test_parents_are_chained_by_blake3(history: History, path: Path) -> None:
    first, second = chain(history, 2)
    raw = subprocess.run(
        ["git", f"--git-dir={path}", "cat-file", "commit", first.id],
        check=True,
        capture_output=True,
    ).stdout
    assert second.record.parents == (blake3(raw).digest(),)
    history.check_parents(second)
    other = commit(history, 9, ref="refs/heads/other")
    forged = Commit(
        second.id, (other.id,), second.author, second.committer, second.message, second.record
    )
    with pytest.raises(Corrupt, match="was altered"):
        history.check_parents(forged)


def test_stock_git_agrees(history: History, path: Path) -> None:
    commits = chain(history, 5)
    assert git(path, "log", "--format=%H").split() == [made.id for made in commits[::-1]]
    assert git(path, "log", "-1", "--format=%an <%ae> %at %s").strip() == (
        f"Jane Doe <jane@example.org> {JANE.time + 4} commit 4"
    )
    assert git(path, "log", "-1", "--date=iso", "--format=%ad").strip().endswith("+0200")
    assert git(path, "ls-tree", "--name-only", "HEAD").split() == ["root"]
    blob = git(path, "show", "HEAD:root").splitlines()
    assert blob[0] == "root " + (b"%032d" % 4).hex()
    assert blob[2:] == ["change files 1 regions 2 bytes 3 stored 4", "uid 1000 jane"]
    assert git(path, "fsck", "--strict", "--full") == ""
    assert git(path, "reflog", "--format=%gs", "main").splitlines() == [
        *(f"commit: commit {number}" for number in (4, 3, 2, 1)),
        "commit (initial): commit 0",
    ]
    assert git(path, "config", "gc.auto").strip() == "0"


def test_log_and_order(history: History) -> None:
    commits = chain(history, 4)
    ids = [made.id for made in commits]
    assert [made.id for made in history.log([ids[3]])] == ids[::-1]
    assert [made.id for made in history.log([ids[3]], [ids[1]])] == [ids[3], ids[2]]
    assert history.oldest_first([ids[3]], [ids[0]]) == ids[1:]
    assert history.oldest_first([ids[3]], ["0" * 39 + "1"]) == ids
    assert history.is_ancestor(ids[0], ids[3]) and history.is_ancestor(ids[2], ids[2])
    assert not history.is_ancestor(ids[3], ids[0])
    assert not history.is_ancestor("0" * 39 + "1", ids[0])
    assert history.ahead_behind(ids[3], ids[1]) == (2, 0)
    assert history.ahead_behind(ids[0], ids[1]) == (0, 1)


def test_resolve(history: History, path: Path) -> None:
    commits = chain(history, 4)
    git(path, "-c", "user.name=t", "-c", "user.email=t@t", "tag", "-a", "-m", "x", "v1", "main~1")
    for revision, number in {
        "HEAD": 3,
        "main": 3,
        "HEAD~3": 0,
        "main^": 2,
        "main@{1}": 2,
        "v1": 2,
        commits[1].id: 1,
        commits[1].id[:10]: 1,
    }.items():
        assert history.resolve(revision) == commits[number]
    for revision in ("nothing", "HEAD~9", "", "a..b", "@{99", "0" * 40, ":", "\x00"):
        with pytest.raises((NotFound, InvalidInput)):
            history.resolve(revision)


def test_commit_of_something_else(history: History, path: Path) -> None:
    made = commit(history, 1)
    tree = git(path, "rev-parse", f"{made.id}^{{tree}}").strip()
    for name, error in {tree: NotFound, "0" * 39 + "1": NotFound, "no id": NotFound}.items():
        with pytest.raises(error):
            history.commit(name)
    foreign = ["-c", "user.name=t", "-c", "user.email=t@t", "commit-tree", "-m", "x"]
    empty = git(path, "hash-object", "-w", "-t", "tree", "/dev/null").strip()
    without_record = git(path, *foreign, empty).strip()
    one_parent_too_many = git(path, *foreign, tree, "-p", made.id).strip()
    for commit_id in (without_record, one_parent_too_many):
        with pytest.raises(Corrupt):
            history.commit(commit_id)


def test_reflog_ids(history: History) -> None:
    commits = chain(history, 3)
    assert history.reflog_ids(MAIN) == {made.id for made in commits}
    history.update_refs([RefUpdate(MAIN, commits[2].id, commits[0].id)], JANE, "reset")
    assert history.reflog_ids(MAIN) == {made.id for made in commits}


def test_ref_that_moved_is_a_conflict(history: History) -> None:
    first, second = chain(history, 2)
    with pytest.raises(Conflict, match="main moved to " + second.short):
        commit(history, 5, first.id)
    with pytest.raises(Conflict):
        commit(history, 6)
    assert history.ref(MAIN) == second.id


def test_refs_move_together_or_not_at_all(history: History, path: Path) -> None:
    first, second = chain(history, 2)
    updates = [
        RefUpdate("refs/heads/new", None, first.id),
        RefUpdate(MAIN, first.id, None),
    ]
    with pytest.raises(Conflict, match="rejected: main moved"):
        history.update_refs(updates, JANE, "push")
    assert history.refs() == {MAIN: second.id}
    # All were compared before any moved: nothing had to be taken back.
    assert not (path / "logs" / "refs" / "heads" / "new").exists()
    updates[1] = RefUpdate(MAIN, second.id, first.id)
    history.update_refs(updates, JANE, "push")
    assert history.refs() == {MAIN: first.id, "refs/heads/new": first.id}
    history.update_refs([RefUpdate("refs/heads/new", first.id, None)], JANE, "push")
    assert history.refs("refs/heads/") == {MAIN: first.id}
    assert history.refs("refs/tags/") == {}


@pytest.mark.parametrize(
    "name", ["HEAD.lock", "config.lock", "packed-refs.lock", "refs/heads/main.lock"]
)
def test_leftover_lock_files_are_removed(history: History, path: Path, name: str) -> None:
    first = commit(history, 1)
    (path / name).touch()
    second = commit(history, 2, first.id)
    assert history.head() == second.id
    assert not (path / name).exists()
    (path / name).touch()
    set_head(history, "refs/heads/other")
    assert history.branch() == "other"
    assert not list(path.rglob("*.lock"))


def test_branches(history: History) -> None:
    made = commit(history, 1)
    set_head(history, "refs/heads/feature/x")
    assert (history.branch(), history.head()) == ("feature/x", None)
    commit(history, 2, ref="refs/heads/feature/x")
    assert history.refs() == {
        MAIN: made.id,
        "refs/heads/feature/x": history.resolve("HEAD").id,
    }
    good = {"main": True, "a/b": True, "-x": False, "a..b": False, "a b": False, "": False}
    assert {name: valid_branch(name) for name in good} == good


def test_names_that_git_cannot_hold_are_cleaned(history: History, path: Path) -> None:
    who = Person("<Jane>\n", "\0", 5, 0)
    made = history.create_commit(RootRecord(NodeId(b"%032d" % 1)), (), who, who, "m", MAIN)
    assert made.author == Person("Jane", "unknown", 5, 0)
    assert git(path, "fsck", "--strict") == ""
