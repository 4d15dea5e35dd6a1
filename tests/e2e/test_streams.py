"""Standard streams that are full, closed, or whose reader has gone."""

from __future__ import annotations

import subprocess

import pytest
from live_trees import PROGRAM, Work, build, environment
from running import Done

FULL = "treering: writing the output: No space left on device"


@pytest.fixture
def some(work: Work) -> Work:
    build(work.top, {"notes": b"line\n" * 100_000, "d/e/f": b"f", "text": b"old\n" * 30_000})
    work.commit()
    work.write("text", b"new\n" * 30_000)
    return work


def shell(work: Work, command: str) -> Done:
    """A line of shell, in which T is treering; its code is that of the first command."""
    done = subprocess.run(
        ["bash", "-c", f"T={PROGRAM}; {command}; exit ${{PIPESTATUS[0]}}"],
        cwd=work.top,
        env=environment(work.home),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr.decode())


@pytest.mark.parametrize(
    "command",
    ["log", "log --json", "ls", "status", "cat HEAD:notes", "fsck", "show", "diff", "dump"],
)
def test_full_output(some: Work, command: str) -> None:
    done = shell(some, f"$T {command} >/dev/full")
    assert done.code == 1
    assert len(done.err.splitlines()) <= 2 and "No space left on device" in done.err
    if command in ("status", "cat HEAD:notes", "show", "diff", "dump"):
        assert done.err.splitlines()[0] == FULL
    silent = shell(some, f"$T {command} >/dev/full 2>&1")
    assert (silent.code, silent.err) == (1, "")


@pytest.mark.parametrize("command", ["log", "log --json", "ls -R", "cat HEAD:notes", "--help"])
def test_output_that_nobody_reads(some: Work, command: str) -> None:
    for reader in ("head -c 1", "true"):
        done = shell(some, f"$T {command} | {reader}")
        assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("closed", ["2>/dev/full", "2>&-", "2> >(true)"])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("status", 0),
        ("-v commit --allow-empty -m m", 0),
        ("fsck --rebuild-index", 0),
        ("log nonsense", 1),
        ("log nonsense --json", 1),
        ("nonsense", 2),
        ("", 2),
    ],
)
def test_messages_that_nobody_gets(some: Work, command: str, code: int, closed: str) -> None:
    """The command does what it does with them."""
    assert shell(some, f"$T {command} {closed}").code == code


@pytest.mark.parametrize("closed", [">&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams(some: Work, closed: str) -> None:
    """No file of the repository takes their place."""
    some.write("notes", "other")
    for command in ("status", "commit -m m", "log", "cat HEAD:notes", "fsck --rebuild-index"):
        done = shell(some, f"$T {command} {closed}")
        assert done.code == 0, (command, done.err)
        assert "Traceback" not in done.err
    assert some("fsck", "--read-data").out.endswith(": whole\n")
