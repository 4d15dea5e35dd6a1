"""Work done on a mounted folder, each a figure: MiB or operations a second, or seconds."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

SECONDS: Final = 4
CREATES: Final = 5_000
GIT_FILES: Final = 5_000
PROGRAMS: Final = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class Task(NamedTuple):
    """`unit` is what `run` gives of a folder; `more`: the higher the better. `only`: the systems it
    is for, all when empty."""

    name: str
    unit: str
    run: Callable[[Path], float]
    more: bool = True
    only: tuple[str, ...] = ()


def _fio(folder: Path, *options: str) -> dict[str, Any]:
    where = folder / "fio"
    where.mkdir(exist_ok=True)
    command = [
        "fio",
        "--name=a",
        f"--directory={where}",
        "--output-format=json",
        "--ioengine=psync",
    ]
    timed = [f"--runtime={SECONDS}", "--time_based", "--fallocate=none", "--group_reporting"]
    done = subprocess.run([*command, *timed, *options], capture_output=True, text=True, check=True)
    (found,) = json.loads(done.stdout)["jobs"]
    return dict(found)


def _rate(kind: str, *options: str) -> Callable[[Path], float]:
    def run(folder: Path) -> float:
        return float(_fio(folder, *options)[kind]["iops"])

    return run


def creates(folder: Path) -> float:
    """Files made a second, in ten folders."""
    script = (
        "import os, sys, time\n"
        "for n in range(10): os.mkdir(f'{sys.argv[1]}/{n}')\n"
        "begin = time.perf_counter()\n"
        "for n in range(int(sys.argv[2])):\n"
        "    os.close(os.open(f'{sys.argv[1]}/{n % 10}/file{n}', os.O_CREAT | os.O_WRONLY))\n"
        "print(time.perf_counter() - begin)\n"
    )
    where = folder / f"made{time.monotonic_ns()}"
    where.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script, where, str(CREATES)], capture_output=True, check=True
    )
    return CREATES / float(done.stdout)


def git_status(folder: Path) -> float:
    """Seconds, with everything in memory."""
    where = folder / "git"
    git = ["git", "-C", str(where), "-c", "user.name=a", "-c", "user.email=a@b"]
    if not where.exists():
        for number in range(GIT_FILES):
            path = where / f"d{number % 50}" / f"f{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{number}\n")
        for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
            subprocess.run([*git, *command], check=True)
        time.sleep(1.1)  # what is as old as the index is read again
        subprocess.run([*git, "status"], check=True, capture_output=True)
    found = []
    for _ in range(5):
        begin = time.perf_counter()
        subprocess.run([*git, "status", "--porcelain"], check=True, capture_output=True)
        found.append(time.perf_counter() - begin)
    return sorted(found)[2]


def pgbench(folder: Path) -> float:
    """Transactions a second of four clients."""
    owner = pwd.getpwnam("postgres")
    data, run = folder / "pg", Path("/var/tmp/treering-bench-pg")
    shutil.rmtree(run, ignore_errors=True)
    for path in (data, run):
        path.mkdir(exist_ok=True)
        os.chown(path, owner.pw_uid, owner.pw_gid)

    def call(program: str, *arguments: str | Path) -> str:
        done = subprocess.run(
            [PROGRAMS[-1] / program, *arguments],
            env={"PATH": os.environ["PATH"], "PGHOST": str(run), "LC_ALL": "C.UTF-8"},
            cwd="/",
            user=owner.pw_uid,
            group=owner.pw_gid,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    fresh = not any(data.iterdir())
    if fresh:
        call("initdb", "-D", data, "-A", "trust")
    options = f"-k {run} -c listen_addresses=''"
    call("pg_ctl", "-D", data, "-w", "-l", run / "log", "-o", options, "start")
    try:
        if fresh:
            call("pgbench", "-i", "-q", "-s", "10", "postgres")
        said = call("pgbench", "-c", "4", "-T", str(2 * SECONDS), "postgres")
    finally:
        call("pg_ctl", "-D", data, "-w", "-m", "fast", "stop")
    (line,) = (line for line in said.splitlines() if line.startswith("tps"))
    return float(line.split()[2])


LARGE: Final = ("--bs=1M", "--size=512M")
SMALL: Final = ("--bs=4k", "--size=256M")
FOUR: Final = ("--numjobs=4",)
TASKS: Final = (
    Task("1 MiB writes", "MiB/s", _rate("write", "--rw=write", *LARGE)),
    Task("1 MiB reads", "MiB/s", _rate("read", "--rw=read", *LARGE)),
    Task("4 KiB random writes", "/s", _rate("write", "--rw=randwrite", *SMALL)),
    Task(
        "4 KiB random writes, 4 clients",
        "/s",
        _rate("write", "--rw=randwrite", "--numjobs=4", *SMALL),
    ),
    Task("4 KiB random reads", "/s", _rate("read", "--rw=randread", *SMALL)),
    Task("creates", "/s", creates),
    Task("git status", "s", git_status, more=False),
    Task("pgbench, 4 clients", "/s", pgbench, only=("native", "treering", "treering, no journal")),
)
