"""One suite over all carriers: what push, fetch and finalize promise, and what they refuse."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path

import msgspec
import pytest
import zstandard
from conformance.sample import (
    BLOCK,
    MAIN,
    TRACKING,
    WHO,
    Carriers,
    Relay,
    commit,
    fetch_main,
    has,
    new_repository,
    noise,
    push_main,
    put_tree,
    read_tree,
)

from treering.store.codec import MAX_PLAIN, CodecId
from treering.store.errors import (
    Conflict,
    Corrupt,
    InvalidInput,
    NoRepository,
    NotFound,
    RemoteError,
)
from treering.store.history import BRANCHES, HistoryObject, Person, RefUpdate
from treering.store.ids import Key, block_id, block_key, node_id, node_key
from treering.store.nodes import LeafNode, encode
from treering.store.packfile import Record, pack_file_name
from treering.store.progress import SILENT
from treering.store.remotes import sending, service
from treering.store.remotes.base import MAX_KEYS, Remote
from treering.store.remotes.frames import LENGTH, MAX_FRAME
from treering.store.remotes.local import open_local
from treering.store.remotes.transfer import PushUpdate, fetch, push
from treering.store.remotes.url import connect, parse, resolve
from treering.store.remotes.wire import PipeRemote, serve
from treering.store.repository import Repository
from treering.store.root_record import RootRecord

FIRST = {"a": b"hello", "d/big": noise(40 * BLOCK + 5, 1), "d/holes": bytes(300 * BLOCK) + b"x"}
SECOND = {**FIRST, "d/big": FIRST["d/big"][:-5] + b"12345"}


@pytest.fixture(params=["local", "pipe"])
def carriers(request: pytest.FixtureRequest) -> Iterator[Carriers]:
    found = Carriers(request.param)
    yield found
    found.close()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Repository]:
    repository = new_repository(tmp_path / "source")
    yield repository
    repository.close()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    Repository.create(tmp_path / "bare", BLOCK)
    return tmp_path / "bare"


@pytest.fixture
def remote(carriers: Carriers, bare: Path) -> Remote:
    return carriers.open(bare)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Repository]:
    repository = new_repository(tmp_path / "target")
    yield repository
    repository.close()


class Counting(Relay):
    """Counts the objects that travel."""

    def __init__(self, inner: Remote) -> None:
        super().__init__(inner)
        self.sent: list[Key] = []
        self.fetched: list[Key] = []

    def store(self, records: Iterable[Record]) -> int:
        def counted() -> Iterator[Record]:
            for record in records:
                self.sent.append(record.key)
                yield record

        return self.inner.store(counted())

    def fetch(self, keys: Sequence[Key]) -> Iterator[Record]:
        self.fetched += keys
        return self.inner.fetch(keys)


# -- round trips ---------------------------------------------------------------------------------


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
    assert fetch_main(target, counting) == (0, 0, 0, ())


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


# -- finalize ------------------------------------------------------------------------------------


def records(repository: Repository, keep: Callable[[Key], bool] = lambda _: True) -> list[Record]:
    keys = [key for key, _ in repository.store.index.items() if keep(key)]
    return list(repository.store.stream(keys))


def send_history(repository: Repository, remote: Remote, tip: str) -> None:
    commits = repository.history.oldest_first([tip])
    remote.store_history(list(repository.history.export(commits)))


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


def test_a_bad_node_in_the_remote_is_sent_again(
    source: Repository, carriers: Carriers, bare: Path
) -> None:
    made = commit(source, FIRST)
    remote = carriers.open(bare)
    remote.store(records(source))
    remote.close()
    there = Repository(bare)
    damage(there, node_key(made.root))
    there.close()
    counting = Counting(carriers.open(bare))
    push_main(source, counting)
    assert node_key(made.root) in counting.sent
    assert counting.refs() == {MAIN: made.id}


def damage(repository: Repository, key: Key) -> None:
    """Flip a byte in the middle of an object's payload on disk."""
    (location,) = repository.store.index.locate([key])
    assert location is not None
    name = repository.store.index.pack_name(location.pack)
    path = repository.path / "packs" / pack_file_name(name)
    content = bytearray(path.read_bytes())
    content[location.offset + location.stored // 2] ^= 0x40
    path.write_bytes(content)


# -- bad objects ---------------------------------------------------------------------------------


def zstd(plain: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(plain)


def bad_records() -> dict[str, Record]:
    other = block_key(block_id(b"other"))
    hello = block_key(block_id(b"hello"))
    loose = b"\x92\x02\xdc\x00\x00"  # an empty leaf whose array header is not the shortest
    bomb = bytes(MAX_PLAIN + 1)
    wide = bytes([1]) * (BLOCK + 1)
    return {
        "wrong id": Record(other, CodecId.RAW, 5, b"hello"),
        "not canonical": Record(node_key(node_id(loose)), CodecId.RAW, len(loose), loose),
        "no node": Record(node_key(node_id(b"hello")), CodecId.RAW, 5, b"hello"),
        "raw length": Record(hello, CodecId.RAW, 6, b"hello"),
        "zstd length": Record(hello, CodecId.ZSTD, 5, zstd(b"hello, world")),
        "bomb": Record(block_key(block_id(bomb)), CodecId.ZSTD, len(bomb), zstd(bomb)),
        "bomb that lies": Record(block_key(block_id(bomb)), CodecId.ZSTD, BLOCK, zstd(bomb)),
        "cut frame": Record(hello, CodecId.ZSTD, 5, zstd(b"hello")[:-1]),
        "codec": Record(hello, 9, 5, b"hello"),
        "negative length": Record(hello, CodecId.RAW, -1, b""),
        "over the block size": Record(block_key(block_id(wide)), CodecId.RAW, BLOCK + 1, wide),
        "kind": Record(Key(b"\x03" + hello[1:]), CodecId.RAW, 5, b"hello"),
        "short key": Record(Key(b"\x01ab"), CodecId.RAW, 5, b"hello"),
    }


@pytest.mark.parametrize("case", bad_records())
def test_bad_objects_are_refused(remote: Remote, case: str) -> None:
    bad = bad_records()[case]
    good_key = block_key(block_id(b"good"))
    good = Record(good_key, CodecId.RAW, 4, b"good")
    with pytest.raises(Corrupt):
        remote.store([good, bad, good])
    if len(bad.key) == 33 and bad.key[0] < 3:
        assert remote.missing([bad.key]) == [bad.key]
    # The connection is still good, and what is right is taken.
    remote.store([good])
    assert remote.missing([good_key]) == []
    empty = encode(LeafNode(()))
    assert remote.store([Record(node_key(node_id(empty)), 0, len(empty), empty)]) == 1


def test_the_senders_own_error_comes_out(remote: Remote) -> None:
    def failing() -> Iterator[Record]:
        yield Record(block_key(block_id(b"good")), CodecId.RAW, 4, b"good")
        raise NotFound("this one is gone")

    with pytest.raises(NotFound, match="this one is gone"):
        remote.store(failing())
    assert remote.refs() == {}


def test_endless_store_is_refused(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_STORE_BYTES", 1 << 20)
    block = noise(BLOCK, 3)
    record = Record(block_key(block_id(block)), CodecId.RAW, BLOCK, block)
    remote = open_local(bare)
    with pytest.raises(InvalidInput, match="more objects"):
        remote.store(repeat(record))
    parts = frame("part", [record] * 100) * 50
    stream = HELLO + frame("call", "store", []) + parts + frame("end") + frame("call", "refs", [])
    out = io.BytesIO()
    serve(io.BytesIO(stream), out, remote)
    assert [answer[0] for answer in frames(out.getvalue())] == ["hello", "failure", "value"]
    remote.close()


def test_too_many_keys_are_refused(remote: Remote) -> None:
    with pytest.raises(InvalidInput):
        remote.missing([block_key(bytes(32))] * (MAX_KEYS + 1))
    assert remote.missing([block_key(bytes(32))]) == [block_key(bytes(32))]


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


# -- damage and lies -----------------------------------------------------------------------------


def test_a_damaged_local_block_is_named_and_nothing_moves(
    source: Repository, remote: Remote
) -> None:
    made = commit(source, {"a": noise(BLOCK, 9)})
    bad = block_key(block_id(noise(BLOCK, 9)))
    damage(source, bad)
    with pytest.raises(Corrupt, match=f"block:{bad[1:].hex()[:12]}"):
        push_main(source, remote)
    assert remote.refs() == {}
    assert remote.held([made.root]) == ["none"]
    assert not has(source, bad), "it has left the index, so that the next commit heals it"


class Flipping(Relay):
    def fetch(self, keys: Sequence[Key]) -> Iterator[Record]:
        for record in self.inner.fetch(keys):
            payload = bytearray(record.payload)
            payload[len(payload) // 2] ^= 1
            yield record._replace(payload=bytes(payload))


class FlippingBlocks(Flipping):
    def fetch(self, keys: Sequence[Key]) -> Iterator[Record]:
        return super().fetch(keys) if keys[0][0] == 1 else self.inner.fetch(keys)


class Withholding(Relay):
    def fetch(self, keys: Sequence[Key]) -> Iterator[Record]:
        yield from list(self.inner.fetch(keys))[1:]


class Volunteering(Relay):
    def fetch(self, keys: Sequence[Key]) -> Iterator[Record]:
        yield from self.inner.fetch(keys)
        yield Record(block_key(block_id(b"gift")), CodecId.RAW, 4, b"gift")


class Repeating(Relay):
    def fetch(self, keys: Sequence[Key]) -> Iterator[Record]:
        while True:
            yield from self.inner.fetch(keys[:1])


class Bombing(Relay):
    def fetch(self, keys: Sequence[Key]) -> Iterator[Record]:
        for record in self.inner.fetch(keys):
            yield record._replace(codec=CodecId.ZSTD, payload=zstd(bytes(1 << 26)))


class Forgetful(Relay):
    """Leaves the first commit out of the history."""

    def history(self, wants: Sequence[str], haves: Sequence[str]) -> Iterator[HistoryObject]:
        yield from list(self.inner.history(wants, haves))[3:]


class WrongRef(Relay):
    def refs(self) -> dict[str, str]:
        return {MAIN: "../../../etc/passwd"}


@pytest.mark.parametrize(
    "liar",
    [
        Flipping,
        FlippingBlocks,
        Withholding,
        Volunteering,
        Repeating,
        Bombing,
        Forgetful,
        WrongRef,
    ],
)
def test_a_remote_that_lies(
    source: Repository, remote: Remote, target: Repository, liar: type[Relay]
) -> None:
    commit(source, FIRST)
    made = commit(source, SECOND)
    push_main(source, remote)
    with pytest.raises(RemoteError):
        fetch_main(target, liar(remote))
    assert target.history.refs() == {}
    assert target.held(made.root) == "none"
    assert not has(target, block_key(block_id(b"gift")))


def test_an_honest_fetch_follows_a_lie(
    source: Repository, carriers: Carriers, bare: Path, target: Repository
) -> None:
    made = commit(source, FIRST)
    push_main(source, carriers.open(bare))
    with pytest.raises(RemoteError):
        fetch_main(target, FlippingBlocks(carriers.open(bare)))
    fetch_main(target, carriers.open(bare))
    assert read_tree(target, made.id) == FIRST


def test_only_finalized_history_is_given(source: Repository, remote: Remote) -> None:
    made = commit(source, FIRST)
    send_history(source, remote, made.id)
    with pytest.raises(NotFound):
        list(remote.history([made.id], []))
    assert remote.refs() == {}


def test_a_remote_that_asks_for_what_was_not_offered(source: Repository, remote: Remote) -> None:
    class Nosy(Relay):
        def missing(self, keys: Sequence[Key]) -> list[Key]:
            return [*keys, block_key(block_id(b"secret"))]

    commit(source, FIRST)
    with pytest.raises(RemoteError, match="not offered"):
        push_main(source, Nosy(remote))


def test_a_remote_that_is_never_content(source: Repository, remote: Remote) -> None:
    class Greedy(Relay):
        def finalize(self, updates: Sequence[RefUpdate], who: Person) -> list[Key]:
            return [block_key(block_id(b"hello"))]

    commit(source, FIRST)
    with pytest.raises(RemoteError, match="still misses"):
        push_main(source, Greedy(remote))


# -- the wire ------------------------------------------------------------------------------------


class Killer:
    """Progress that kills the far end once some objects have gone out."""

    def __init__(self, carriers: Carriers, after: int) -> None:
        self._carriers = carriers
        self._left = after

    def begin(self, task: str, *, total_bytes: int | None = None) -> None:
        pass

    def advance(self, *, files: int = 0, size: int = 0) -> None:
        self._left -= 1
        if not self._left:
            self._carriers.processes[-1].kill()


@pytest.mark.parametrize("after", [1, 300, 1200])
def test_killed_far_end(source: Repository, bare: Path, after: int) -> None:
    carriers = Carriers("pipe")
    first = commit(source, FIRST)
    push_main(source, carriers.open(bare))
    big = {**FIRST, "big": noise(2000 * BLOCK, 4)}
    second = commit(source, big)
    update = [PushUpdate(second.id, MAIN)]
    with pytest.raises(RemoteError, match="connection was lost"):
        push(source, carriers.open(bare), update, WHO, progress=Killer(carriers, after))
    again = carriers.open(bare)
    assert again.refs() == {MAIN: first.id}
    push(source, again, update, WHO)
    assert again.refs() == {MAIN: second.id}
    carriers.close()
    there = Repository(bare)
    assert read_tree(there, second.id) == big
    there.close()


def test_far_end_that_speaks_something_else() -> None:
    for answer in (b"", b"\0\0", b"Welcome to host!\n", b"\0\0\0\1\xc0", b"\xff" * 100):
        with pytest.raises(RemoteError):
            PipeRemote(io.BytesIO(answer), io.BytesIO())


def frame(*content: object) -> bytes:
    encoded = msgspec.msgpack.encode(content)
    return LENGTH.pack(len(encoded)) + encoded


HELLO = frame("hello", 1)


@pytest.mark.parametrize(
    "answer",
    [
        frame("value", {"refs/heads/main": 5}),
        frame("value", []),
        frame("end"),
        frame("part", []),
        frame("nonsense"),
        LENGTH.pack(MAX_FRAME + 1),
        LENGTH.pack(50) + b"cut",
        b"",
    ],
)
def test_garbage_from_the_far_end(answer: bytes) -> None:
    remote = PipeRemote(io.BytesIO(HELLO + answer), io.BytesIO())
    with pytest.raises(RemoteError):
        remote.refs()
    remote.close()


def test_errors_keep_class_message_and_hint() -> None:
    answer = frame("failure", "Conflict", "rejected", "fetch first")
    remote = PipeRemote(io.BytesIO(HELLO + answer), io.BytesIO())
    with pytest.raises(Conflict) as caught:
        remote.refs()
    assert (caught.value.message, caught.value.hint) == ("rejected", "fetch first")
    for odd in ("MissingObjects", "storage_error", "os", "Unheard"):
        remote = PipeRemote(io.BytesIO(HELLO + frame("failure", odd, "m", None)), io.BytesIO())
        with pytest.raises(RemoteError):
            remote.refs()


@pytest.mark.parametrize(
    "request_",
    [
        frame("call", "close", []),
        frame("call", "__init__", []),
        frame("call", "missing", [["short"]]),
        frame("call", "missing", []),
        frame("call", "finalize", [[["HEAD", None, None]], ["a", "b", 1, 0]]),
        frame("call", "known_commits", [["HEAD"]]),
        frame("call", "fetch", [[b"\x01" + bytes(32)]]),
        frame("call", "store", []) + frame("part", [["x"]]) + frame("end"),
        frame("call", "store", []) + frame("abort"),
    ],
)
def test_bad_requests_are_answered_and_the_next_one_too(bare: Path, request_: bytes) -> None:
    remote = open_local(bare)
    out = io.BytesIO()
    serve(io.BytesIO(HELLO + request_ + frame("call", "refs", [])), out, remote)
    remote.close()
    answers = list(frames(out.getvalue()))
    assert [answer[0] for answer in answers] == ["hello", "failure", "value"]
    assert answers[2][1] == {}


def frames(stream: bytes) -> Iterator[list[object]]:
    while stream:
        (length,) = LENGTH.unpack(stream[:4])
        yield msgspec.msgpack.decode(stream[4 : 4 + length])
        stream = stream[4 + length :]


def test_closed_remote_says_so(remote: Remote) -> None:
    remote.close()
    remote.close()
    with pytest.raises(RemoteError):
        remote.refs()


# -- places --------------------------------------------------------------------------------------


def test_urls(tmp_path: Path, bare: Path) -> None:
    for url in (str(bare), f"file://{bare}", f"file://localhost{bare}"):
        remote = connect(url)
        assert remote.refs() == {}
        remote.close()
    assert resolve("../x", tmp_path / "y") == f"{tmp_path}/y/../x"
    assert resolve("host:x", tmp_path) == "host:x"
    assert parse("./a:b").carrier == "local"
    for url in ("ssh://h/x", "user@host:x", "https://h/x", "s3://b/p", "gs://b", "az://c"):
        with pytest.raises(InvalidInput, match="not in this version yet"):
            connect(url)
    for url in ("", "ftp://x/y", "file://host/x", "relative", "a\nb"):
        with pytest.raises(InvalidInput):
            connect(url)
    with pytest.raises(NoRepository):
        connect(str(tmp_path))


def test_a_work_tree_whose_repository_is_elsewhere(tmp_path: Path, bare: Path) -> None:
    top = tmp_path / "tree"
    (top / ".treering").mkdir(parents=True)
    (top / ".treering" / "repo").write_bytes(bytes(bare) + b"\n")
    remote = open_local(top)
    assert remote.describe().checked_out == MAIN
    remote.close()
    bare_remote = open_local(bare)
    assert bare_remote.describe().checked_out is None
    bare_remote.close()


def test_fetch_several_refs_at_once(source: Repository, remote: Remote, target: Repository) -> None:
    one = commit(source, FIRST)
    two = commit(source, {"z": b"two"}, ref=BRANCHES + "two")
    push(source, remote, [PushUpdate(one.id, MAIN), PushUpdate(two.id, BRANCHES + "two")], WHO)
    wanted = {MAIN: TRACKING, BRANCHES + "two": "refs/remotes/origin/two"}
    assert len(fetch(target, remote, wanted, WHO).moved) == 2
    assert read_tree(target, two.id) == {"z": b"two"}
