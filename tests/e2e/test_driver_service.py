"""The process that serves an attached tree: its start, what it says, and its ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attached_trees import wait_until_off

from treering.store.errors import Conflict, DriverError
from treering.store.repository import Repository
from treering.tracker.fuse.control import ask, ask_for_parts
from treering.tracker.fuse.surroundings import mount_points_below, mounted_on


class Serving:
    """A service over `top`, whose repository lies in it."""

    def __init__(self, folder: Path) -> None:
        self.top = folder / "tree"
        self.socket = folder / "run" / "tree.sock"
        self.repository = self.top / ".treering"
        if not self.top.exists():
            self.top.mkdir()
            Repository.create(self.repository, 65536)
        reading, writing = os.pipe()
        settings = {
            "top": str(self.top),
            "repository": str(self.repository),
            "block_size": 65536,
            "socket": str(self.socket),
            "ready": writing,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "treering.tracker.fuse.service", json.dumps(settings)],
            pass_fds=[writing],
            stderr=subprocess.PIPE,
        )
        os.close(writing)
        with open(reading, "rb") as pipe:
            self.said: dict[str, Any] = json.loads(pipe.readline() or b"null")

    def ask(self, what: str, **more: Any) -> dict[str, Any]:
        return ask(self.socket, what, **more)

    def rows(self, what: str) -> Iterator[dict[str, Any]]:
        for part in ask_for_parts(self.socket, what):
            yield from part["rows"]

    def wait(self) -> str:
        """Until it has ended; what it logged."""
        _, err = self.process.communicate(timeout=30)
        return err.decode()


@contextmanager
def serving(folder: Path) -> Iterator[Serving]:
    made = Serving(folder)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()
        for path in (made.repository, made.top):
            subprocess.run(["umount", "-l", path], check=False, capture_output=True)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path) as made:
        assert made.said == {}
        yield made


def test_what_it_says_of_itself(service: Serving) -> None:
    (service.top / "disk").write_bytes(bytes(200_000))
    (service.top / "small").write_bytes(b"x")
    status = service.ask("status")
    assert status["dirty"] == 3  # two files, and the names of the top folder
    assert status["dirty_bytes"] == 5 * 65536
    assert (status["era"], status["top"]) == (1, str(service.top))
    assert status["requests"] > 5
    assert list(service.rows("maps")) == [
        {"file": "disk", "base": None, "block": 0, "count": 4, "status": "active"},
        {"file": "small", "base": None, "block": 0, "count": 1, "status": "active"},
    ]
    with pytest.raises(DriverError, match="knows no 'nonsense'"):
        service.ask("nonsense")


def test_maps_larger_than_a_message_come_in_parts(service: Serving) -> None:
    """Each byte of these names takes six in JSON."""
    folder = os.fsencode(service.top)
    for _ in range(10):
        folder = os.path.join(folder, b"\xff" * 255)  # noqa: PTH118 - bytes
        os.mkdir(folder)
    for number in range(100):
        path = folder + b"/%d" % number
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.truncate(path, 1)
    found = [row["file"].rsplit("/", 1)[1] for row in service.rows("maps")]
    assert sorted(found, key=int) == [str(number) for number in range(100)]


def test_the_repository_bypasses_it(service: Serving) -> None:
    before = service.ask("status")["requests"]
    for number in range(200):
        (service.repository / "tmp" / f"f{number}").write_bytes(bytes(100_000))
    assert service.ask("status")["requests"] - before < 50
    assert service.ask("status")["dirty"] == 0


def test_detached_the_tree_is_as_it_was(service: Serving) -> None:
    (service.top / "f").write_bytes(b"content")
    service.ask("detach")
    service.wait()
    assert service.process.returncode == 0
    wait_until_off(service.top)
    assert (service.top / "f").read_bytes() == b"content"
    assert not service.socket.exists()


def test_detaching_names_who_uses_it(service: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    with (service.top / "f").open("wb") as file:
        with pytest.raises(Conflict, match=rf"in use by .*\({os.getpid()}\)") as caught:
            service.ask("detach", wait=0.5)
        assert "--force" in (caught.value.hint or "")
        file.write(b"went on")
    assert (service.top / "f").read_bytes() == b"went on"
    assert service.ask("status")["era"] == 1
    assert mount_points_below(service.top) == [b".treering"]


def test_forced_it_goes_from_sight_and_ends_with_its_users(service: Serving) -> None:
    with (service.top / "f").open("wb") as file:
        service.ask("detach", force=True)
        wait_until_off(service.top)
        file.write(b"late")
    service.wait()
    assert (service.top / "f").read_bytes() == b"late"


def test_killed_it_leaves_a_tree_that_can_be_used(service: Serving) -> None:
    (service.top / "f").write_bytes(b"content")
    service.process.kill()
    wait_until_off(service.top)
    assert (service.top / "f").read_bytes() == b"content"
    (service.top / "f").write_bytes(b"more")


def test_aborted_it_leaves_no_dead_mount(service: Serving) -> None:
    """As an administrator does who frees what hangs on it."""
    control = Path("/sys/fs/fuse/connections")
    if not any(control.iterdir()):
        subprocess.run(["mount", "-t", "fusectl", "none", control], check=True)
    (service.top / "f").write_bytes(b"content")
    (control / str(os.minor(service.top.stat().st_dev)) / "abort").write_text("1")
    service.wait()
    wait_until_off(service.top)
    assert (service.top / "f").read_bytes() == b"content"


def test_a_signal_takes_it_off(service: Serving) -> None:
    service.process.terminate()
    service.wait()
    assert service.process.returncode == 0
    wait_until_off(service.top)


def test_a_second_one_is_refused(service: Serving, tmp_path: Path) -> None:
    second = Serving(tmp_path)
    assert "in use" in second.said["error"]
    second.wait()
    assert second.process.returncode == 1
    assert service.ask("status")["era"] == 1
    assert mounted_on(service.top) is not None


def test_after_a_kill_it_can_be_attached_again(service: Serving, tmp_path: Path) -> None:
    (service.top / "f").write_bytes(b"content")
    service.process.kill()
    wait_until_off(service.top)
    with serving(tmp_path) as again:
        assert again.said == {}
        assert (again.top / "f").read_bytes() == b"content"
        again.ask("detach")
        again.wait()


WRITER = """
import os, sys
number = 0
while True:
    number += 1
    path = f"{sys.argv[1]}/f{number % 50}"
    try:
        with open(path + ".new", "wb") as file:
            file.write(b"%d" % number * 1000)
            os.fsync(file.fileno())
        os.rename(path + ".new", path)
        os.write(1, b"%d\\n" % number)
    except OSError as error:
        sys.exit(f"ended: {error.strerror}")
"""
TIMES = 200 if os.environ.get("TREERING_LONG") == "1" else 3


def test_killed_under_load_nobody_hangs(tmp_path: Path) -> None:
    """Whatever a writer was told to be done is there."""
    for _ in range(TIMES):
        with serving(tmp_path) as service:
            command = [sys.executable, "-c", WRITER, str(service.top)]
            writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(0.5)
            service.process.kill()
            out, err = writer.communicate(timeout=20)
            assert b"ended: " in err
            wait_until_off(service.top)
            done = int(out.split()[-1])
            following = [b"%d" % number * 1000 for number in (done, done + 50)]
            assert (service.top / f"f{done % 50}").read_bytes() in following
            (service.top / "usable").write_bytes(b"yes")
