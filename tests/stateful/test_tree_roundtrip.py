"""Promise 7 for random trees: whatever stands on disk survives commit and restore."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from live_trees import fingerprint, touch
from support import BLOCK

from treering.store.history import Person
from treering.store.repository import Repository
from treering.store.trees import load_tree
from treering.tracker.restore import restore_elsewhere
from treering.tracker.restore_plan import Options
from treering.tracker.snapshot import Outcome, Request, commit
from treering.tracker.work_tree import create_work_tree

WHO = Person("T", "t@example.org", 1)


def commit_tree(top: Path, repository: Repository) -> Outcome:
    return commit(repository, top, Request("m\n", WHO, WHO, allow_empty=True))


names = (
    (st.binary(min_size=1, max_size=8) | st.binary(min_size=250, max_size=255)).map(
        # Mapped, not filtered: of 250 random bytes one is nearly always a slash or NUL.
        lambda name: name.replace(b"/", b"_").replace(b"\0", b"0")
    )
    | st.sampled_from([b"a", b"b", b"c", b"-", b"\n", b"\xff", b".x"])
).filter(lambda name: name not in (b".", b".."))
modes = st.sampled_from([0o644, 0o600, 0o4755, 0o1777, 0o000, 0o2750])
times = st.integers(-(2**31) * 10**9, 2**33 * 10**9)
long_data = st.integers(1, 2 * BLOCK).map(lambda length: b"\1" * length)
pieces = st.lists(
    st.tuples(st.integers(0, 8 * BLOCK), st.binary(max_size=40) | long_data),
    max_size=3,
)


@dataclass
class Thing:
    """One name of a random tree, and how to make it."""

    kind: str
    mode: int
    mtime_ns: int
    size: int = 0
    data: list[tuple[int, bytes]] = field(default_factory=list)
    xattrs: dict[str, bytes] = field(default_factory=dict)
    below: dict[bytes, Thing] = field(default_factory=dict)


xattrs = st.dictionaries(
    st.sampled_from(["user.a", "user.b\u00e9", "trusted.c"]), st.binary(max_size=20), max_size=2
)
leaves = st.builds(
    Thing,
    st.sampled_from(["file", "file", "file", "symlink", "fifo", "device", "link"]),
    modes,
    times,
    st.integers(0, 9 * BLOCK),
    pieces,
    xattrs,
)
things = st.recursive(
    leaves,
    lambda inner: st.builds(
        Thing,
        st.just("folder"),
        modes,
        times,
        xattrs=xattrs,
        below=st.dictionaries(names, inner, max_size=5),
    ),
    max_leaves=12,
)


def make(path: bytes, thing: Thing, made: list[bytes]) -> None:
    """Put a thing on disk. A "link" is another name of some file made before."""
    if thing.kind == "link" and made:
        os.link(made[thing.size % len(made)], path, follow_symlinks=False)
        return
    if thing.kind == "folder":
        os.mkdir(path)
        for name, inner in thing.below.items():
            make(path + b"/" + name, inner, made)
    elif thing.kind == "symlink":
        os.symlink(b"to \xff" + b"x" * (thing.size % 4000), path)
    elif thing.kind == "fifo":
        os.mkfifo(path)
    elif thing.kind == "device":
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(thing.size % 200, 7))
    else:
        with open(path, "wb") as file:
            for offset, data in thing.data:
                file.seek(offset)
                file.write(data)
            file.truncate(thing.size)
    if thing.kind != "folder":
        made.append(path)
    if thing.kind != "symlink":
        os.chmod(path, thing.mode)
        if thing.kind in ("file", "folder"):
            for attribute, value in thing.xattrs.items():
                os.setxattr(path, attribute, value)
    os.utime(path, ns=(0, thing.mtime_ns), follow_symlinks=False)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(names.filter(lambda n: n.lower() != b".treering"), things, max_size=5))
def test_random_trees_survive(tree: dict[bytes, Thing]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="treering-test-"))
    try:
        top = folder / "tree"
        top.mkdir()
        made: list[bytes] = []
        for name, thing in tree.items():
            make(os.fsencode(top) + b"/" + name, thing, made)
        repository = Repository(create_work_tree(top, BLOCK, None), threads=2)
        touch(top, 12345)
        before = fingerprint(top)
        first = commit_tree(top, repository)
        assert not first.report.problems
        assert fingerprint(top) == before
        assert commit_tree(top, repository).root == first.root
        assert first.commit is not None
        target = folder / "restored"
        stored = load_tree(repository.store, first.commit.id, first.root)
        result = restore_elsewhere(repository, target, stored, Options())
        repository.close()
        assert not result.report.problems
        assert fingerprint(target) == before
        # The copy, with other inodes in another order, is the same root.
        again = Repository(create_work_tree(target, BLOCK, None), threads=2)
        touch(target, 12345)
        assert commit_tree(target, again).root == first.root
        again.close()
    finally:
        shutil.rmtree(folder)
