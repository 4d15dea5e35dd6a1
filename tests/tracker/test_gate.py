"""The gate and the freeze, with requests made by hand; on a mount in `test_driver_freeze`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

import pytest

from treering.store.errors import Conflict
from treering.tracker.fuse import freezer, gate, protocol
from treering.tracker.fuse.freezer import Freezer
from treering.tracker.fuse.gate import Gate
from treering.tracker.fuse.protocol import Opcode, Request

TREE, RESERVED = 2, 3


def request(
    opcode: Opcode, number: int, node: int = TREE, flags: int = 0, size: int = 0
) -> Request:
    body = b""
    if opcode == Opcode.WRITE:
        body = protocol.WRITE_IN.pack(0, 0, size, flags, 0, 0, 0)
    if opcode == Opcode.OPEN:
        body = protocol.OPEN_IN.pack(flags, 0)
    return Request(opcode, number, node, 0, 0, 0, body, memoryview(bytes(size)))


@pytest.fixture
def closing() -> Gate:
    return Gate(lambda node: node == TREE)


def test_open_it_lets_all_in(closing: Gate) -> None:
    assert closing.enter(request(Opcode.WRITE, 1))
    assert closing.enter(request(Opcode.READ, 2))
    assert closing.running == {1}
    closing.leave(1)
    assert closing.running == set()


def test_closed_it_parks_what_changes_the_tree(closing: Gate) -> None:
    parked: list[Request] = []
    with closing.closed(parked):
        assert not closing.enter(request(Opcode.WRITE, 1, size=5))
        assert not closing.enter(request(Opcode.UNLINK, 2))
        assert not closing.enter(request(Opcode.OPEN, 3, flags=os.O_RDWR | os.O_TRUNC))
        assert closing.enter(request(Opcode.OPEN, 4, flags=os.O_RDWR))
        assert closing.enter(request(Opcode.GETATTR, 5))
        assert closing.enter(request(Opcode.WRITE, 6, flags=protocol.WRITE_CACHE))
        assert closing.enter(request(Opcode.WRITE, 7, RESERVED))
        assert parked == []
    assert [each.unique for each in parked] == [1, 2, 3]
    assert closing.running == {1, 2, 3, 4, 6, 7}
    assert closing.enter(request(Opcode.WRITE, 8))


def test_what_is_under_way_is_waited_for(closing: Gate) -> None:
    closing.enter(request(Opcode.WRITE, 1))
    with closing.closed([]):
        assert not closing.wait_until_still(0.01)
        threading.Timer(0.02, closing.leave, [1]).start()
        assert closing.wait_until_still(20)
        closing.in_hand = True
        assert not closing.wait_until_still(0.01)


def test_not_while_too_much_is_parked(closing: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_PARKED", 10)
    closing.enter(request(Opcode.WRITE, 1))
    parked: list[Request] = []
    with closing.closed(parked):
        closing.enter(request(Opcode.WRITE, 2, size=20))
        assert not closing.wait_until_still(600)
    assert len(parked[0].data) == 20


def test_a_freeze_tries_again_and_gives_up(closing: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes of it, the gate is open, and what waited is taken up."""
    monkeypatch.setattr(freezer, "STILL_SECONDS", 0.001)
    done, again = [], []

    def take_up(requests: Iterable[Request]) -> None:
        again.append([each.unique for each in requests])

    def barrier() -> None:
        done.append("barrier")

    freezing = Freezer(closing, barrier, take_up)
    closing.enter(request(Opcode.WRITE, 1))
    with pytest.raises(Conflict, match="no moment was found"):
        freezing.freeze(lambda: done.append("swap"))
    assert (done, again) == (["barrier"], [[]] * freezer.ROUNDS)
    closing.leave(1)

    def swap() -> None:
        assert not closing.enter(request(Opcode.WRITE, 2))
        done.append("swap")

    assert freezing.freeze(swap) > 0
    assert done == ["barrier", "barrier", "swap"]
    assert again[-1] == [2]
    closing.leave(2)

    def failing() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        freezing.freeze(failing)
    assert closing.enter(request(Opcode.WRITE, 3))
