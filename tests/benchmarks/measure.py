"""What a command costs, all processes below it counted: seconds, CPU seconds, peak anonymous
memory, bytes written; and what lies in a repository by kind.

CPU is what `wait4` says of the command and all that it has waited for. Written is what the same
processes handed to write calls, pipes included (`wchar` of /proc/PID/io, which a process inherits
from the children it has waited for). Its neighbour `write_bytes` counts the whole page-cache folio
of a changed byte, up to 2 MiB in some file systems, so that it says nothing here. Memory is the
highest sum of RssAnon over the family, looked at every 50 ms: pages that a fork still shares count
twice, so it is rather too much than too little.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

TREERING: Final = Path(os.environ.get("TREERING", Path(sys.executable).parent / "treering"))
INTERVAL: Final = 0.05
SECTOR: Final = 512


@dataclass(frozen=True)
class Figures:
    """`wall` and `cpu` in seconds, `memory` and `written` in bytes."""

    wall: float
    cpu: float
    memory: int
    written: int

    def __add__(self, other: Figures) -> Figures:
        """Of one command after another."""
        return Figures(
            self.wall + other.wall,
            self.cpu + other.cpu,
            max(self.memory, other.memory),
            self.written + other.written,
        )

    def __str__(self) -> str:
        return (
            f"{self.wall:8.2f} s  cpu {self.cpu:8.2f} s  {self.memory / 2**20:6.0f} MiB"
            f"  wrote {self.written / 2**20:9.2f} MiB"
        )


def run(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: int | IO[bytes] | None = subprocess.DEVNULL,
    exits: Sequence[int] = (0,),
) -> Figures:
    """Run a command to its end; `environment` is added to ours. CalledProcessError when it ends
    with a code that is not among `exits`."""
    written = _written()
    started = time.monotonic()
    merged = {**os.environ, **(environment or {})}
    child = subprocess.Popen(command, env=merged, cwd=cwd, stdout=stdout)
    watcher = _Watcher(child.pid)
    watcher.start()
    try:
        _, status, usage = os.wait4(child.pid, 0)
    finally:
        watcher.ended.set()
    wall = time.monotonic() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    watcher.join()
    if child.returncode not in exits:
        raise subprocess.CalledProcessError(child.returncode, command)
    cpu = usage.ru_utime + usage.ru_stime
    return Figures(wall, cpu, watcher.peak, _written() - written)


def _written() -> int:
    """Bytes written by this process and all that it has waited for."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))


def treering(top: Path, *arguments: str, stdout: int | IO[bytes] = subprocess.DEVNULL) -> Figures:
    """Run treering in `top`."""
    return run([TREERING, "-C", top, *arguments], stdout=stdout)


def sizes(folder: Path) -> dict[str, int]:
    """Bytes that the files of a folder take on disk, by the first part of their path."""
    found: dict[str, int] = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            part = path.relative_to(folder).parts[0]
            found[part] = found.get(part, 0) + path.lstat().st_blocks * SECTOR
    return found


class _Watcher(threading.Thread):
    """Looks at the memory of a process and all below it until `ended`."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self.ended = threading.Event()
        self.peak = 0

    def run(self) -> None:
        while not self.ended.is_set():
            self.peak = max(self.peak, sum(map(anonymous, family(self._pid))))
            self.ended.wait(INTERVAL)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for process in found:
        try:
            for task in Path(f"/proc/{process}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def anonymous(pid: int) -> int:
    """Anonymous memory of a process in bytes; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
