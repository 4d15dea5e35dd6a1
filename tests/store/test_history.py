"""History: a real Git repository, that stock Git agrees with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3

from treering.store import git_objects as module
from treering.store.errors import Conflict, Corrupt, InvalidInput, NotFound
from treering.store.head import set_head
from treering.store.history import (
    Commit,
    History,
    HistoryObject,
    Person,
    RefUpdate,
    create_history,
    valid_branch,
)
from treering.store.ids import NodeId
from treering.store.locking import FileLock
from treering.store.root_record import Change, RootRecord

MAIN = "refs/heads/main"
JANE = Person("Jane Doe", "jane@example.org", 1_700_000_000, 120)


def git(path: Path, *arguments: str) -> str:
    command = ["git", f"--git-dir={path}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "history"
    create_history(folder)
    return folder


def open_history(path: Path) -> History:
    return History(path, lambda: FileLock(path.parent / "history.lock", "a change", wait=5))


@pytest.fixture
def history(path: Path) -> History:
    return open_history(path)


def commit(
    history: History, number: int, *parents: str, ref: str = MAIN, message: str | None = None
) -> Commit:
    record = RootRecord(
        NodeId(b"%032d" % number), change=Change(1, 2, 3, number), users={1000: "jane"}
    )
    who = JANE._replace(time=JANE.time + number)
    return history.create_commit(record, parents, who, who, message or f"commit {number}\n", ref)


def chain(history: History, count: int) -> list[Commit]:
    found: list[Commit] = []
    for number in range(count):
        found.append(commit(history, number, *(found[-1].id,) if found else ()))
    return found


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


def test_refs_move_together_or_not_at_all(history: History) -> None:
    first, second = chain(history, 2)
    updates = [
        RefUpdate("refs/heads/new", None, first.id),
        RefUpdate(MAIN, first.id, None),
    ]
    with pytest.raises(Conflict, match="rejected: main moved"):
        history.update_refs(updates, JANE, "push")
    assert history.refs() == {MAIN: second.id}
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


@pytest.mark.parametrize("count", [3, 40])
def test_objects_travel(history: History, tmp_path: Path, count: int) -> None:
    """A few as loose objects, from 64 on as one Git pack."""
    commits = chain(history, count)
    objects = list(history.export([made.id for made in commits]))
    assert [found.type for found in objects[:3]] == [3, 2, 1]
    target = tmp_path / "target"
    create_history(target)
    (tmp_path / "tmp").mkdir()
    other = open_history(target)
    other.add_objects(objects, tmp_path / "tmp")
    other.add_objects(objects[:1], tmp_path / "tmp")
    other.update_refs([RefUpdate(MAIN, None, commits[-1].id)], JANE, "fetch")
    assert [made.id for made in other.log([commits[-1].id])] == [c.id for c in commits[::-1]]
    packs = list((target / "objects" / "pack").glob("*.pack"))
    assert len(packs) == (1 if len(objects) >= module.BULK else 0)
    assert git(target, "fsck", "--strict", "--full") == ""
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("count", [1, 100])
def test_objects_of_unknown_type_are_corrupt(history: History, tmp_path: Path, count: int) -> None:
    objects = [HistoryObject(3, b"%d" % number) for number in range(count - 1)]
    with pytest.raises(Corrupt, match="unknown type 7"):
        history.add_objects([*objects, HistoryObject(7, b"")], tmp_path)


def test_loose_objects_are_packed(
    history: History, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOSE_IN_ONE_FOLDER", 1)
    commits: list[Commit] = []
    packs: list[Path] = []
    while len(packs) < 2:
        commits.append(commit(history, len(commits), *(commits[-1].id,) if commits else ()))
        packs = list((path / "objects" / "pack").glob("*.pack"))
        assert len(commits) < 1000
    loose = len(list((path / "objects").glob("[0-9a-f][0-9a-f]/*")))
    assert loose == 0, "the second pack was just made"
    for opened in (history, open_history(path)):
        assert list(opened.log([commits[-1].id])) == commits[::-1]
    assert git(path, "fsck", "--strict", "--full") == ""
    assert git(path, "rev-list", "--count", "main").strip() == str(len(commits))
    assert {entry.name for entry in (path / "objects").iterdir() if len(entry.name) > 2} == {
        "info",
        "pack",
    }


def test_killed_while_packing(
    history: History, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is there, and the next writer removes the half-made pack."""
    monkeypatch.setattr(module, "LOOSE_IN_ONE_FOLDER", 0)
    (path / "objects" / "17").mkdir()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_adopt_pack", _interrupt)
        commit(history, 1)
    left = list((path / "objects").glob("packing-*"))
    assert len(left) == 1 and list(left[0].glob("*.pack"))
    first = open_history(path).resolve("HEAD")
    monkeypatch.undo()
    commit(history, 2, first.id)
    assert not left[0].exists()
    assert git(path, "fsck", "--strict", "--full") == ""


