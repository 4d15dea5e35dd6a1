"""push, fetch and clone of several refs: what moves, what is refused and said, what is followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from live_trees import Work

Clone = Callable[..., Work]


@pytest.fixture
def bare(two: Work, tmp_path: Path) -> Work:
    """A bare repository, the remote `origin` of `two`; nothing is in it yet."""
    made = Work(two.home, tmp_path / "bare")
    two("init", "-q", "--bare", str(made.top))
    two("remote", "add", "origin", str(made.top))
    return made


@pytest.fixture
def clone(two: Work, bare: Work, tmp_path: Path) -> Clone:
    """Makes a clone of the bare repository."""

    def make(name: str, *options: str) -> Work:
        two("clone", "-q", *options, str(bare.top), str(tmp_path / name))
        return Work(two.home, tmp_path / name)

    return make


def refs(bare: Work) -> dict[str, str]:
    """The branches of a repository: name -> commit."""
    return {ref["name"]: ref["commit"] for ref in bare("branch", "--json").json}


def commit_id(work: Work, revision: str = "HEAD") -> str:
    (found,) = work("log", "--json", "-n", "1", revision).json
    return str(found["commit"])


# -- push ------------------------------------------------------------------------------------------


def test_several_refs_at_once(two: Work, bare: Work) -> None:
    two("branch", "side", "HEAD~1")
    two("tag", "light")
    two("tag", "-a", "heavy", "-m", "as delivered")
    done = two("push", "origin", "main", "side:other", "tag", "light")
    assert [line.split()[-1] for line in done.lines[1:]] == ["main", "other", "light"]
    assert refs(bare) == {"main": commit_id(two), "other": commit_id(two, "HEAD~1")}
    assert "heavy" in two("push", "--tags").out
    assert bare("tag").lines == ["heavy", "light"]
    (heavy, _) = bare("tag", "--json").json
    assert heavy["tag"]["message"] == "as delivered\n"
    assert two("push", "--all", "origin").out.count("new") == 1
    assert "up to date" in two("push", "--all", "origin").out


def test_delete(two: Work, bare: Work) -> None:
    two("branch", "side")
    two("push", "--all", "origin")
    done = two("push", "origin", ":side")
    assert "side (deleted)" in done.out
    assert done.lines[0] == "Moved 1 ref on origin; there was nothing to send"
    assert [ref["name"] for ref in two("branch", "-r", "--json").json] == ["origin/main"]
    assert "no 'side' on origin to delete" in two("push", "-d", "origin", "side", code=1).err
    assert "HEAD is on" in two("push", "-d", "origin", "main", code=11).err
    assert list(refs(bare)) == ["main"]


def test_a_push_that_is_refused_in_part_moves_nothing(two: Work, bare: Work) -> None:
    two("push")
    two("branch", "old", "HEAD~1")
    before = refs(bare)
    done = two("push", "origin", "old:main", "old:new", code=11)
    assert done.out == ""
    assert done.err.startswith("treering: rejected: main would lose commits")
    error = two("push", "--json", "origin", "old:main", code=11).error
    assert error["error"] == "Conflict" and "main" in error["message"]
    assert refs(bare) == before


def test_force_and_lease(two: Work, bare: Work, clone: Clone) -> None:
    two("push")
    newest = commit_id(two)
    two("branch", "old", "HEAD~1")
    assert "(forced update)" in two("push", "origin", "+old:main").out
    assert "main" in two("push", "origin", "main").out
    other = clone("other")
    other.write("b", "theirs")
    theirs = other.commit("theirs")["commit"]
    other("push")
    # We have not seen that commit: the lease does not hold.
    lease = "--force-with-lease"
    refused = two("push", lease, "origin", "old:main", code=11)
    assert f"rejected: main moved to {theirs[:10]}; fetch first" in refused.err
    assert two("push", f"{lease}=main:{newest}", "origin", "old:main", code=11).out == ""
    assert refs(bare)["main"] == theirs
    two("fetch")
    assert "(forced update)" in two("push", lease, "origin", "old:main").out
    assert refs(bare)["main"] == commit_id(two, "old")
    two("push", f"{lease}=fresh:", "origin", "old:fresh")
    two("tag", "t")
    assert "never seen here" in two("push", lease, "origin", "tag", "t", code=11).err


def test_dry_run(two: Work, bare: Work) -> None:
    planned = two("push", "--dry-run", "--json").json
    assert planned["dry_run"] and planned["objects"] and refs(bare) == {}
    assert two("branch", "-r").out == ""
    done = two("push", "--json").json
    assert {**done, "dry_run": True} == planned
    assert two("fetch", "--dry-run").out == "everything is up to date with origin\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["origin", "nowhere"], "no branch, tag or revision 'nowhere'"),
        (["origin", "main:a..b"], "'a..b' cannot be the name"),
        (["origin", "main:refs/remotes/x/y"], "cannot be the name"),
        (["origin", "a:b:c"], "no refspec"),
        (["origin", "main", "main~1:main"], "two refspecs move refs/heads/main"),
        (["origin", "main~1"], "where is it to go"),
        (["origin", "tag"], "which tag"),
        (["--delete", "origin"], "--delete takes the names"),
        (["--delete", "origin", "a:b"], "--delete takes the names"),
        (["--all", "origin", "main"], "--all takes no refs"),
        (["--force-with-lease=x", "origin", "main"], "'x' is not pushed"),
        (["nowhere"], "there is no remote 'nowhere'"),
    ],
)
def test_nonsense(two: Work, bare: Work, arguments: list[str], says: str) -> None:
    done = two("push", *arguments, code=(1, 2))
    assert says in done.err and done.out == ""
    assert refs(bare) == {}


def test_rules_of_the_other_side(two: Work, bare: Work, tmp_path: Path) -> None:
    two("push")
    two("branch", "side")
    two("push", "origin", "side")
    bare("config", "receive.denyDeletes", "true")
    bare("config", "receive.denyNonFastForwards", "true")
    assert "lets nobody delete side" in two("push", "origin", ":side", code=11).err
    assert "only go forwards" in two("push", "origin", "+main~1:main", code=11).err
    live = Work(two.home, tmp_path / "live")
    two("clone", "-q", str(bare.top), str(live.top))
    two("remote", "add", "live", str(live.top))
    two.write("c", "c")
    two.commit("three")
    assert "checked out" in two("push", "live", "main", code=11).err
    live("config", "receive.denyCurrentBranch", "false")
    two("push", "live", "main")
    assert commit_id(live) == commit_id(two)


def test_two_pushers_to_two_branches(two: Work, bare: Work, clone: Clone) -> None:
    two("push")
    other = clone("other")
    other("branch", "side")
    processes = [two.start("push", "origin", "main:mine"), other.start("push", "origin", "side")]
    for process in processes:
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, (out, err)
    assert set(refs(bare)) == {"main", "mine", "side"}


# -- fetch -----------------------------------------------------------------------------------------


def test_fetch_named_refs(two: Work, bare: Work, clone: Clone) -> None:
    two("push")
    other = clone("other")
    two("branch", "side", "HEAD~1")
    two("branch", "more", "HEAD~1")
    two("push", "--all", "origin")
    other("fetch", "origin", "side", "side:mine")
    names = [ref["name"] for ref in other("branch", "-a", "--json").json]
    assert "mine" in names and "origin/side" in names and "origin/more" not in names
    assert "checked out here" in other("fetch", "origin", "side:main", code=11).err
    assert "no 'nowhere' on origin" in other("fetch", "origin", "nowhere", code=1).err
    two("push", "origin", "+main:side")
    two("push", "origin", "+more:side")
    two("push", "--force", "origin", "more:main")
    assert "(forced update)" in other("fetch").out


def test_prune_and_all(two: Work, bare: Work, clone: Clone, tmp_path: Path) -> None:
    two("branch", "side")
    two("push", "--all", "origin")
    other = clone("other")
    other("remote", "add", "second", str(two.top))
    assert len(other("fetch", "--all", "--json").json) == 2
    two("push", "origin", ":side")
    assert other("fetch", "origin").out.startswith("everything is up to date")
    assert "origin/side (deleted)" in other("fetch", "--prune", "origin").out
    listed = [ref["name"] for ref in other("branch", "-r", "--json").json]
    assert listed == ["origin/main", "second/main", "second/side"]


def test_an_existing_tag_is_not_clobbered(two: Work, bare: Work, clone: Clone) -> None:
    two("tag", "v")
    two("push", "origin", "main", "tag", "v")
    other = clone("other")
    assert other("tag").lines == ["v"]
    other("tag", "--force", "v", "HEAD~1")
    mine = commit_id(other, "v")
    assert "would clobber existing tag" in other("fetch").err
    refused = other("fetch", "--tags", code=11)
    assert "v would clobber existing tag" in refused.err
    assert commit_id(other, "v") == mine
    assert "exists already" in other("push", "origin", "tag", "v", code=11).err
    other("fetch", "--tags", "--force")
    assert commit_id(other, "v") == commit_id(two, "v")


def test_clone_of_a_branch(two: Work, bare: Work, clone: Clone) -> None:
    two("branch", "side", "HEAD~1")
    two("push", "--all", "origin")
    other = clone("other", "--branch", "side")
    assert other("status", "--json").json["branch"] == "side"
    assert (other.top / "a").read_text() == "one"
    assert "no branch 'nope'" in two("clone", "-b", "nope", str(bare.top), "x", code=1).err
    assert not (two.top / "x").exists()


# -- upstreams and remotes -------------------------------------------------------------------------


def test_upstreams(two: Work, bare: Work) -> None:
    two("push", "-u")
    assert two("config", "branch.main.remote").out == "origin\n"
    two("branch", "side", "HEAD~1")
    two("push", "--all", "origin")
    two("branch", "-u", "origin/side")
    assert "[origin/side: ahead 1] two" in two("branch", "-v").out
    assert "ahead of 'origin/side' by 1 commit" in two("status").out
    refused = two("push", code=2)
    assert "has another name: origin/side" in refused.err
    assert "hint: treering push origin main:side" in refused.err
    two("branch", "-m", "renamed")
    assert two("config", "branch.renamed.merge").out == "refs/heads/side\n"
    two("push", "origin", "renamed:side", ":main", code=11)  # HEAD is on main there
    two("branch", "--unset-upstream")
    assert "has no upstream" in two("branch", "--unset-upstream", code=1).err
    assert "ahead" not in two("branch", "-v").out
    for wrong, code in (("origin/nope", 1), ("nope/main", 1), ("main", 2)):
        two("branch", "-u", wrong, code=code)


def test_remote_show_rename_and_remove(two: Work, bare: Work, clone: Clone) -> None:
    two("branch", "side")
    two("push", "--all", "origin")
    other = clone("other")
    two("push", "origin", ":side", "main:fresh")
    shown = other("remote", "show", "origin").out
    assert "refs/heads/main  (HEAD, tracked)" in shown and "main follows main" in shown
    assert "refs/heads/fresh  (new)" in shown and "refs/heads/side  (stale)" in shown
    assert other("remote", "show", "--json", "origin").json["stale"] == ["refs/heads/side"]
    other("remote", "rename", "origin", "store")
    listed = [ref["name"] for ref in other("branch", "-r", "--json").json]
    assert listed == ["store/main", "store/side"]
    assert other("push").out == "main: everything is up to date on store\n"
    other("fsck")
    other("remote", "remove", "store")
    assert other("branch", "-r").out == ""
    assert "is not set" in other("config", "branch.main.remote", code=1).err
    assert "there is no remote" in other("push", code=1).err
