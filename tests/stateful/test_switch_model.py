"""Random edits, commits, branches and switches in one work tree, against dictionaries: uncommitted
and ignored files are never lost."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import BLOCK

from treering.store.errors import Conflict
from treering.store.history import BRANCHES, Person, RefUpdate
from treering.store.repository import Repository
from treering.tracker.snapshot import Request, commit
from treering.tracker.switch import Goal, switch
from treering.tracker.work_tree import create_work_tree

WHO = Person("T", "t@example.org", 1)
Tree = dict[str, bytes]
names = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "f/a", "f/b", "n\nl"])
ignored = st.sampled_from(["k.log", "d/k.log", "f/k.log"])
contents = st.sampled_from([b"", b"1", b"2", b"3" * BLOCK * 3, b"3" * BLOCK * 2 + b"4" * BLOCK])


class Switching(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="treering-test-"))
        self.top = self.folder / "tree"
        self.top.mkdir()
        self.repository = Repository(create_work_tree(self.top, BLOCK, None), threads=2)
        self.work: Tree = {}
        self.heads: dict[str, Tree] = {}
        self.branch = "main"
        self.put(".treeringignore", b"*.log\n")
        self.commit()

    def teardown(self) -> None:
        if hasattr(self, "repository"):
            self.repository.close()
            shutil.rmtree(self.folder)

    @rule(name=names | ignored, content=contents)
    def put(self, name: str, content: bytes) -> None:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.work[name] = content

    @rule(name=names)
    def delete(self, name: str) -> None:
        if self.work.pop(name, None) is not None:
            (self.top / name).unlink()

    @rule()
    def commit(self) -> None:
        request = Request("c\n", WHO, WHO, allow_empty=True)
        assert commit(self.repository, self.top, request).commit is not None
        self.heads[self.branch] = {
            name: content for name, content in self.work.items() if not name.endswith(".log")
        }

    @rule(name=st.sampled_from(["x", "y", "z"]))
    def new_branch(self, name: str) -> None:
        history = self.repository.history
        if name not in self.heads:
            history.update_refs([RefUpdate(BRANCHES + name, None, history.head())], WHO, "new")
            self.heads[name] = dict(self.heads[self.branch])

    @rule(name=st.sampled_from(["main", "x", "y", "z"]), force=st.booleans())
    def switch_to(self, name: str, force: bool) -> None:
        if name not in self.heads:
            return
        old, new = self.heads[self.branch], self.heads[name]
        differing = [path for path in old.keys() | new.keys() if old.get(path) != new.get(path)]
        lost = [
            path
            for path in differing
            if self.work.get(path) not in (None, old.get(path), new.get(path))
        ]
        head = self.repository.history.ref(BRANCHES + name) or ""
        goal = Goal(BRANCHES + name, self.repository.history.commit(head), (), ())
        try:
            switch(self.repository, self.top, goal, WHO, force=force)
            assert force or not lost
        except Conflict:
            assert lost and not force
            return
        self.branch = name
        for path in differing:
            self.work.pop(path, None)
            if path in new:
                self.work[path] = new[path]

    @invariant()
    def the_tree_is_as_the_model_says(self) -> None:
        if hasattr(self, "work"):
            found = {
                str(path.relative_to(self.top)): path.read_bytes()
                for path in self.top.rglob("*")
                if path.is_file() and ".treering" not in path.parts
            }
            assert found == self.work


Switching.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
test_switching = Switching.TestCase
