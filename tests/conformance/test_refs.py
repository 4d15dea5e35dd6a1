"""Refs of a remote, over every carrier: which moves it makes when asked to force or delete, what
its own rules forbid, and annotated tags on their way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conformance.sample import (
    BLOCK,
    FIRST,
    MAIN,
    SECOND,
    TRACKING,
    WHO,
    Carriers,
    Counting,
    Relay,
    commit,
    fetch_main,
    push_main,
    read_tree,
)

from treering.store.config import Config
from treering.store.errors import Conflict, Corrupt, InvalidInput, NotFound, RemoteError
from treering.store.history import BRANCHES, TAGS, HistoryObject, Person, RefUpdate
from treering.store.ids import Key
from treering.store.remotes.base import Remote
from treering.store.remotes.fetch_plan import FetchUpdate
from treering.store.remotes.push_plan import Lease, PushUpdate
from treering.store.remotes.transfer import fetch, push
from treering.store.repository import Repository

SIDE = BRANCHES + "side"


@pytest.fixture
def pushed(source: Repository, bare: Path, carriers: Carriers) -> tuple[str, str]:
    """Two commits that the remote has on main; side, here only, is at the first."""
    first = commit(source, FIRST)
    second = commit(source, SECOND)
    push_main(source, carriers.open(bare))
    return first.id, second.id


def rule(bare: Path, key: str) -> None:
    Config(bare / "config").set(f"receive.{key}", "true")


# -- moves ---------------------------------------------------------------------------------------


def test_a_forced_move_goes_back(
    source: Repository, carriers: Carriers, bare: Path, pushed: tuple[str, str]
) -> None:
    first, second = pushed
    remote = carriers.open(bare)
    with pytest.raises(Conflict, match="main would lose commits"):
        push(source, remote, [PushUpdate(first, MAIN)], WHO)
    with pytest.raises(Conflict, match="main moved to"):
        remote.finalize([RefUpdate(MAIN, second, first)], WHO)
    assert remote.refs() == {MAIN: second}
    result = push(source, remote, [PushUpdate(first, MAIN, force=True)], WHO)
    assert result.moved == (RefUpdate(MAIN, second, first, True),)
    assert remote.refs() == {MAIN: first}


def test_a_lease_holds_only_where_the_ref_is_as_expected(
    source: Repository, carriers: Carriers, bare: Path, pushed: tuple[str, str]
) -> None:
    first, second = pushed
    remote = carriers.open(bare)
    for expected in (first, None):
        with pytest.raises(Conflict, match="main moved to"):
            push(source, remote, [PushUpdate(first, MAIN, lease=Lease(expected))], WHO)
    push(source, remote, [PushUpdate(first, MAIN, lease=Lease(second))], WHO)
    assert remote.refs() == {MAIN: first}


def test_a_forced_move_still_loses_a_race(
    source: Repository, carriers: Carriers, bare: Path, pushed: tuple[str, str]
) -> None:
    first, _ = pushed
    third = commit(source, {"c": b"3"})

    class Late(Relay):
        def finalize(self, updates: Sequence[RefUpdate], who: Person) -> list[Key]:
            push(source, self.inner, [PushUpdate(third.id, MAIN)], WHO)
            return self.inner.finalize(updates, who)

    remote = carriers.open(bare)
    with pytest.raises(Conflict, match=f"main moved to {third.id[:10]}; fetch first"):
        push(source, Late(remote), [PushUpdate(first, MAIN, force=True)], WHO)
    assert remote.refs() == {MAIN: third.id}


def test_several_refs_move_all_or_none(
    source: Repository, carriers: Carriers, bare: Path, pushed: tuple[str, str]
) -> None:
    first, second = pushed
    remote = carriers.open(bare)
    updates = [PushUpdate(second, SIDE), PushUpdate(first, MAIN), PushUpdate(first, TAGS + "v")]
    with pytest.raises(Conflict, match="main"):
        push(source, remote, updates, WHO)
    asked = [RefUpdate(SIDE, None, second), RefUpdate(TAGS + "v", first, second)]
    with pytest.raises(Conflict, match="v moved to nothing"):
        remote.finalize(asked, WHO)
    assert remote.refs() == {MAIN: second}
    push(source, remote, [updates[0], updates[2]], WHO)
    assert remote.refs() == {MAIN: second, SIDE: second, TAGS + "v": first}


def test_refs_are_deleted(
    source: Repository, carriers: Carriers, bare: Path, pushed: tuple[str, str]
) -> None:
    _, second = pushed
    remote = carriers.open(bare)
    push(source, remote, [PushUpdate(second, SIDE)], WHO)
    result = push(source, remote, [PushUpdate(None, SIDE)], WHO)
    assert result.moved == (RefUpdate(SIDE, second, None),)
    with pytest.raises(Conflict, match="no side to delete"):
        push(source, remote, [PushUpdate(None, SIDE)], WHO)
    with pytest.raises(Conflict, match="HEAD"):
        push(source, remote, [PushUpdate(None, MAIN)], WHO)
    assert remote.refs() == {MAIN: second}


def test_a_branch_makes_room_for_one_below_it_in_the_same_push(
    source: Repository, carriers: Carriers, bare: Path, pushed: tuple[str, str]
) -> None:
    _, second = pushed
    remote = carriers.open(bare)
    below = PushUpdate(second, SIDE + "/x")
    push(source, remote, [PushUpdate(second, SIDE)], WHO)
    with pytest.raises(Conflict, match="exclude each other"):
        push(source, remote, [below, PushUpdate(second, BRANCHES + "new")], WHO)
    assert remote.refs() == {MAIN: second, SIDE: second}
    push(source, remote, [below, PushUpdate(None, SIDE)], WHO)
    assert remote.refs() == {MAIN: second, SIDE + "/x": second}


def test_a_dry_run_says_what_is_to_be_sent_and_sends_nothing(
    source: Repository, remote: Remote
) -> None:
    made = commit(source, FIRST)
    counting = Counting(remote)
    planned = push(source, counting, [PushUpdate(made.id, MAIN)], WHO, dry_run=True)
    assert counting.sent == [] and counting.refs() == {}
    assert counting.known_commits([made.id]) == [False]
    assert push(source, counting, [PushUpdate(made.id, MAIN)], WHO) == planned
    assert planned.objects == len(counting.sent) > 0


# -- rules ---------------------------------------------------------------------------------------


def test_rules_of_the_remote_hold_for_forced_moves(
    source: Repository, carriers: Carriers, bare: Path, pushed: tuple[str, str]
) -> None:
    first, second = pushed
    remote = carriers.open(bare)
    push(source, remote, [PushUpdate(second, SIDE), PushUpdate(first, TAGS + "v")], WHO)
    carriers.close()
    rule(bare, "denyNonFastForwards")
    rule(bare, "denyDeletes")
    remote = carriers.open(bare)
    with pytest.raises(Conflict, match="side may only go forwards"):
        push(source, remote, [PushUpdate(first, SIDE, force=True)], WHO)
    with pytest.raises(Conflict, match="lets nobody delete side"):
        push(source, remote, [PushUpdate(None, SIDE, force=True)], WHO)
    push(source, remote, [PushUpdate(second, TAGS + "v", force=True)], WHO)
    assert remote.refs() == {MAIN: second, SIDE: second, TAGS + "v": second}


def test_the_checked_out_branch_moves_where_that_is_allowed(
    source: Repository, carriers: Carriers, tmp_path: Path
) -> None:
    top = tmp_path / "tree"
    Repository.create(top / ".treering", BLOCK)
    made = commit(source, FIRST)
    with pytest.raises(Conflict, match="checked out"):
        push_main(source, carriers.open(top))
    carriers.close()
    Config(top / ".treering" / "config").set("receive.denyCurrentBranch", "false")
    remote = carriers.open(top)
    push_main(source, remote)
    assert remote.refs() == {MAIN: made.id}


# -- fetch ---------------------------------------------------------------------------------------


def test_tracking_branches_go_back_and_own_ones_do_not(
    source: Repository, carriers: Carriers, bare: Path, target: Repository, pushed: tuple[str, str]
) -> None:
    first, second = pushed
    both = [FetchUpdate(MAIN, TRACKING), FetchUpdate(MAIN, SIDE)]
    fetch(target, carriers.open(bare), both, WHO)
    push(source, carriers.open(bare), [PushUpdate(first, MAIN, force=True)], WHO)
    result = fetch(target, carriers.open(bare), both, WHO)
    assert result.moved == (RefUpdate(TRACKING, second, first, True),)
    assert [one.ref for one in result.rejected] == [SIDE]
    assert target.history.refs() == {TRACKING: first, SIDE: second}
    fetch(target, carriers.open(bare), [FetchUpdate(MAIN, SIDE, force=True)], WHO)
    assert target.history.ref(SIDE) == first


def test_prune_forgets_what_is_gone(
    source: Repository, carriers: Carriers, bare: Path, target: Repository, pushed: tuple[str, str]
) -> None:
    _, second = pushed
    remote = carriers.open(bare)
    push(source, remote, [PushUpdate(second, SIDE)], WHO)
    fetch(target, remote, [FetchUpdate(SIDE, "refs/remotes/origin/side")], WHO)
    result = fetch(target, remote, [FetchUpdate(MAIN, TRACKING)], WHO, prune="refs/remotes/origin/")
    assert RefUpdate("refs/remotes/origin/side", second, None) in result.moved
    assert target.history.refs() == {TRACKING: second}


# -- annotated tags ------------------------------------------------------------------------------


def test_annotated_tags_travel_with_their_commits(
    source: Repository, remote: Remote, target: Repository
) -> None:
    made = commit(source, FIRST)
    inner = source.history.write_tag("in", made.id, WHO, "as delivered")
    outer = tag_of(source, inner, "tag")
    name = TAGS + "v1"
    push(source, remote, [PushUpdate(outer, name)], WHO)
    assert remote.refs() == {name: outer}
    fetch(target, remote, [FetchUpdate(name, name)], WHO)
    assert target.history.refs() == {name: outer}
    assert target.history.tips() == {name: made.id}
    assert read_tree(target, made.id) == FIRST
    found = target.history.tag(inner)
    assert found is not None and found.message == "as delivered\n"
    # The commit is there; only the tag is new.
    second = source.history.write_tag("again", made.id, WHO, "once more")
    assert push(source, remote, [PushUpdate(second, TAGS + "v2")], WHO)[:3] == (0, 0, 0)
    fetch(target, remote, [FetchUpdate(TAGS + "v2", TAGS + "v2")], WHO)
    assert target.history.ref(TAGS + "v2") == second


def tag_of(source: Repository, target: str, kind: str) -> str:
    """A tag object for any object."""
    import pygit2

    repo = pygit2.Repository(str(source.path / "history"))
    text = f"object {target}\ntype {kind}\ntag odd\ntagger T <t@example.org> 1 +0000\n\nodd\n"
    return str(repo.write(pygit2.enums.ObjectType.TAG, text.encode()))


def tree_of(source: Repository, commit_id: str) -> str:
    import pygit2

    found = pygit2.Repository(str(source.path / "history"))[commit_id]
    assert isinstance(found, pygit2.Commit)
    return str(found.tree_id)


def tag_object(source: Repository, tag: str) -> HistoryObject:
    (found,) = source.history.export_tags([tag])
    return found


def test_a_tag_of_a_tree_is_refused_by_both_ends(
    source: Repository, carriers: Carriers, bare: Path, pushed: tuple[str, str]
) -> None:
    remote = carriers.open(bare)
    _, second = pushed
    tag = tag_of(source, tree_of(source, second), "tree")
    with pytest.raises(InvalidInput, match="no commit"):
        push(source, remote, [PushUpdate(tag, TAGS + "t")], WHO)
    remote.store_history([tag_object(source, tag)])
    with pytest.raises((NotFound, Corrupt)):
        remote.finalize([RefUpdate(TAGS + "t", None, tag)], WHO)
    assert remote.refs() == {MAIN: second}


def test_a_tag_whose_commit_is_not_there_is_refused(source: Repository, remote: Remote) -> None:
    made = commit(source, FIRST)
    tag = source.history.write_tag("v", made.id, WHO, "v")
    remote.store_history([tag_object(source, tag)])
    with pytest.raises((NotFound, Corrupt)):
        remote.finalize([RefUpdate(TAGS + "v", None, tag)], WHO)
    remote.store_history(list(source.history.export([made.id])))
    assert remote.finalize([RefUpdate(TAGS + "v", None, tag)], WHO) != []
    assert remote.refs() == {}


def test_a_branch_is_never_put_at_a_tag(
    source: Repository, carriers: Carriers, bare: Path, pushed: tuple[str, str]
) -> None:
    remote = carriers.open(bare)
    _, second = pushed
    tag = source.history.write_tag("v", second, WHO, "v")
    push(source, remote, [PushUpdate(tag, TAGS + "v")], WHO)
    with pytest.raises((NotFound, Corrupt)):
        remote.finalize([RefUpdate(SIDE, None, tag)], WHO)
    assert set(remote.refs()) == {MAIN, TAGS + "v"}


class Tagging(Relay):
    """Says that a tag is at `aim`, and sends `sent` as its history."""

    def __init__(self, inner: Remote, aim: str, sent: list[HistoryObject]) -> None:
        super().__init__(inner)
        self.aim, self.sent = aim, sent

    def refs(self) -> dict[str, str]:
        return {TAGS + "t": self.aim}

    def history(self, wants: Sequence[str], haves: Sequence[str]) -> Iterator[HistoryObject]:
        yield from self.sent


def test_a_remote_whose_tag_leads_to_no_commit(
    source: Repository, remote: Remote, target: Repository
) -> None:
    made = commit(source, FIRST)
    push_main(source, remote)
    tree = tree_of(source, made.id)
    tag = tag_of(source, tree, "tree")
    history = list(source.history.export([made.id]))
    for aim, sent in (
        (tag, [*history, tag_object(source, tag)]),
        (tree, history),
        ("0" * 40, []),
    ):
        with pytest.raises(RemoteError):
            fetch(target, Tagging(remote, aim, sent), [FetchUpdate(TAGS + "t", TAGS + "t")], WHO)
    assert target.history.refs() == {}
    fetch_main(target, remote)
