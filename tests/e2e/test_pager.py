"""The pager, on a real terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import threading

import pytest
from live_trees import PROGRAM, Work, environment

PAGED = "sed s/^/PAGED:/"


def on_terminal(work: Work, *arguments: str, **variables: str) -> tuple[int, list[str], str]:
    """Run the command on a terminal: exit code, lines on it, and what stood on stderr."""
    leader, follower = pty.openpty()
    pieces: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(leader, 1 << 16):
                pieces.append(piece)
        except OSError:
            pass  # the other side is closed

    process = subprocess.Popen(
        [PROGRAM, *arguments],
        cwd=work.top,
        env={**environment(work.home), "TERM": "xterm", **variables},
        stdin=follower,
        stdout=follower,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(follower)
    reader = threading.Thread(target=read)
    reader.start()
    err = process.communicate(timeout=60)[1]
    reader.join(timeout=60)
    assert not reader.is_alive(), "something still has the terminal"
    os.close(leader)
    return process.returncode, b"".join(pieces).decode().splitlines(), err.decode()


@pytest.mark.parametrize(
    "arguments", [["log", "--oneline"], ["log", "--graph"], ["show"], ["ls"], ["branch"], ["tag"]]
)
def test_listings_go_through_it(two: Work, arguments: list[str]) -> None:
    two("tag", "v1")
    code, lines, err = on_terminal(two, *arguments, TREERING_PAGER=PAGED)
    assert (code, err) == (0, "")
    assert [line.removeprefix("PAGED:") for line in lines] == two(*arguments).lines
    assert all(line.startswith("PAGED:") for line in lines)


def test_which_one_it_is(two: Work) -> None:
    def paged(**variables: str) -> bool:
        return on_terminal(two, "ls", **variables)[1] == ["PAGED:a"]

    assert paged(PAGER=PAGED)
    assert not paged(PAGER=PAGED, TREERING_PAGER="")
    assert not paged(PAGER=PAGED, TREERING_PAGER="cat")
    assert not paged(GIT_PAGER=PAGED, PAGER="cat")
    two("config", "core.pager", PAGED)
    assert paged(PAGER="cat")
    assert not paged(TREERING_PAGER="cat")
    assert on_terminal(two, "--no-pager", "ls")[1] == ["a"]
    assert on_terminal(two, "ls", "--json")[1][0] == "["


def test_one_that_is_missing_is_no_error(two: Work) -> None:
    for pager in ("no-such-pager -x", '"unfinished'):
        assert on_terminal(two, "ls", TREERING_PAGER=pager) == (0, ["a"], "")


def test_less_shows_what_fits_and_ends(two: Work) -> None:
    code, lines, err = on_terminal(two, "ls", TREERING_PAGER="less")
    assert (code, err) == (0, "")
    assert any("a" in line for line in lines), lines


def test_whoever_leaves_it_early(work: Work) -> None:
    work.write("long", "line\n" * 150_000)
    work.commit()
    code, lines, err = on_terminal(work, "show", TREERING_PAGER="head -n 1")
    assert (code, err) == (0, "")
    assert len(lines) == 1 and lines[0].startswith("commit ")
    assert on_terminal(work, "show", TREERING_PAGER="false") == (0, [], "")


def test_the_exit_code_survives(two: Work) -> None:
    code, lines, err = on_terminal(two, "ls", "HEAD:nowhere", TREERING_PAGER=PAGED)
    assert (code, lines) == (1, [])
    assert err.startswith("treering: no such path")


def test_an_interrupt_leaves_nothing_behind(work: Work) -> None:
    work.write("long", "line\n" * 150_000)
    work.commit()
    pager = "sh -c 'kill -INT $PPID; sleep 0.3; cat >/dev/null; echo left'"
    code, lines, err = on_terminal(work, "show", TREERING_PAGER=pager)
    assert code in (0, 130)
    assert lines == ["left"]
    assert err.strip() in ("", "treering: interrupted")
