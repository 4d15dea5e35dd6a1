"""The wire: far ends that die, and what is said past all rules."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import msgspec
import pytest
from conformance.sample import (
    BLOCK,
    FIRST,
    MAIN,
    WHO,
    Carriers,
    commit,
    noise,
    push_main,
    read_tree,
)

from treering.store.codec import CodecId
from treering.store.errors import Conflict, InvalidInput, RemoteError
from treering.store.ids import block_id, block_key
from treering.store.packfile import Record
from treering.store.remotes import service
from treering.store.remotes.base import Remote
from treering.store.remotes.frames import LENGTH, MAX_FRAME
from treering.store.remotes.local import open_local
from treering.store.remotes.push_plan import PushUpdate
from treering.store.remotes.transfer import push
from treering.store.remotes.wire import PipeRemote, serve
from treering.store.repository import Repository


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


def frames(stream: bytes) -> Iterator[list[object]]:
    while stream:
        (length,) = LENGTH.unpack(stream[:4])
        yield msgspec.msgpack.decode(stream[4 : 4 + length])
        stream = stream[4 + length :]


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


def test_closed_remote_says_so(remote: Remote) -> None:
    remote.close()
    remote.close()
    with pytest.raises(RemoteError):
        remote.refs()
