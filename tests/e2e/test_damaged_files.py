"""Every file of a repository, damaged in every way: found and named by `fsck --read-data`, never
taken for right by a command that meets it, and healed where the content is at hand.

The files are those of a real repository. Each must be of one of the kinds below: whoever adds a new
kind of file says here what becomes of it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from damaging import cut, flip, remove, rewrite
from fault_trees import second_tree, third_tree, write
from faulting import COMMIT, check_error, check_whole, first_commit, sample, side_by_side
from running import Done, run, succeed, treering

from treering.store.repository import Repository
from treering.tracker.unrestored import Note, Unrestored


class Kind(NamedTuple):
    """Files whose path fits `path`. `found`: fsck says so, naming one of `names`; by nature it need
    not see all that is done to a file without a sum, which is then harmless: readers print what
    they did before. `heals`: what brings a file back, or takes what stands for it."""

    path: str
    found: bool | None
    names: tuple[str, ...] = ()
    heals: str = ""
    silent: tuple[str, ...] = ()
    """Ways of damage that a reader cannot know of."""


KINDS = (
    Kind(r"tree/.treering/repo", True, ("repository", "repo ")),
    Kind(r"kept/format", True, ("format", "repository")),
    Kind(r"kept/history/HEAD", True, ("HEAD", "history")),
    # Without its file a branch is where packed-refs has it.
    Kind(r"kept/history/refs/heads/\w+", True, ("refs/heads",), silent=("removed",)),
    Kind(r"kept/history/packed-refs", True, ("history", "refs/"), silent=("removed",)),
    Kind(r"kept/history/objects/../\w+", True, ("history", "commit", "tag")),
    Kind(r"kept/history/objects/pack/.*\.(pack|idx)", True, ("history", "commit", "refs/")),
    Kind(r"kept/packs/.*\.pack", True, ("pack",), heals="rebuild"),
    Kind(r"kept/tracker/merge", True, ("merge",), silent=("removed",)),
    Kind(r"kept/marks/\w+", None, ("marks",)),
    Kind(r"kept/index/.*", None, ("index", "pack", "lacks"), heals="rebuild"),
    Kind(r"kept/catalog.db.*", None, ("catalog",), heals="delete"),
    Kind(r"kept/config", None, ("config",)),
    Kind(r"kept/history/logs/.*", None, ("history",)),
    Kind(r"kept/history/config", None, ("history",)),
    Kind(r"kept/history/(description|info/.*)", False),
    Kind(r"kept/history/objects/(info/packs|pack/.*\.(bitmap|rev))", False),
    Kind(r"kept/tmp/\w+\.lock", False),
)


def flipped(path: Path) -> None:
    """One bit somewhere."""
    size = path.stat().st_size
    if size:
        flip(path, random.Random(size).randrange(size))


def doubled(path: Path) -> None:
    rewrite(path, path.read_bytes() * 2)


def zeroed(path: Path) -> None:
    rewrite(path, bytes(path.stat().st_size))


WAYS: dict[str, Callable[[Path], None]] = {
    "flipped": flipped,
    "cut": cut,
    "doubled": doubled,
    "zeroed": zeroed,
    "removed": remove,
}

READERS = ["log --json HEAD", "ls -R HEAD", "cat HEAD:large", "cat HEAD~1:text", "cat v0:text"]
READERS += ["status", "blame large"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tree` and its repository `kept`, with a merge under way, history loose and packed, tags."""
    folder = tmp_path_factory.mktemp("damage") / "case"
    top, kept = folder / "tree", folder / "kept"
    first_commit(top, "--repo", str(kept))
    second_tree(top)
    succeed(top, *COMMIT)
    succeed(top, "tag", "-a", "-m", "words", "v1")
    succeed(top, "tag", "v0", "HEAD~1")
    for command in (["repack", "-adq"], ["pack-refs", "--all"]):
        assert run(["git", *command], kept / "history").code == 0
    succeed(top, "switch", "-c", "night")
    write(top / "third", b"of the night")
    succeed(top, "commit", "-m", "night")
    succeed(top, "switch", "main")
    third_tree(top)
    succeed(top, "commit", "-m", "third")
    assert treering(top, "merge", "night").code == 11
    repository = Repository(kept)
    Unrestored(repository).record([(b"nowhere", Note(0, 0, 1, 1))])
    repository.close()
    return folder


