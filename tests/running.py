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
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

TREERING = str(Path(sys.executable).with_name("treering"))
SECONDS = 600 if os.environ.get("TREERING_LONG") == "1" else 60
"""What takes longer hangs: long runs share the machine with others."""


class Done(NamedTuple):
    """How a command ended. `code` is negative for a signal."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


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
    return Done(code, found.stdout.decode(errors="replace"), found.stderr.decode(errors="replace"))


_SERVER = """
import json, os, sys
import blake3, click, lmdb, msgspec, pathspec, pygit2, sqlite3, zstandard
from treering.cli.main import run
for line in sys.stdin:
    folder, out, err, arguments = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(out, flags), 1)
        os.dup2(os.open(err, flags), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        code = 1
        try:
            code = run(arguments)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class _Server:
    """Runs whole commands, each in a process of its own, forked from one that has imported all:
    the checks around a fault take a tenth of the time. What is under test is run by `run`."""

    def __init__(self) -> None:
        self._scratch = tempfile.mkdtemp(prefix="treering-commands-")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            env=environment(Path(self._scratch)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        atexit.register(self._close)

    def run(self, folder: Path, arguments: Sequence[str]) -> Done:
        assert self._process.stdin is not None and self._process.stdout is not None
        out, err = Path(self._scratch, "out"), Path(self._scratch, "err")
        request = [str(folder), str(out), str(err), arguments]
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], SECONDS)
        if not ready:
            self._close()
            del _servers.mine  # whose next answer would be to this
            raise AssertionError(f"hangs: {arguments} in {folder}")
        code = int(self._process.stdout.readline())
        return Done(code, out.read_text(errors="replace"), err.read_text(errors="replace"))

    def _close(self) -> None:
        self._process.kill()
        self._process.communicate()
        shutil.rmtree(self._scratch, ignore_errors=True)


_servers = threading.local()


def treering(folder: Path, *arguments: str) -> Done:
    """A command without faults, in a folder."""
    if not hasattr(_servers, "mine"):
        _servers.mine = _Server()
    server: _Server = _servers.mine
    return server.run(folder, arguments)


def succeed(folder: Path, *arguments: str) -> Done:
    """A command that must end with 0."""
    done = treering(folder, *arguments)
    assert done.code == 0, (arguments, done)
    return done
