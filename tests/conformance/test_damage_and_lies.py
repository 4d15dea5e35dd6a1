"""What is damaged or made up is refused by both ends, over every carrier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import zstandard
from conformance.sample import (
    BLOCK,
    FIRST,
    MAIN,
    SECOND,
    Carriers,
    Counting,
    Relay,
    commit,
    fetch_main,
    has,
    noise,
    push_main,
    read_tree,
    records,
    send_history,
)

from treering.store.codec import MAX_PLAIN, CodecId
from treering.store.errors import Corrupt, InvalidInput, NotFound, RemoteError
from treering.store.history import HistoryObject, Person, RefUpdate
from treering.store.ids import Key, block_id, block_key, node_id, node_key
from treering.store.nodes import LeafNode, encode
from treering.store.packfile import Record, pack_file_name
from treering.store.remotes.base import MAX_KEYS, Remote
from treering.store.repository import Repository

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


def test_too_many_keys_are_refused(remote: Remote) -> None:
    with pytest.raises(InvalidInput):
        remote.missing([block_key(bytes(32))] * (MAX_KEYS + 1))
    assert remote.missing([block_key(bytes(32))]) == [block_key(bytes(32))]


# -- damage --------------------------------------------------------------------------------------


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


# -- lies ----------------------------------------------------------------------------------------


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