def files(folder: Path) -> dict[Path, Kind]:
    """All files of the repository, relative, with their kind: exactly one."""
    found = {}
    for path in sorted([*folder.glob("kept/**/*"), *folder.glob("tree/.treering/**/*")]):
        if path.is_file():
            name = path.relative_to(folder)
            fitting = [kind for kind in KINDS if re.fullmatch(kind.path, str(name))]
            assert len(fitting) == 1, f"{name} is a kind of file that is not listed: {fitting}"
            found[name] = fitting[0]
    return found


def repointed(folder: Path) -> None:
    """After copying a case: its tree has its own repository."""
    (folder / "tree/.treering/repo").write_text(f"{folder}/kept\n")
    config = folder / "kept/config"
    config.write_text(re.sub(r"worktree = .*", f"worktree = {folder}/tree", config.read_text()))


def look(top: Path) -> dict[str, Done]:
    return {command: treering(top, *command.split()) for command in READERS}


def damaged(way: str, before: dict[str, Done], name: Path, kind: Kind, folder: Path) -> None:
    repointed(folder)
    top, path = folder / "tree", folder / name
    good = path.read_bytes()
    WAYS[way](path)
    if path.exists() and path.read_bytes() == good:
        return
    if way not in kind.silent:
        check_readers(kind, before, folder)
    found = treering(top, "fsck", "--read-data")
    assert "Traceback" not in found.err, found
    codes = {True: (10, 12, 13), False: (0,), None: (0, 12)}[kind.found]
    assert found.code in codes or (way in kind.silent and kind.path.endswith("merge")), found
    if found.code:
        assert any(one in found.out + found.err for one in kind.names), found
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(good)
    if kind.heals == "rebuild":
        succeed(top, "fsck", "--rebuild-index")
    if kind.heals == "delete":
        without_catalog(folder)
    check_whole(top)
    assert not ending_otherwise(before, top)


def check_readers(kind: Kind, before: dict[str, Done], folder: Path) -> None:
    """What is no part of the truth does no harm, once it is made anew."""
    top = folder / "tree"
    met = ending_otherwise(before, top)
    if kind.found or not met:
        return
    if kind.heals == "rebuild":
        succeed(top, "fsck", "--rebuild-index")
    if kind.heals == "delete":
        without_catalog(folder)
    assert kind.path in CONFIGS or not ending_otherwise(before, top), met


CONFIGS = (r"kept/config", r"kept/history/config")


def without_catalog(folder: Path) -> None:
    for path in folder.glob("kept/catalog.db*"):
        path.unlink()


def ending_otherwise(before: dict[str, Done], top: Path) -> list[str]:
    """The readers that do not print what they did before: they all say why."""
    found = []
    for command, done in look(top).items():
        if (done.out, done.code) != (before[command].out, before[command].code):
            assert done.code, (command, before[command], done)
            if "--json" not in command:
                check_error(done)
            found.append(command)
    return found


EVERY = pytest.param(0, marks=[pytest.mark.long, pytest.mark.timeout(7200)], id="every")


@pytest.mark.parametrize("count", [pytest.param(4, id="some"), EVERY])
@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_file(whole: Path, tmp_path: Path, way: str, count: int) -> None:
    before = look(whole / "tree")
    found = files(whole)

    def case(item: tuple[Path, Kind], folder: Path) -> None:
        damaged(way, before, *item, folder)

    chosen = sample(list(found.items()), count)
    side_by_side(chosen, whole, tmp_path / "cases", case)
