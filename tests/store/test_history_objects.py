"""Git objects of the history: travelling, packed, cut short and damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from histories import JANE, MAIN, chain, commit, git, open_history

from treering.store import git_objects as module
from treering.store.errors import Corrupt
from treering.store.history import Commit, History, HistoryObject, RefUpdate, create_history


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
