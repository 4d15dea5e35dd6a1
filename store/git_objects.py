"""Git objects as files of the history: writing them, loose or many as one pack, and packing them.

Everything here that writes into the history runs under its lock (`store.history`), and raises
libgit2's and the system's own errors.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pygit2
from pygit2.enums import FileMode, ObjectType

from .durable import fsync_folder
from .errors import Corrupt
from .loose_objects import LooseObjects, is_cut_short, loose_paths

LOOSE_IN_ONE_FOLDER: Final = 12
"""Loose objects in one of 256 folders that stand for 1,000 commits of three objects each."""
BULK: Final = 64
"""From this many objects on, an import is written as one pack."""

Signed = tuple[str, str, int, int]
"""Name, email, seconds since the epoch, minutes east of UTC."""


def write_objects(
    repo: pygit2.Repository, objects: Sequence[tuple[int, bytes]]
) -> list[pygit2.Oid]:
    """Write objects, given as type and content. Corrupt for a type that Git does not have."""
    ids = []
    for kind, content in objects:
        if kind not in (1, 2, 3, 4):
            raise Corrupt(f"a history object of unknown type {kind}")
        ids.append(repo.write(ObjectType(kind), content))
    return ids


def write_commit(
    repo: pygit2.Repository,
    files: Mapping[str, bytes],
    parents: Sequence[str],
    author: Signed,
    committer: Signed,
    message: str,
) -> str:
    """Write a commit whose tree holds these files; its id. No ref moves."""
    builder, loose = repo.TreeBuilder(), LooseObjects(Path(repo.path) / "objects")
    for name, content in files.items():
        blob = repo.create_blob(content)
        loose.check(str(blob))  # libgit2 does not write what is there already, be it damaged
        builder.insert(name, blob, FileMode.BLOB)
    tree = builder.write()
    loose.check(str(tree))
    people = _signature(author), _signature(committer)
    return str(repo.create_commit(None, *people, message, tree, list(parents)))


def write_pack(objects: Sequence[tuple[int, bytes]], tmp: Path, target: Path) -> None:
    """Write objects as one pack into the objects folder `target`, through a throw-away repository
    without fsync: three synced files a commit would take minutes for a long history."""
    work = tmp / f"history-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        repo = pygit2.init_repository(work, bare=True)
        unsynced = pygit2.OdbBackendLoose(str(work / "objects"), 1, False, 0o700, 0o600)
        repo.odb.add_backend(unsynced, 100)
        builder = pygit2.PackBuilder(repo)
        for oid in set(write_objects(repo, objects)):
            builder.add(oid)
        (work / "out").mkdir()
        builder.write(str(work / "out"))
        _adopt_pack(work / "out", target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _adopt_pack(folder: Path, objects: Path) -> None:
    """Move a Git pack into the objects folder, durably, its index last."""
    target = objects / "pack"
    target.mkdir(exist_ok=True)
    for path in sorted(folder.iterdir(), key=lambda path: path.suffix == ".idx"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.rename(target / path.name)
    fsync_folder(target)


def pack_loose(repo: pygit2.Repository, objects: Path) -> None:
    """Pack loose objects about every 1,000 commits, as Git's own estimate counts them."""
    sample = objects / "17"
    if not sample.is_dir() or len(os.listdir(sample)) < LOOSE_IN_ONE_FOLDER:
        return
    loose = list(loose_paths(objects))
    if any(map(is_cut_short, loose)):
        return  # the commit that brought us here is made; whoever reads the damaged one says so
    builder = pygit2.PackBuilder(repo)
    for path in loose:
        builder.add(pygit2.Oid(hex=path.parent.name + path.name))
    out = objects / f"packing-{os.getpid()}"
    out.mkdir(exist_ok=True)
    builder.write(str(out))
    _adopt_pack(out, objects)
    out.rmdir()
    for path in loose:
        path.unlink(missing_ok=True)


def remove_leftovers(history: Path) -> None:
    """Delete lock files and half-made packs of killed processes: we hold the lock that all
    writers take."""
    for folder in (history, history / "refs", history / "objects" / "pack"):
        pattern = "**/*.lock" if folder.name == "refs" else "*.lock"
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    for path in (history / "objects").glob("packing-*"):
        shutil.rmtree(path, ignore_errors=True)


def _signature(person: Signed) -> pygit2.Signature:
    name, email, time, offset = person
    return pygit2.Signature(clean_name(name), clean_name(email), time, offset)


def clean_text(text: str) -> str:
    """What was typed, as text: bytes that are no UTF-8 become question marks."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def clean_name(text: str) -> str:
    """Git's identity lines hold no angle brackets and no line ends."""
    cleaned = "".join(letter for letter in clean_text(text) if letter not in "<>\n\0").strip()
    return cleaned or "unknown"
