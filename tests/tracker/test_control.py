"""The control socket answers its user, and nobody and nothing else."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from live_trees import as_somebody

from treering.store.errors import Conflict, DriverError, InvalidInput
from treering.tracker.fuse.control import ControlServer, ask, ask_for_parts, socket_path


def answer(request: dict[str, Any]) -> dict[str, Any] | Iterator[dict[str, Any]]:
    match request["do"]:
        case "echo":
            return {"said": request["text"]}
        case "refuse":
            raise InvalidInput("not this", hint="but that")
        case "count":
            return parts(request["until"], request.get("fails", -1))
    raise ZeroDivisionError


def parts(until: int, fails: int) -> Iterator[dict[str, Any]]:
    for number in range(until):
        if number == fails:
            raise Conflict("no further")
        yield {"number": number, "ballast": "x" * 10_000}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "tree.sock"


@pytest.fixture
def server(path: Path) -> Iterator[ControlServer]:
    made = ControlServer(path, answer)
    yield made
    made.close()


@pytest.mark.usefixtures("server")
def test_it_answers(path: Path) -> None:
    assert ask(path, "echo", text="ä" * 100_000) == {"said": "ä" * 100_000}
    with pytest.raises(DriverError, match="not this") as caught:
        ask(path, "refuse")
    assert caught.value.hint == "but that"
    with pytest.raises(DriverError, match="its log says more"):
        ask(path, "break")
    assert ask(path, "echo", text="still there") == {"said": "still there"}


@pytest.mark.usefixtures("server")
def test_an_answer_in_parts(path: Path) -> None:
    for until in (0, 1, 500):
        found = [part["number"] for part in ask_for_parts(path, "count", until=until)]
        assert found == list(range(until))
    replies = ask_for_parts(path, "count", until=10, fails=3)
    assert [next(replies)["number"] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Conflict, match="no further"):
        next(replies)


@pytest.mark.usefixtures("server")
def test_who_reads_no_further_keeps_nobody_waiting(path: Path) -> None:
    slow = ask_for_parts(path, "count", until=100_000)
    next(slow)
    assert ask(path, "echo", text="meanwhile") == {"said": "meanwhile"}
    slow.close()
    assert ask(path, "echo", text="after it") == {"said": "after it"}


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x01",
        struct.pack("<I", 5) + b"{}",
        struct.pack("<I", 0xFFFFFFFF) + b"x" * 100,
        struct.pack("<I", 4) + b"\xff\xff\xff\xff",
        struct.pack("<I", 2) + b"[]",
        struct.pack("<I", 100_000) + b"[" * 100_000,
        os.urandom(5000),
    ],
)
def test_garbage_is_dropped(path: Path, garbage: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            assert connection.recv(10) == b""
    assert ask(path, "echo", text="x") == {"said": "x"}


@pytest.mark.usefixtures("server")
def test_many_at_once(path: Path) -> None:
    found = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(ask(path, "echo", text=n)["said"]))
        for n in range(200)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(200))


def test_another_user_is_not_answered() -> None:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="treering-test-"))
    folder.chmod(0o755)
    path = folder / "tree.sock"
    server = ControlServer(path, answer)
    path.chmod(0o777)  # were it not for what the kernel says of the peer

    def try_it() -> None:
        with pytest.raises(DriverError, match="does not answer"):
            ask(path, "echo", text="x")

    try:
        as_somebody(try_it)
    finally:
        server.close()
        shutil.rmtree(folder)


def test_what_a_killed_driver_left_is_taken_over(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(DriverError, match="does not answer"):
        ask(path, "echo", text="x")
    server = ControlServer(path, answer)
    assert ask(path, "echo", text="x") == {"said": "x"}
    server.close()
    assert not path.exists()


def test_the_last_reply_is_sent_before_it_ends(path: Path) -> None:
    """A detach ends the driver while the command that asked for it waits for the reply."""
    asked, answered = threading.Event(), threading.Event()

    def slow(_request: dict[str, Any]) -> dict[str, Any]:
        asked.set()
        time.sleep(0.3)
        answered.set()
        return {"done": True}

    server = ControlServer(path, slow)
    found: list[dict[str, Any]] = []
    client = threading.Thread(target=lambda: found.append(ask(path, "detach")))
    client.start()
    asked.wait()
    server.close()
    assert answered.is_set(), "the process would have ended before"
    client.join()
    assert found == [{"done": True}]


@pytest.mark.usefixtures("server")
def test_two_cannot_listen(path: Path) -> None:
    with pytest.raises(Conflict, match="in use"):
        ControlServer(path, answer)


def test_each_tree_has_its_own(tmp_path: Path) -> None:
    paths = {socket_path(tmp_path, Path(top)) for top in ("/a", "/a/b", "/" + "x" * 4000)}
    assert len(paths) == 3
    assert all(len(path.name) < 60 for path in paths)
