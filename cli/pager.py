"""The pager: on a terminal, long listings go through a program that shows a screen at a time.

TREERING_PAGER, the setting `core.pager`, PAGER, else `less`, in this order; an empty one, `cat` or
`--no-pager` mean none. GIT_PAGER is Git's own and not asked. `less` gets LESS=FRX unless LESS is
set: it ends by itself when all fits on the screen. A pager that cannot be started is as good as
none. Whoever leaves it early breaks our pipe, which is no failure. Ctrl-C ends the command, and the
pager stays until its user leaves it, as with Git.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

DEFAULT = "less"


def chosen(environment: Mapping[str, str], setting: str | None) -> list[str]:
    """The pager to start, as words; none for no pager."""
    for text in (environment.get("TREERING_PAGER"), setting, environment.get("PAGER")):
        if text is not None:
            break
    else:
        text = DEFAULT
    with suppress(ValueError):
        words = shlex.split(text)
        return [] if words == ["cat"] else words
    return []


class Pager:
    """A running pager, with our stdout leading into it until `close`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @staticmethod
    def start(words: list[str]) -> Pager | None:
        """Start a pager and put it behind stdout; None where it cannot be started."""
        sys.stdout.flush()
        # What we print is to be as wide as the terminal, which stdout is about to leave.
        os.environ["COLUMNS"] = str(shutil.get_terminal_size().columns)
        environment = {"LESS": "FRX", "LV": "-c", **os.environ}
        try:
            process = subprocess.Popen(words, stdin=subprocess.PIPE, env=environment)
        except OSError:
            return None
        assert process.stdin is not None
        os.dup2(process.stdin.fileno(), sys.stdout.fileno())
        process.stdin.close()
        return Pager(process)

    def close(self) -> None:
        """Let the pager show the rest, and wait until its user leaves it. Nothing that is said
        afterwards is shown."""
        with suppress(OSError):
            sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
        self._process.wait()