def _interrupt(*_arguments: object) -> None:
    raise KeyboardInterrupt


CUT_SHORT = """
import sys
from pathlib import Path
from treering.store.errors import Corrupt
from treering.store.history import History, Person, RefUpdate
from treering.store.ids import NodeId
from treering.store.locking import FileLock
from treering.store.root_record import RootRecord

path, old, tip = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
jane = Person("Jane", "jane@example.org", 1)
record = RootRecord(NodeId(b"r" * 32))
calls = {
    "commit": lambda history: history.commit(tip),
    "HEAD": lambda history: history.resolve("HEAD"),
    "parents": lambda history: history.check_parents(history.commit(tip)),
    "export": lambda history: list(history.export([tip])),
    "main": lambda history: history.resolve("main"),
    "short": lambda history: history.resolve(tip[:8]),
    "tag": lambda history: history.resolve("v1"),
    "log": lambda history: list(history.log([tip])),
    "oldest": lambda history: history.oldest_first([tip]),
    "ancestor": lambda history: history.is_ancestor(old, tip),
    "ahead": lambda history: history.ahead_behind(old, tip),
    "write": lambda history: history.create_commit(record, [tip], jane, jane, "m", MAIN),
    "ref": lambda history: history.update_refs([RefUpdate("refs/heads/b", None, tip)], jane, "m"),
}
MAIN = "refs/heads/main"
for name, call in calls.items():
    history = History(path, lambda: FileLock(path.parent / "history.lock", "a change", wait=5))
    try:
        call(history)
    except Corrupt as error:
        assert "cut short" in error.message, error.message
        print(name)
"""


@pytest.mark.parametrize(
    ("what", "reads"),
    [
        ("main", {"commit", "HEAD", "parents", "export", "write", "ref"}),
        ("main^{tree}", {"commit", "HEAD", "parents", "export"}),
        ("main:root", {"commit", "HEAD", "parents", "export"}),
        ("main~1", {"parents"}),
        ("v1", set()),
    ],
)
def test_objects_cut_short_are_corrupt(
    history: History, path: Path, what: str, reads: set[str]
) -> None:
    """libgit2 waits for the rest of them for ever."""
    old, tip = chain(history, 2)
    git(path, "-c", "user.name=t", "-c", "user.email=t@t", "tag", "-a", "-m", "x", "v1", "main")
    name = git(path, "rev-parse", what).strip()
    loose = path / "objects" / name[:2] / name[2:]
    loose.chmod(0o600)
    loose.write_bytes(loose.read_bytes()[:20])
    command = [sys.executable, "-c", CUT_SHORT, str(path), old.id, tip.id]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    walks = {"main", "short", "tag", "log", "oldest", "ancestor", "ahead"}
    assert set(done.stdout.split()) == reads | walks


def test_packing_passes_over_objects_cut_short(
    history: History, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that is made is not called failed because of older damage."""
    first, second = chain(history, 2)
    loose = path / "objects" / first.id[:2] / first.id[2:]
    loose.chmod(0o600)
    loose.write_bytes(loose.read_bytes()[:20])
    monkeypatch.setattr(module, "LOOSE_IN_ONE_FOLDER", 0)
    (path / "objects" / "17").mkdir(exist_ok=True)
    assert commit(open_history(path), 3, second.id).parents == (second.id,)
    assert not list((path / "objects" / "pack").glob("*.pack"))


def test_damaged_history(history: History, path: Path) -> None:
    first, second = chain(history, 2)
    loose = path / "objects" / first.id[:2] / first.id[2:]
    loose.chmod(0o600)
    loose.write_bytes(b"not zlib")
    fresh = open_history(path)
    with pytest.raises(Corrupt):
        fresh.commit(first.id)
    with pytest.raises(Corrupt):
        list(fresh.log([second.id]))
    (path / "HEAD").unlink()
    with pytest.raises(Corrupt, match="cannot be opened"):
        open_history(path)
