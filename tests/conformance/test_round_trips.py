"""Push and fetch over every carrier: all of it arrives, no more than that, and once."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
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
    commit,
    fetch_main,
    noise,
    push_main,
    put_tree,
    read_tree,
)

from treering.store.errors import RemoteError
from treering.store.history import BRANCHES, Person, RefUpdate
from treering.store.ids import Key
from treering.store.packfile import Record
from treering.store.progress import SILENT
from treering.store.remotes import sending
from treering.store.remotes.base import Remote
from treering.store.remotes.fetch_plan import FetchUpdate
from treering.store.remotes.local import open_local
from treering.store.remotes.push_plan import PushUpdate
from treering.store.remotes.transfer import fetch, push
from treering.store.repository import Repository
from treering.store.root_record import RootRecord


def test_push_then_fetch_brings_everything(
    source: Repository, remote: Remote, target: Repository
) -> None:
    first = commit(source, FIRST)
    second = commit(source, SECOND)
    result = push_main(source, remote)
    assert result.commits == 2
    assert result.moved == (RefUpdate(MAIN, None, second.id),)
    assert remote.refs() == {MAIN: second.id}
    assert remote.held([first.root, second.root, bytes(32)]) == ["whole", "whole", "none"]
    fetched = fetch_main(target, remote)
    assert fetched.commits == 2
    assert target.history.ref(TRACKING) == second.id
    assert target.held(second.root) == "whole"
    assert read_tree(target, second.id) == SECOND
    assert read_tree(target, first.id) == FIRST


def test_describe(source: Repository, remote: Remote) -> None:
    found = remote.describe()
    assert (found.block_size, found.version, found.ids) == (BLOCK, 1, "plain")
    assert (found.head, found.checked_out) == (MAIN, None)
    assert remote.refs() == {}


def test_incremental_push_sends_what_changed(source: Repository, remote: Remote) -> None:
    commit(source, FIRST)
    push_main(source, remote)
    commit(source, SECOND)
    counting = Counting(remote)
    result = push_main(source, counting)
    # One block, its index node, two folders and the root.
    assert result.objects == len(counting.sent) == 5
    assert sum(key[0] == 1 for key in counting.sent) == 1
    assert push_main(source, counting) == (0, 0, 0, ())


def test_incremental_fetch_asks_for_what_changed(
    source: Repository, remote: Remote, target: Repository
) -> None:
    commit(source, FIRST)
    push_main(source, remote)
    fetch_main(target, remote)
    second = commit(source, SECOND)
    push_main(source, remote)
    counting = Counting(remote)
    assert fetch_main(target, counting).objects == len(counting.fetched) == 5
    assert read_tree(target, second.id) == SECOND
    assert fetch_main(target, counting) == (0, 0, 0, (), ())


def test_every_commit_arrives_whole_and_each_object_once(
    source: Repository, remote: Remote, target: Repository
) -> None:
    trees = [{**FIRST, "n": noise(3 * BLOCK, 100 + n)} for n in range(30)]
    commits = [commit(source, files, f"c{n}") for n, files in enumerate(trees)]
    counting = Counting(remote)
    push_main(source, counting, jobs=3)
    assert len(counting.sent) == len(set(counting.sent))
    fetch_main(target, counting, jobs=3)
    assert len(counting.fetched) == len(set(counting.fetched))
    for made, files in zip(commits, trees, strict=True):
        assert remote.held([made.root]) == ["whole"]
        assert read_tree(target, made.id) == files


def test_small_groups_go_in_parallel(
    source: Repository, remote: Remote, target: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "ASK_AT_ONCE", 16)
    monkeypatch.setattr(sending, "GROUP_OBJECTS", 8)
    made = commit(source, {"x": noise(200 * BLOCK, 2)})
    push_main(source, remote, jobs=4)
    fetch_main(target, remote, jobs=4)
    assert read_tree(target, made.id) == {"x": noise(200 * BLOCK, 2)}


def test_what_is_on_its_way_is_not_sent_again(
    source: Repository, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "ASK_AT_ONCE", 4)
    monkeypatch.setattr(sending, "GROUP_OBJECTS", 2)
    offered_twice = threading.Event()

    class Slow(Counting):
        def store(self, records: Iterable[Record]) -> int:
            offered_twice.wait(60)
            return super().store(records)

    commit(source, FIRST)
    keys = [key for key, _ in source.store.index.items()][:4]
    slow = Slow(open_local(bare))
    sender = sending.Sender(source, slow, jobs=4, progress=SILENT)
    sender.offer(keys)
    sender.offer(keys)
    offered_twice.set()
    sender.finish()
    sender.close()
    assert sorted(slow.sent) == sorted(keys)
    slow.close()


def test_push_of_objects_the_remote_has_sends_none(source: Repository, remote: Remote) -> None:
    commit(source, FIRST)
    push_main(source, remote)
    commit(source, FIRST, "again", BRANCHES + "other")
    tip = source.history.ref(BRANCHES + "other")
    assert tip is not None
    result = push(source, remote, [PushUpdate(tip, BRANCHES + "other")], WHO)
    assert (result.objects, result.commits) == (0, 1)
    assert set(remote.refs()) == {MAIN, BRANCHES + "other"}


def test_long_history_travels(source: Repository, remote: Remote, target: Repository) -> None:
    root = put_tree(source, {"a": b"1"})
    tip: list[str] = []
    for number in range(300):
        record = RootRecord(root)
        made = source.history.create_commit(record, tip, WHO, WHO, f"{number}", MAIN)
        tip = [made.id]
    assert push_main(source, remote).commits == 300
    assert remote.known_commits([*tip, "0" * 40]) == [True, False]
    assert fetch_main(target, remote).commits == 300
    assert target.history.oldest_first(tip) == source.history.oldest_first(tip)


def test_fetch_several_refs_at_once(source: Repository, remote: Remote, target: Repository) -> None:
    one = commit(source, FIRST)
    two = commit(source, {"z": b"two"}, ref=BRANCHES + "two")
    push(source, remote, [PushUpdate(one.id, MAIN), PushUpdate(two.id, BRANCHES + "two")], WHO)
    wanted = [
        FetchUpdate(MAIN, TRACKING),
        FetchUpdate(BRANCHES + "two", "refs/remotes/origin/two"),
    ]
    assert len(fetch(target, remote, wanted, WHO).moved) == 2
    assert read_tree(target, two.id) == {"z": b"two"}


# -- resume --------------------------------------------------------------------------------------


def test_what_arrived_is_not_sent_again(source: Repository, remote: Remote) -> None:
    class Lost(Counting):
        def finalize(self, updates: Sequence[RefUpdate], who: Person) -> list[Key]:
            raise RemoteError("the connection was lost")

    made = commit(source, FIRST)
    lost = Lost(remote)
    with pytest.raises(RemoteError):
        push_main(source, lost)
    assert lost.sent and remote.refs() == {}
    again = Counting(remote)
    push_main(source, again)
    assert again.sent == []
    assert remote.refs() == {MAIN: made.id}


def test_an_interrupted_fetch_goes_on(
    source: Repository, carriers: Carriers, bare: Path, target: Repository
) -> None:
    made = commit(source, FIRST)
    push_main(source, carriers.open(bare))

    class Cut(Counting):
        def fetch(self, keys: Sequence[Key]) -> Iterator[Record]:
            for number, record in enumerate(super().fetch(keys)):
                if record.key[0] == 1 and number == 10:
                    raise RemoteError("the connection was lost")
                yield record

    with pytest.raises(RemoteError):
        fetch_main(target, Cut(carriers.open(bare)))
    arrived = {key for key, _ in target.store.index.items()}
    counting = Counting(carriers.open(bare))
    fetch_main(target, counting)
    assert arrived and not arrived & set(counting.fetched)
    assert read_tree(target, made.id) == FIRST
