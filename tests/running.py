"""Running the real command: in a process of its own, or forked from one that has imported all."""

from __future__ import annotations

import atexit
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TREERING = str(Path(sys.executable).with_name("treering"))
SECONDS = 600 if os.environ.get("TREERING_LONG") == "1" else 60
"""What takes longer hangs: long runs share the machine with others."""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed. `code` is negative for a signal."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode("utf-8", "surrogateescape")

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def error(self) -> Any:
        """The error document that `--json` prints."""
        return json.loads(self.err)


def environment(home: Path) -> dict[str, str]:
    """Nothing of the user's own settings."""
    found = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    names = {"TREERING_AUTHOR_NAME": "Ann", "TREERING_AUTHOR_EMAIL": "ann@example.org"}
    return {**found, **names, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}


def run(command: Sequence[str], folder: Path) -> Done:
    found = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        timeout=SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    code = found.returncode if found.returncode < 128 or found.returncode == 130 else -9
    return Done(code, found.stdout, found.stderr.decode("utf-8", "surrogateescape"))


_SERVER = """
import importlib, json, os, sys, time
import blake3, click, lmdb, msgspec, pathspec, pygit2, sqlite3, zstandard
from treering.cli.main import COMMANDS, main

for name in COMMANDS:
    importlib.import_module("treering.cli.commands." + name)
for line in sys.stdin:
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    os._exit(0)
folder, settings, arguments, out, err = json.loads(line)
os.environ.clear()
os.environ.update(settings)
time.tzset()
os.chdir(folder)
for path, flags, number in (
    (os.devnull, os.O_RDONLY, 0),
    (out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 1),
    (err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 2),
):
    opened = os.open(path, flags)
    os.dup2(opened, number)
    os.close(opened)
sys.argv[:] = ["treering", *arguments]
main()
"""


class Server:
    """Runs whole commands, one after the other, each in a process of its own, forked from one that
    has imported all: a command takes a tenth of the time. Its end is that of any command."""

    def __init__(self) -> None:
        self._scratch = tempfile.mkdtemp(prefix="treering-commands-")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            env={**os.environ, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        atexit.register(self._close)

    def run(
        self, folder: Path, settings: Mapping[str, str], arguments: Sequence[str | bytes]
    ) -> Done:
        """One command in `folder`, `settings` being all its environment.
        AssertionError if it hangs; the server is of no use then."""
        assert self._process.stdin is not None and self._process.stdout is not None
        out, err = Path(self._scratch, "out"), Path(self._scratch, "err")
        names = [os.fsdecode(argument) for argument in arguments]
        request = json.dumps([str(folder), dict(settings), names, str(out), str(err)])
        self._process.stdin.write(request.encode() + b"\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], SECONDS)
        if not ready:
            self._close()
            raise AssertionError(f"hangs: {names} in {folder}")
        code = int(self._process.stdout.readline())
        return Done(code, out.read_bytes(), err.read_text("utf-8", "surrogateescape"))

    def _close(self) -> None:
        self._process.kill()
        self._process.communicate()
        shutil.rmtree(self._scratch, ignore_errors=True)


_idle: list[Server] = []


def run_forked(folder: Path, settings: Mapping[str, str], arguments: Sequence[str | bytes]) -> Done:
    """A command by a server that has nothing to do: as many as there are threads that ask."""
    try:
        server = _idle.pop()
    except IndexError:
        server = Server()
    done = server.run(folder, settings, arguments)
    _idle.append(server)
    return done


def treering(folder: Path, *arguments: str) -> Done:
    """A command without faults, in a folder."""
    return run_forked(folder, environment(folder), arguments)


def succeed(folder: Path, *arguments: str) -> Done:
    """A command that must end with 0."""
    done = treering(folder, *arguments)
    assert done.code == 0, (arguments, done)
    return done
