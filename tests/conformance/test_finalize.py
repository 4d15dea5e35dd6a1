"""What a remote checks before its refs move, over every carrier, and which moves it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from conformance.sample import (
    BLOCK,
    FIRST,
    MAIN,
    SECOND,
    WHO,
    Carriers,
    Counting,
    Relay,
    commit,
    fetch_main,
    new_repository,
    push_main,
    records,
    send_history,
)

from treering.store.errors import Conflict, Corrupt, InvalidInput, NotFound
from treering.store.history import BRANCHES, HistoryObject, Person, RefUpdate
from treering.store.ids import Key, block_id, block_key, node_key
from treering.store.remotes.base import Remote
from treering.store.remotes.push_plan import PushUpdate
from treering.store.remotes.transfer import push
from treering.store.repository import Repository


def test_finalize_reports_what_is_missing_and_moves_nothing(
    source: Repository, remote: Remote
) -> None:
    made = commit(source, FIRST)
    lacking = block_key(block_id(b"hello"))
    remote.store(records(source, lambda key: key != lacking))
    send_history(source, remote, made.id)
    update = RefUpdate(MAIN, None, made.id)
    assert remote.finalize([update], WHO) == [lacking]
    assert remote.refs() == {}
    assert remote.held([made.root]) == ["none"]
    remote.store(records(source, lambda key: key == lacking))
    assert remote.finalize([update], WHO) == []
    assert remote.refs() == {MAIN: made.id}
    assert remote.held([made.root]) == ["whole"]


def test_finalize_reports_a_missing_node(source: Repository, remote: Remote) -> None:
    made = commit(source, FIRST)
    lacking = node_key(made.root)
    remote.store(records(source, lambda key: key != lacking))
    send_history(source, remote, made.id)
    assert remote.finalize([RefUpdate(MAIN, None, made.id)], WHO) == [lacking]
    assert remote.refs() == {}


def test_finalize_without_the_commit(source: Repository, remote: Remote) -> None:
    made = commit(source, FIRST)
    with pytest.raises(NotFound):
        remote.finalize([RefUpdate(MAIN, None, made.id)], WHO)
    assert remote.refs() == {}


@pytest.mark.parametrize(
    "name", ["refs/heads/../../x", "HEAD", "refs/remotes/x/main", "refs/heads/a..b", "refs/heads/"]
)
def test_finalize_refuses_odd_ref_names(source: Repository, remote: Remote, name: str) -> None:
    made = commit(source, FIRST)
    push_main(source, remote)
    with pytest.raises(InvalidInput):
        remote.finalize([RefUpdate(name, None, made.id)], WHO)
    assert remote.refs() == {MAIN: made.id}


def test_finalize_verifies_the_chain_of_parents(source: Repository, remote: Remote) -> None:
    first = commit(source, FIRST)
    push_main(source, remote)
    # A commit whose record names another BLAKE3 for its parent than the parent has.
    second = commit(source, SECOND)
    blob, tree, _ = list(source.history.export([second.id]))
    forged = blob.content.replace(second.record.parents[0].hex().encode(), b"0" * 64)
    made = forge(source, first.id, forged)
    remote.store(records(source))
    remote.store_history(made[1])
    with pytest.raises(Corrupt):
        remote.finalize([RefUpdate(MAIN, first.id, made[0])], WHO)
    assert remote.refs() == {MAIN: first.id}
    assert tree.type == 2


def forge(source: Repository, parent: str, record: bytes) -> tuple[str, list[HistoryObject]]:
    """The Git objects of a commit with this blob as its root record."""
    import pygit2

    repo = pygit2.Repository(str(source.path / "history"))
    builder = repo.TreeBuilder()
    builder.insert("root", repo.create_blob(record), pygit2.enums.FileMode.BLOB)
    who = pygit2.Signature("x", "x@example.org", 1, 0)
    oid = repo.create_commit(None, who, who, "forged", builder.write(), [pygit2.Oid(hex=parent)])
    found = repo[oid]
    assert isinstance(found, pygit2.Commit)
    objects = (found.tree["root"], found.tree, found)
    return str(oid), [HistoryObject(int(one.type), one.read_raw()) for one in objects]


# -- races and refusals --------------------------------------------------------------------------


def test_non_fast_forward_is_refused(source: Repository, remote: Remote, tmp_path: Path) -> None:
    commit(source, FIRST)
    push_main(source, remote)
    there = remote.refs()
    rival = new_repository(tmp_path / "rival")
    made = commit(rival, SECOND)
    with pytest.raises(Conflict, match="fetch first"):
        push_main(rival, remote)
    # The remote does not take the sender's word for it either.
    remote.store(records(rival))
    send_history(rival, remote, made.id)
    with pytest.raises(Conflict, match="fetch first"):
        remote.finalize([RefUpdate(MAIN, there[MAIN], made.id)], WHO)
    assert remote.refs() == there
    rival.close()


def test_a_lost_race_is_a_conflict(source: Repository, remote: Remote, tmp_path: Path) -> None:
    rival = new_repository(tmp_path / "rival")
    theirs = commit(rival, {"b": b"rival"})

    class Late(Relay):
        def finalize(self, updates: Sequence[RefUpdate], who: Person) -> list[Key]:
            push_main(rival, remote)
            return self.inner.finalize(updates, who)

    made = commit(source, FIRST)
    with pytest.raises(Conflict, match=f"main moved to {theirs.id[:10]}; fetch first"):
        push_main(source, Late(remote))
    assert remote.refs() == {MAIN: theirs.id}
    assert remote.held([made.root]) == ["none"]
    rival.close()


def work_tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    Repository.create(top / ".treering", BLOCK)
    return top


def test_the_checked_out_branch_is_not_pushed_to(
    source: Repository, carriers: Carriers, tmp_path: Path
) -> None:
    remote = carriers.open(work_tree(tmp_path))
    made = commit(source, FIRST)
    counting = Counting(remote)
    assert remote.describe().checked_out == MAIN
    with pytest.raises(Conflict, match="checked out"):
        push_main(source, counting)
    assert counting.sent == []
    remote.store(records(source))
    send_history(source, remote, made.id)
    with pytest.raises(Conflict, match="checked out"):
        remote.finalize([RefUpdate(MAIN, None, made.id)], WHO)
    assert remote.refs() == {}
    push(source, remote, [PushUpdate(made.id, BRANCHES + "side")], WHO)
    assert remote.refs() == {BRANCHES + "side": made.id}


def test_other_block_size_is_refused(
    source: Repository, carriers: Carriers, tmp_path: Path
) -> None:
    Repository.create(tmp_path / "wide", 2 * BLOCK)
    remote = carriers.open(tmp_path / "wide")
    commit(source, FIRST)
    with pytest.raises(InvalidInput, match="blocks of"):
        push_main(source, remote)


def test_fetch_of_a_ref_that_is_not_there(target: Repository, remote: Remote) -> None:
    with pytest.raises(NotFound, match="main"):
        fetch_main(target, remote)
