"""Two clones and a bare repository, changed, pushed and fetched at random, against dictionaries.

The commands run in this process through the command line's own entry point. The model knows each
commit as its tree and its parents, and each repository as a dictionary of refs; whether a push goes
through, and what a fetch moves, is worked out from these alone. A rule for another command takes a
clone, runs it with `Clone.run`, and brings its `refs`, `tree` and `branch` up to date.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

from clones import HEADS, LOST, TAGS, TRACKING, Clone, Made, Tree, files_of, refs_of, three_way
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import BLOCK

from treering.store.repository import Repository

both = st.sampled_from([0, 1])
branches = st.sampled_from(["main", "side", "top/ic"])
tags = st.sampled_from(["v1", "v2"])
files = st.sampled_from(["a", "b", "d/c"])
endings = st.sampled_from(["ours", "theirs", "abort"])
CONTENTS = [b"", b"x", b"y" * BLOCK, b"z" * (3 * BLOCK + 1)]
contents = st.integers(0, len(CONTENTS) - 1)


class TwoClones(RuleBasedStateMachine):
    @initialize(shared=st.booleans())
    def start(self, shared: bool) -> None:
        """Empty repositories, or all with one commit."""
        self.folder = Path(tempfile.mkdtemp(prefix="treering-test-"))
        environment = {"HOME": str(self.folder), "TREERING_AUTHOR_NAME": "T"}
        self.environment = patch.dict(os.environ, environment | {"TREERING_AUTHOR_EMAIL": "t@x"})
        self.environment.start()
        self.commits: dict[str, Made] = {}
        self.bare = self.folder / "bare"
        Repository.create(self.bare, BLOCK)
        self.there: dict[str, str] = {}
        self.clones = [Clone(self.folder / name) for name in ("one", "two")]
        for clone in self.clones:
            Clone(self.folder).run("clone", str(self.bare), str(clone.top))
        if shared:
            self.write_and_commit(0, "a", 1)
            self.push(0, "main", "main", "")
            self.pull(1, "abort")

    @rule(contents=st.tuples(contents, contents), then=endings)
    def part_and_meet(self, contents: tuple[int, int], then: str) -> None:
        """Both change something, one pushes, the other one pulls."""
        for which, content in enumerate(contents):
            self.write_and_commit(which, "a" if content else "b", content)
        branch = self.clones[0].branch
        self.push(0, branch, branch, "")
        self.pull(1, then)

    def teardown(self) -> None:
        if hasattr(self, "environment"):
            self.environment.stop()
            shutil.rmtree(self.folder)

    # -- the model ---------------------------------------------------------------------------------

    def ancestors(self, commit: str | None) -> set[str]:
        found: set[str] = set()
        waiting = [commit] if commit else []
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += self.commits[one].parents
        return found

    def goes_forwards(self, ref: str, old: str | None, new: str) -> bool:
        if old is None or old == new:
            return True
        return ref.startswith(HEADS) and old in self.ancestors(new)

    def common(self, one: str, other: str) -> list[str]:
        """The best common ancestors."""
        found = self.ancestors(one) & self.ancestors(other)
        return [c for c in found if not any(c in self.ancestors(d) - {d} for d in found)]

    def base(self, one: str, other: str) -> Tree | None:
        """The tree against which two commits are merged; None where the order in which several
        common ancestors are merged might matter."""
        bases = self.common(one, other)
        if len(bases) > 2:
            return None
        trees = [dict(self.commits[commit].tree) for commit in bases]
        if len(bases) < 2:
            return trees[0] if trees else {}
        below = self.base(*bases)
        return None if below is None else three_way(below, trees[0], trees[1], "neither")[0]

    # -- here --------------------------------------------------------------------------------------

    @rule(which=both, name=files, content=contents)
    def write(self, which: int, name: str, content: int) -> None:
        clone = self.clones[which]
        path = clone.top / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(CONTENTS[content])
        clone.tree[name] = CONTENTS[content]

    @rule(which=both, name=files)
    def delete_file(self, which: int, name: str) -> None:
        clone = self.clones[which]
        (clone.top / name).unlink(missing_ok=True)
        clone.tree.pop(name, None)

    @rule(which=both, name=files, content=contents)
    def write_and_commit(self, which: int, name: str, content: int) -> None:
        self.write(which, name, content)
        self.commit(which)

    @rule(which=both)
    def commit(self, which: int) -> None:
        clone = self.clones[which]
        made = clone.run("commit", "--allow-empty", "-m", f"{len(self.commits)}")
        parents = (clone.head,) if clone.head else ()
        assert tuple(made["parents"]) == parents
        self.commits[made["commit"]] = Made(tuple(sorted(clone.tree.items())), parents)
        clone.refs[HEADS + clone.branch] = made["commit"]

    @rule(which=both, name=branches)
    def make_branch(self, which: int, name: str) -> None:
        clone = self.clones[which]
        if clone.head is None or name == clone.branch:
            return
        clone.run("branch", "--force", name)
        clone.refs[HEADS + name] = clone.head

    @rule(which=both, name=tags, annotated=st.booleans())
    def make_tag(self, which: int, name: str, annotated: bool) -> None:
        clone = self.clones[which]
        if clone.head is None or TAGS + name in clone.refs:
            return
        more = ["-a", "-m", f"{name} of {which}"] if annotated else []
        clone.run("tag", *more, name)
        held = refs_of(clone.top / ".treering")[TAGS + name]
        if annotated:
            assert held != clone.head
            self.commits.setdefault(held, Made((), (clone.head,)))
        clone.refs[TAGS + name] = held

    @rule(which=both, number=st.integers(0, 2))
    def switch(self, which: int, number: int) -> None:
        """To any branch that there is, with nothing uncommitted."""
        self.tidy(which)
        clone = self.clones[which]
        names = sorted(ref.removeprefix(HEADS) for ref in clone.refs if ref.startswith(HEADS))
        if clone.head is None:
            return
        name = names[number % len(names)]
        wanted = clone.refs[HEADS + name]
        clone.run("switch", name)
        clone.branch, clone.tree = name, dict(self.commits[wanted].tree)
        assert files_of(clone.top) == clone.tree

    @rule(which=both, number=st.integers(0, 5), then=endings)
    def merge(self, which: int, number: int, then: str) -> None:
        """Of any branch that there is, with nothing uncommitted."""
        self.tidy(which)
        clone = self.clones[which]
        refs = sorted(ref for ref in clone.refs if ref.startswith((HEADS, TRACKING)))
        if not refs:
            return
        ref = refs[number % len(refs)]
        command = ["merge", "--allow-unrelated-histories", ref]
        self.merged(clone, clone.refs[ref], command, then)

    def tidy(self, which: int) -> None:
        """Commit what is not."""
        clone = self.clones[which]
        known = self.commits[clone.head].tree if clone.head else ()
        if tuple(sorted(clone.tree.items())) != known:
            self.commit(which)

    def merged(self, clone: Clone, theirs: str, command: list[str], then: str) -> None:
        """Run a command that merges a commit, and end the merge that is left if there is one."""
        head = clone.head
        if head is None or head in self.ancestors(theirs):
            clone.run(*command)
            self.arrived(clone, theirs)
        elif theirs in self.ancestors(head):
            clone.run(*command)
        elif not self.common(head, theirs) and "pull" in command:
            assert clone.run(*command, code=None) == LOST
        else:
            base = self.base(head, theirs)
            if base is not None:
                self.diverged(clone, base, theirs, command, then)

    def diverged(
        self, clone: Clone, base: Tree, theirs: str, command: list[str], then: str
    ) -> None:
        assert clone.head is not None
        other = dict(self.commits[theirs].tree)
        tree, clashes = three_way(base, clone.tree, other, then)
        event("merge with conflicts" if clashes else "merge without conflicts")
        assert clone.run(*command, code=None) == (LOST if clashes else 0)
        if clashes and then == "abort":
            clone.run("merge", "--abort")
            return
        if clashes:
            clone.run("merge", f"--{then}")
            clone.run("merge", "--continue")
        made = refs_of(clone.top / ".treering")[HEADS + clone.branch]
        self.commits[made] = Made(tuple(sorted(tree.items())), (clone.head, theirs))
        self.arrived(clone, made)

    def arrived(self, clone: Clone, commit: str) -> None:
        clone.refs[HEADS + clone.branch] = commit
        clone.tree = dict(self.commits[commit].tree)
        assert files_of(clone.top) == clone.tree

    # -- there -------------------------------------------------------------------------------------

    @rule(which=both, name=branches, to=branches, how=st.sampled_from(["", "+", "lease"]))
    def push(self, which: int, name: str, to: str, how: str) -> None:
        clone = self.clones[which]
        new, ref = clone.refs.get(HEADS + name), HEADS + to
        spec = f"{'+' if how == '+' else ''}{HEADS}{name}:{ref}"
        options = [f"--force-with-lease={ref}"] if how == "lease" else []
        ended = clone.run("push", *options, "origin", spec, code=None)
        old = self.there.get(ref)
        if new is None:
            assert ended == 1
        elif not self.may_move(clone, ref, new, how):
            assert ended == LOST
        else:
            assert ended == 0, (spec, old, new)
            self.there[ref] = clone.refs[TRACKING + to] = new

    def may_move(self, clone: Clone, ref: str, new: str, how: str) -> bool:
        old = self.there.get(ref)
        if how == "lease":
            seen = clone.refs.get(TRACKING + ref.removeprefix(HEADS))
            return seen is not None and seen == old
        return how == "+" or self.goes_forwards(ref, old, new)

    @rule(which=both, how=st.sampled_from(["--all", "--tags"]))
    def push_many(self, which: int, how: str) -> None:
        """All or nothing."""
        clone = self.clones[which]
        kind = HEADS if how == "--all" else TAGS
        wanted = {ref: held for ref, held in clone.refs.items() if ref.startswith(kind)}
        fine = all(self.goes_forwards(ref, self.there.get(ref), wanted[ref]) for ref in wanted)
        ended = clone.run("push", how, "origin", code=None)
        if not wanted:
            assert ended == 1
        elif not fine:
            assert ended == LOST
        else:
            assert ended == 0
            self.there.update(wanted)
            for ref, held in wanted.items():
                if kind == HEADS:
                    clone.refs[TRACKING + ref.removeprefix(HEADS)] = held

    @rule(which=both, name=branches)
    def delete_there(self, which: int, name: str) -> None:
        clone, ref = self.clones[which], HEADS + name
        ended = clone.run("push", "--delete", "origin", ref, code=None)
        if ref not in self.there:
            assert ended == 1
        elif name == "main":
            assert ended == LOST
        else:
            assert ended == 0
            del self.there[ref]
            clone.refs.pop(TRACKING + name, None)

    @rule(which=both, prune=st.booleans(), force=st.booleans())
    def fetch(self, which: int, prune: bool, force: bool) -> None:
        clone = self.clones[which]
        options = [name for name, on in (("--prune", prune), ("--force", force)) if on]
        clone.run("fetch", *options, "origin")
        if prune:
            gone = [ref for ref in clone.refs if ref.startswith(TRACKING)]
            for ref in gone:
                if HEADS + ref.removeprefix(TRACKING) not in self.there:
                    del clone.refs[ref]
        for ref, held in self.there.items():
            if ref.startswith(HEADS):
                clone.refs[TRACKING + ref.removeprefix(HEADS)] = held
            elif force or ref not in clone.refs:
                clone.refs[ref] = held

    @rule(which=both, then=endings)
    def pull(self, which: int, then: str) -> None:
        clone = self.clones[which]
        theirs = self.there.get(HEADS + clone.branch)
        self.tidy(which)
        if theirs is None:
            assert clone.run("pull", "--merge", "origin", code=None) == 1
            return
        for ref, held in self.there.items():
            tracking = ref.startswith(HEADS)
            clone.refs.setdefault(TRACKING + ref.removeprefix(HEADS) if tracking else ref, held)
            if tracking:
                clone.refs[TRACKING + ref.removeprefix(HEADS)] = held
        self.merged(clone, theirs, ["pull", "--merge", "origin"], then)

    # -- what must hold ----------------------------------------------------------------------------

    @invariant()
    def refs_are_those_of_the_model(self) -> None:
        if not hasattr(self, "environment"):
            return
        assert refs_of(self.bare) == self.there
        for clone in self.clones:
            assert refs_of(clone.top / ".treering") == clone.refs
            live = {name: (clone.top / name).read_bytes() for name in clone.tree}
            assert live == clone.tree

    @rule()
    def everything_is_whole(self) -> None:
        """Each repository passes fsck, and a fresh clone has every tree that the remote's refs
        lead to."""
        for top in (self.bare, *(clone.top for clone in self.clones)):
            assert Clone(top).run("fsck")["whole"]
        if HEADS + "main" not in self.there:
            return
        fresh = Clone(self.folder / "fresh")
        Clone(self.folder).run("clone", str(self.bare), str(fresh.top))
        wanted = dict(self.commits[self.there[HEADS + "main"]].tree)
        try:
            assert files_of(fresh.top) == wanted
        finally:
            shutil.rmtree(fresh.top)


TestTwoClones = TwoClones.TestCase
TestTwoClones.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)
