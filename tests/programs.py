"""Programs that work beside a test, until it is done with them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def working(commands: Iterable[Sequence[str]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """They are killed at the end, unless they have ended before."""
    programs = [subprocess.Popen(each, cwd="/", stderr=subprocess.PIPE) for each in commands]
    try:
        yield programs
    finally:
        for program in programs:
            program.kill()
            program.communicate()


def check_alive(programs: Iterable[subprocess.Popen[bytes]]) -> None:
    """None has ended: what it said if one has."""
    for program in programs:
        if program.poll() is not None:
            raise AssertionError(program.communicate()[1])
