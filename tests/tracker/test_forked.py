"""Processes forked from a command, each in an interpreter that has no other threads."""

from __future__ import annotations

import subprocess
import sys

PREAMBLE = """
import os, threading, time
from treering.tracker.forked import Forked, can_fork
def numbers():
    for number in range(2500):
        yield number, b"x" * 100
def breaks():
    yield from numbers()
    raise MemoryError
def killed():
    yield from numbers()
    os.kill(os.getpid(), 9)
def prints():
    print("not to be seen")
    yield os.getpid()
"""


def said(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + script],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_what_was_found_comes_back_in_order() -> None:
    script = "(found,) = Forked(numbers).results(); print(list(found) == list(numbers()))"
    assert said(script) == ["True"]


def test_one_that_did_not_end_well_has_no_answer() -> None:
    assert said("print([Forked(work).results() for work in (breaks, killed)])") == ["[[], []]"]


def test_it_is_another_process_and_says_nothing() -> None:
    script = """
print("before", end=" ")
(found,) = Forked(prints).results()
(pid,) = found
print(pid != os.getpid())
"""
    assert said(script) == ["before True"]


def test_closed_early_it_is_gone() -> None:
    script = """
forked = Forked(lambda: iter(lambda: time.sleep(1), 0))
pid = forked._pid
forked.close()
forked.close()
try:
    os.kill(pid, 0)
except ProcessLookupError:
    print("gone")
"""
    assert said(script) == ["gone"]


def test_no_fork_beside_other_threads() -> None:
    script = """
print(can_fork())
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(can_fork())
"""
    assert said(script) == ["True", "False"]
