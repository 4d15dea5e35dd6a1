"""Commands of an attached tree that its worker runs: nobody sees a difference but in time."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from attached_trees import SOCKETS, attached, away, driver
from live_trees import PROGRAM, Work, as_somebody, environment, finished
from running import Done

from treering.cli.worker_client import LENGTH, worker_socket
from treering.tracker.fuse.control import socket_path


def place(work: Work) -> Path:
    return worker_socket(socket_path(SOCKETS, work.top))


def listening(work: Work) -> bool:
    """Whether it does, after a while."""
    for _ in range(200):
        with socket.socket(socket.AF_UNIX) as probe:
            if not probe.connect_ex(str(place(work))):
                return True
        time.sleep(0.05)
    return False


@pytest.fixture
def here(work: Work) -> Iterator[Work]:
    work.write("a", "a")
    work.write("d/b", "b")
    work.commit("first")
    with attached(work):
        assert listening(work)
        work.write("a", "changed")
        yield work


def ran_here(work: Work, log: Path, *arguments: str, under: Sequence[str] = ()) -> bool:
    """Whether the command itself opened the repository."""
    how = [*under, "strace", "-f", "-o", str(log), "-e", "trace=%file"]
    Work(work.home, work.top, how)("-C", str(work.top), *arguments)
    return ".treering/format" in log.read_text("utf-8", "surrogateescape")


def both(work: Work, *arguments: str, cwd: Path | None = None) -> tuple[Done, Done]:
    """The command by the worker, and by itself."""
    found = []
    for more in ({}, {"TREERING_NO_WORKER": "1"}):
        done = subprocess.run(
            [PROGRAM, *arguments],
            cwd=cwd or work.top,
            env={**environment(work.home), **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        found.append(Done(done.returncode, done.stdout, done.stderr.decode()))
    return found[0], found[1]


def test_it_runs_what_it_is_for(here: Work, tmp_path: Path) -> None:
    assert not ran_here(here, tmp_path / "log", "status")
    assert ran_here(here, tmp_path / "log", "log")


@pytest.mark.parametrize(
    "under", [["nice", "-n", "3"], ["prlimit", "--fsize=99999999"], ["setpriv", "--no-new-privs"]]
)
def test_who_is_not_as_it_is_runs_by_themselves(
    here: Work, tmp_path: Path, under: list[str]
) -> None:
    assert ran_here(here, tmp_path / "log", "status", under=under)


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["status", "--json", "--regions"],
        ["-q", "status", "-z"],
        ["status", "--nonsense"],
        ["commit", "nothing/there", "-m", "x"],
        ["commit", "--help"],
        ["-C", "d", "status"],
    ],
)
def test_what_it_says_is_what_the_command_says(here: Work, arguments: list[str]) -> None:
    by_worker, alone = both(here, *arguments)
    assert by_worker == alone


def test_from_a_folder_below(here: Work) -> None:
    here.write("d/b", "changed")
    here("commit", "-q", "-m", "by path", "b", cwd=here.top / "d")
    assert here.changes() == {"a": "modified"}


def test_a_commit_has_the_callers_surroundings(here: Work) -> None:
    subprocess.run(
        [PROGRAM, "-C", here.top, "commit", "-q", "-m", "theirs"],
        env={
            **environment(here.home),
            "TREERING_AUTHOR_NAME": "Ann",
            "TREERING_AUTHOR_EMAIL": "ann@example.org",
            "TZ": "Etc/GMT-5",
        },
        cwd=here.home,
        check=True,
    )
    (found,) = away(here, "log", "--json", "-n1").json
    assert (found["author"]["name"], found["author"]["offset"]) == ("Ann", 300)


def test_interrupted(here: Work) -> None:
    """While it waits for a lock."""
    before = here.root()
    with (here.top / ".treering" / "tmp" / "commit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = here.start("-C", str(here.top), "commit", "-m", "x", cwd=here.home)
        assert process.stderr is not None
        assert b"waiting" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        finished(process, 130)
    assert here.root() == before
    away(here, "commit", "-m", "x")


def test_the_command_ends_with_who_called_it(here: Work) -> None:
    with (here.top / ".treering" / "tmp" / "commit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = here.start("-C", str(here.top), "commit", "-m", "x", cwd=here.home)
        assert process.stderr is not None
        process.stderr.readline()
        process.kill()
        process.communicate()
        time.sleep(0.5)
    before = here.root()
    time.sleep(0.5)
    assert here.root() == before, "nobody commits any more"


def test_without_it_the_command_runs_by_itself(here: Work, tmp_path: Path) -> None:
    for line in subprocess.check_output(["ps", "-ewwo", "pid,args"], text=True).splitlines():
        if str(place(here)) in line and "treering.cli.worker" in line:
            os.kill(int(line.split()[0]), signal.SIGKILL)
    assert ran_here(here, tmp_path / "log", "status")
    assert away(here, "status", "--json").json["changes"][0]["path"] == "a"


def test_a_command_under_way_outlives_the_driver(here: Work) -> None:
    with (here.top / ".treering" / "tmp" / "commit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = here.start("-C", str(here.top), "commit", "-m", "last", cwd=here.home)
        assert process.stderr is not None
        process.stderr.readline()
        os.kill(driver(here)["pid"], signal.SIGKILL)
        time.sleep(0.3)
    finished(process, 0)
    (found,) = away(here, "log", "--json", "-n1").json
    assert found["message"] == "last\n"


def test_it_ends_with_the_driver(here: Work) -> None:
    os.kill(driver(here)["pid"], signal.SIGKILL)
    for _ in range(100):
        if not place(here).exists():
            return
        time.sleep(0.05)
    raise AssertionError("it goes on")


def test_garbage_and_other_users_are_dropped(here: Work) -> None:
    path = str(place(here))
    for garbage in (b"", b"\xff" * 100, LENGTH.pack(10) + b"{}", LENGTH.pack(2) + b"{}"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
            probe.sendall(garbage)
            probe.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                assert probe.recv(1) == b""

    def try_it() -> None:
        with socket.socket(socket.AF_UNIX) as probe:
            assert probe.connect_ex(path) != 0

    as_somebody(try_it)
    other = json.dumps({"version": "0"}).encode()
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(path)
        streams = [os.dup(0) for _ in range(4)]
        socket.send_fds(probe, [LENGTH.pack(len(other)) + other], streams)
        assert probe.recv(1) == b""
        for stream in streams:
            os.close(stream)
    assert listening(here)
