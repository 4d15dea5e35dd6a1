"""Random edits, commits and restores, against a model that is a plain dictionary a commit."""

from __future__ import annotations

import os
import random
import shutil
import stat
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from live_trees import Seen, fingerprint, touch
from support import BLOCK

from treering.store.history import Commit, Person
from treering.store.repository import Repository
from treering.store.trees import load_tree
from treering.tracker.restore import restore_in_place
from treering.tracker.restore_plan import Options
from treering.tracker.snapshot import Request, commit
from treering.tracker.status import StatusScan
from treering.tracker.work_tree import create_work_tree

WHO = Person("T", "t@example.org", 1)
Model = dict[bytes, Seen]
names = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "f", "f/a", "new\nline", "d/\udcff"])
sizes = st.sampled_from([0, 1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK, 20 * BLOCK + 3])


class History(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32))
    def start(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.folder = Path(tempfile.mkdtemp(prefix="treering-test-"))
        self.top = self.folder / "tree"
        self.top.mkdir()
        self.repository = Repository(create_work_tree(self.top, BLOCK, None), threads=2)
        self.commits: list[tuple[Commit, Model]] = []
        self.clock = 10**18

    def teardown(self) -> None:
        if hasattr(self, "repository"):
            self.repository.close()
            shutil.rmtree(self.folder)

    # -- edits -------------------------------------------------------------------------------------

    def place(self, name: str) -> Path | None:
        """Where to put a file: nothing there, and its folder made; or None."""
        path = self.top / name
        for folder in reversed(path.relative_to(self.top).parents[:-1]):
            where = self.top / folder
            if where.is_symlink() or (where.exists() and not where.is_dir()):
                return None
            where.mkdir(exist_ok=True)
        return None if path.is_dir() and not path.is_symlink() else path

    def regular(self, name: str) -> Path | None:
        path = self.top / name
        try:
            return path if stat.S_ISREG(path.lstat().st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            return None

    @rule(name=names, size=sizes)
    def write(self, name: str, size: int) -> None:
        if (path := self.place(name)) is not None:
            if path.is_symlink():
                path.unlink()
            path.write_bytes(self.random.randbytes(size))

    @rule(name=names, size=sizes, back=st.booleans())
    def overwrite_some(self, name: str, size: int, back: bool) -> None:
        """A few bytes in the middle; `back`: and the mtime as it was."""
        if (path := self.regular(name)) is None:
            return
        info = path.stat()
        if info.st_size:
            with path.open("r+b") as file:
                file.seek(size % info.st_size)
                file.write(self.random.randbytes(1))
                file.truncate(info.st_size)
        if back:
            touch(path, info.st_mtime_ns)

    @rule(name=names, size=sizes)
    def truncate(self, name: str, size: int) -> None:
        if (path := self.regular(name)) is not None:
            os.truncate(path, size)

    @rule(name=names)
    def append(self, name: str) -> None:
        if (path := self.regular(name)) is not None:
            with path.open("ab") as file:
                file.write(self.random.randbytes(300))

    @rule(name=names)
    def delete(self, name: str) -> None:
        path = self.top / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.parent.is_dir():
            path.unlink(missing_ok=True)

    @rule(old=names, new=names)
    def rename(self, old: str, new: str) -> None:
        target = self.place(new)
        if target is not None and os.path.lexists(self.top / old) and not (self.top / old).is_dir():
            os.replace(self.top / old, target)

    @rule(new=names)
    def rename_folder(self, new: str) -> None:
        target = self.place(new)
        free = target is not None and not os.path.lexists(target) and "d/" not in new
        if target is not None and free and (self.top / "d").is_dir():
            (self.top / "d").rename(target)

    @rule(old=names, new=names)
    def link(self, old: str, new: str) -> None:
        source, target = self.regular(old), self.place(new)
        if source is not None and target is not None and not os.path.lexists(target):
            os.link(source, target)

    @rule(name=names)
    def symlink(self, name: str) -> None:
        target = self.place(name)
        if target is not None and not os.path.lexists(target):
            target.symlink_to("d")

    @rule(name=names, mode=st.sampled_from([0o600, 0o644, 0o4755]))
    def chmod(self, name: str, mode: int) -> None:
        if (path := self.regular(name)) is not None:
            path.chmod(mode)

    @rule(name=names, when=st.integers(-(10**18), 10**18))
    def set_mtime(self, name: str, when: int) -> None:
        if os.path.lexists(self.top / name):
            touch(self.top / name, when)

    def root_from_scratch(self) -> bytes:
        """The root of the tree by a repository that has never seen it."""
        path = self.folder / "fresh"
        Repository.create(path, BLOCK)
        fresh = Repository(path, threads=2)
        try:
            request = Request("m\n", WHO, WHO, allow_empty=True)
            return commit(fresh, self.top, request).root
        finally:
            fresh.close()
            shutil.rmtree(path)

    # -- history -----------------------------------------------------------------------------------

    @rule()
    def commit(self) -> None:
        model = fingerprint(self.top)
        request = Request("m\n", WHO, WHO, allow_empty=True)
        made = commit(self.repository, self.top, request).commit
        assert made is not None
        for earlier, state in self.commits:
            assert (earlier.root == made.root) == (state == model)
        self.commits.append((made, model))
        assert self.root_from_scratch() == made.root
        assert list(StatusScan(self.repository, self.top).items()) == []

    @precondition(lambda self: self.commits)
    @rule(number=st.integers(0, 100))
    def restore(self, number: int) -> None:
        made, model = self.commits[number % len(self.commits)]
        tree = load_tree(self.repository.store, made.id, made.root)
        result = restore_in_place(self.repository, self.top, tree, Options(delete=True), force=True)
        assert not result.report.problems
        assert fingerprint(self.top) == model

    @precondition(lambda self: self.commits)
    @rule()
    def commit_right_after_restore(self) -> None:
        """What was just restored is the root it came from."""
        made, model = self.commits[0]
        tree = load_tree(self.repository.store, made.id, made.root)
        restore_in_place(self.repository, self.top, tree, Options(delete=True), force=True)
        request = Request("m\n", WHO, WHO, allow_empty=True)
        again = commit(self.repository, self.top, request).commit
        assert again is not None
        assert again.root == made.root
        self.commits.append((again, model))

    @invariant()
    def no_restore_is_pending(self) -> None:
        if hasattr(self, "repository"):
            assert not (self.repository.path / "tracker" / "restore").exists()


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
