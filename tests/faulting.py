"""What the crash and fault tests share: the real command under strace, and the checks
that every repository must pass whatever happened to the command before.

A *point* is one system call of a command: the n-th call of its kind on one file, or, where file
names are random, the n-th of its kind in any one thread (strace counts per thread).
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest
from fault_trees import first_tree, read_tree
from running import SECONDS, TREERING, Done, run, succeed

WRITING = ["write", "pwrite64", "writev", "pwritev", "pwritev2", "fsync", "fdatasync", "msync"]
WRITING += [
    "ftruncate",
    "fallocate",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
]
WRITING += ["mkdirat", "link", "linkat", "symlinkat", "mknodat"]
METADATA = ["fchmod", "fchmodat", "fchown", "fchownat", "utimensat"]
"""What a restore changes beside content."""

KILL = "signal=SIGKILL"
FULL = "error=ENOSPC+"
FAULTS = (KILL, "error=EIO", "error=ENOSPC", FULL)
"""What may happen at a point: the process dies; the disk refuses once, or from then on."""

STRACE = ["strace", "-f", "-qq"]
QUICK = "--seccomp-bpf"
"""Only calls that are traced stop the process: half the time of a command. No signal arrives."""

COMMIT = ["commit", "-m", "second"]
RESTORE = ["restore", "--source", "HEAD~1", "--delete"]
REBUILD = ["fsck", "--rebuild-index"]

_CALL = re.compile(r"(\d+) +(\w+)\((.*)")
_DESCRIPTOR = re.compile(r"\d+<([^>]*)>")
_RANDOM = re.compile(
    r"\.tmp$|tmp_object|/objects/[0-9a-f]{2}|\.pack$|/tmp/|damaged-|/packing-|pack_"
)


Item = TypeVar("Item")


class Point(NamedTuple):
    """The `number`-th `call` on `path` (relative to the case's folder), or on anything."""

    call: str
    number: int
    path: str = ""


def first_commit(top: Path, *options: str) -> None:
    """A new tree whose first commit is the first tree. The options are those of `init`."""
    top.mkdir(parents=True)
    succeed(top, "init", *options)
    first_tree(top)
    succeed(top, "commit", "-m", "first")


def spelled(arguments: Sequence[str]) -> list[str]:
    """A whole command: treering's, or another one that begins with its path."""
    return [*([] if arguments[0].startswith("/") else [TREERING]), *arguments]


# -- points --------------------------------------------------------------------------------------


def trace(
    folder: Path, calls: Iterable[str], arguments: Sequence[str], cwd: Path, code: int = 0
) -> list[Point]:
    """Run a command whole, which ends with `code`, and list its points: calls that change something
    below `folder`."""
    log = folder / "strace.log"
    names = ",".join(f"?{name}" for name in calls)
    command = [*STRACE, QUICK, "-y", "-o", str(log), "-e", f"trace={names}"]
    done = run([*command, *spelled(arguments)], cwd)
    assert done.code == code, done
    by_path: Counter[tuple[str, str, str]] = Counter()
    by_thread: Counter[tuple[str, str]] = Counter()
    points: dict[Point, None] = {}
    for line in log.read_text(errors="replace").splitlines():
        found = _CALL.match(line)
        if not found:
            continue
        thread, call, rest = found.groups()
        by_thread[thread, call] += 1
        path = _path_of(rest, folder)
        if path is None:
            continue
        if _RANDOM.search(path):
            points[Point(call, by_thread[thread, call])] = None
        else:
            by_path[thread, call, path] += 1
            points[Point(call, by_path[thread, call, path], path)] = None
    log.unlink()
    assert points
    return list(points)


_points: dict[tuple[str, ...], list[Point]] = {}
"""Of commands that were traced already: each kind of fault has the same."""


def points_of(
    template: Path, arguments: Sequence[str], calls: Iterable[str], code: int = 0
) -> list[Point]:
    """The points of a command in the tree of a case."""
    key = (str(template), *arguments, "", *calls)
    if key not in _points:
        _points[key] = _traced(template, arguments, calls, code)
    return _points[key]


def _traced(
    template: Path, arguments: Sequence[str], calls: Iterable[str], code: int
) -> list[Point]:
    folder = template.with_name("traced")
    copy(template, folder)
    repoint(folder)
    found = trace(folder, calls, arguments, folder / "tree", code)
    shutil.rmtree(folder)
    return found


def _path_of(rest: str, folder: Path) -> str | None:
    """The path of a call, relative to the folder; None for what lies elsewhere (a pipe)."""
    found = _DESCRIPTOR.match(rest) or re.match(r'"([^"]*)"', rest)
    if not found:
        return None
    path = found[1]
    return path[len(str(folder)) + 1 :] if path.startswith(str(folder)) else None


def inject(point: Point, what: str, folder: Path, arguments: Sequence[str], cwd: Path) -> Done:
    """Run a command with `what` ("signal=SIGKILL", "error=EIO") at a point."""
    only = ["-P", str(folder / point.path)] if point.path else []
    number = f"{point.number}+" if what.endswith("+") else str(point.number)
    rule = f"inject={point.call}:{what.rstrip('+')}:when={number}"
    log = folder / "strace.log"
    quick = [] if what == KILL else [QUICK]
    command = [*STRACE, *quick, "-o", str(log), *only, "-e", f"trace={point.call}"]
    done = run([*command, "-e", rule, *spelled(arguments)], cwd)
    if was_injected(folder):
        (folder / "met").touch()
    lines = done.err.splitlines(keepends=True)
    own = [line for line in lines if not line.startswith("strace: Requested path")]
    return replace(done, err="".join(own))


def was_injected(folder: Path) -> bool:
    """Whether the point of the last `inject` in this folder was reached."""
    log = (folder / "strace.log").read_text(errors="replace")
    return "(INJECTED)" in log or "killed by SIGKILL" in log


def faults(kills: int, errors: int) -> pytest.MarkDecorator:
    """Parametrizes `what` and `count`: so many points for each kind of fault in the normal run,
    every one in the long run."""
    every = [pytest.mark.long, pytest.mark.timeout(7200)]
    found = []
    for what in FAULTS:
        count = kills if what == KILL else errors
        name = what.partition("=")[2]
        found.append(pytest.param(what, count, id=f"{name}-some"))
        found.append(pytest.param(what, 0, id=f"{name}-every", marks=every))
    return pytest.mark.parametrize(("what", "count"), found)


def message_was_hit(folder: Path) -> bool:
    """Whether the fault hit what the command had to say, too: strace counts per thread."""
    lines = (folder / "strace.log").read_text(errors="replace").splitlines()
    return any(" write(2, " in line and "(INJECTED)" in line for line in lines)


def repoint(folder: Path) -> None:
    """After copying a case: its tree follows its own remote."""
    if (folder / "remote").is_dir():
        succeed(folder / "tree", "remote", "set-url", "origin", str(folder / "remote"))


def sample(points: Sequence[Item], count: int) -> list[Item]:
    """`count` of the points or whatever, all for 0. The seed is printed, and can be given."""
    if not count or len(points) <= count:
        return list(points)
    return random.Random(seed()).sample(list(points), count)


def seed() -> int:
    """What chance starts from: TREERING_SEED of the environment; else another one each time, but
    where CI=true, so that a red run tells of the change at hand. It is printed."""
    fresh = 1 if os.environ.get("CI") == "true" else random.randrange(1 << 32)
    found = int(os.environ.get("TREERING_SEED") or fresh)
    print(f"TREERING_SEED={found}")
    return found


def side_by_side(
    items: Iterable[Item], template: Path, work: Path, case: Callable[[Item, Path], None]
) -> None:
    """Run `case` for each item on its own copy of `template`, some at a time."""

    def one(numbered: tuple[int, Item]) -> str | None:
        number, item = numbered
        folder = work / str(number)
        copy(template, folder)
        try:
            case(item, folder)
        except AssertionError as error:
            return f"{item}: {error} (see {folder})"
        except subprocess.TimeoutExpired as error:
            return f"{item}: hangs: {error} (see {folder})"
        shutil.rmtree(folder)
        return None

    work.mkdir(exist_ok=True)
    found = list(_POOL.map(one, enumerate(items)))
    failed = [text for text in found if text]
    assert not failed, f"{len(failed)} of {len(found)}:\n" + "\n\n".join(failed[:10])


def each_point(
    points: Sequence[Point], template: Path, work: Path, case: Callable[[Point, Path], None]
) -> None:
    """Run `case` for each point. Most points must be met: which thread makes the n-th call is not
    the same each time."""
    met = []

    def one(point: Point, folder: Path) -> None:
        case(point, folder)
        met.append((folder / "met").exists())

    side_by_side(points, template, work, one)
    print(f"met {sum(met)} of {len(points)} points")
    assert sum(met) > len(points) // 2, "the faults did not happen"


Case = Callable[[str, Point, Path], None]
"""Run a command with a fault at a point, in a folder, and look at what came of it."""


def fault_each(
    template: Path,
    arguments: Sequence[str],
    what: str,
    count: int,
    work: Path,
    case: Case,
    *,
    calls: Sequence[str] = WRITING,
    code: int = 0,
    below: str = "",
) -> None:
    """Run `case` at some of the points of a command, below a path, or at all for 0. `code` is what
    the command ends with where nothing goes wrong."""
    points = points_of(template, arguments, calls, code)
    points = [point for point in points if point.path.startswith(below)]
    if what == FULL:  # a fault that stays must not hit the write that reports it
        points = [point for point in points if point.call != "write" or point.path]
    print(f"{what}: {len(points)} points")
    each_point(sample(points, count), template, work / "cases", partial(case, what))


_POOL = ThreadPoolExecutor(len(os.sched_getaffinity(0)) + 1)


def copy(source: Path, target: Path) -> None:
    """A copy with holes, hard links and times, as cp makes it."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True, timeout=SECONDS)


# -- what must hold ------------------------------------------------------------------------------


def commits(top: Path, revision: str = "HEAD") -> list[str]:
    """The ids of all commits, newest first."""
    done = succeed(top, "log", "--json", revision)
    return [commit["commit"] for commit in done.json]


def check_whole(top: Path) -> None:
    """fsck has nothing to say."""
    succeed(top, "fsck", "--read-data")


def check_end(what: str, done: Done, folder: Path, *codes: int) -> None:
    """A command that a fault has met was killed, or ended as it should (with 0, or one of
    `codes`), or failed and said why."""
    if done.code in (0, *codes):
        assert "Traceback" not in done.err, done
    elif what == KILL:
        assert done.code == -9, done
    else:
        assert done.code == 1, done
        if not message_was_hit(folder):
            check_error(done)


def check_error(done: Done) -> None:
    """One line that says what failed, perhaps a hint, no traceback."""
    assert "Traceback" not in done.err, done
    lines = [line for line in done.err.splitlines() if line]
    errors = [line for line in lines if line.startswith("treering: ")]
    assert errors, done
    assert all(line.startswith(("treering: ", "hint: ")) for line in lines), done


def check_snapshot(top: Path, target: Path, revision: str = "HEAD") -> None:
    """What a commit holds is, byte for byte, what is in the tree."""
    succeed(top, "restore", "--source", revision, "--target", str(target))
    assert read_tree(target) == read_tree(top)


def check_next_commit(top: Path, target: Path) -> None:
    """The next commit works and holds the tree as it is."""
    succeed(top, "commit", "-m", "next")
    check_whole(top)
    check_snapshot(top, target)
