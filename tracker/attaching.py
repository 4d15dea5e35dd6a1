"""Attaching a work tree: what is in the way, starting its driver, and the scan that follows.

The driver is mounted first and the tree scanned after that, past the mount, so that no change falls
between the two. Until the scan is told, the driver's maps are not complete, and commands scan.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgspec
from pyroaring import BitMap64

from ..store import errors
from ..store.errors import Conflict, DriverError, TreeringError, storage_error
from ..store.progress import SILENT, Progress
from ..store.repository import Repository
from .attached import Attachment
from .fuse.control import ask, text
from .fuse.found_changes import Row, Step
from .fuse.mount import KIND
from .fuse.surroundings import Outsider, mount_points_below, mounted_on, outsiders
from .journal_suspects import JournalSuspects
from .links import LinkTable
from .live_file import Suspects
from .report import Report
from .saved_maps import SavedSuspects
from .scan import FOLDER_FLAGS, LiveFolder
from .scan_state import CLEAN
from .snapshot import head_commit
from .status import StatusItem, StatusScan

AT_ONCE: Final = 500
"""Rows in a message to the driver."""
MAX_LOG: Final = 1 << 20
NAMED: Final = 5


@dataclass(frozen=True)
class Plan:
    """What an attached tree is made of. `socket` is where the driver will listen."""

    top: Path
    repository: Path
    block_size: int
    socket: Path
    journal: bool = True


def check_way(top: Path, *, force: bool) -> list[Outsider]:
    """Refuse what cannot be attached: Conflict. Processes that would go on past the mount are
    returned if it is forced, and refused otherwise, shells that stand in the tree too: what they
    write the maps would not have."""
    there = mounted_on(top)
    if there is not None and there.kind == KIND:
        raise Conflict(f"{top} is attached already", hint="see: treering driver status")
    below = mount_points_below(top)
    if below:
        names = ", ".join(os.fsdecode(path) for path in below[:NAMED])
        raise Conflict(f"something is mounted in the tree: {names}", hint="unmount it first")
    found = outsiders(top, top.stat().st_dev)
    strangers = [each for each in found if each.standing or each.writing]
    if strangers and not force:
        raise Conflict(
            f"{top} is in use by {named(strangers)}, who would go on past the driver",
            hint=f"leave the tree, and: treering attach {top}"
            if {each.pid for each in strangers} <= _ancestors()
            else "let them end first; with --force the driver is mounted, but status scans",
        )
    return strangers


def named(outsiders: list[Outsider]) -> str:
    """Processes as people read them, not too many."""
    return ", ".join(dict.fromkeys(f"{each.name} ({each.pid})" for each in outsiders[:NAMED]))


def _ancestors() -> set[int]:
    """The processes that we descend from."""
    found, pid = set(), os.getpid()
    while pid > 1:
        found.add(pid)
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            break
        pid = int(status.rpartition(")")[2].split()[1])
    return found


def start(plan: Plan) -> subprocess.Popen[bytes]:
    """Start a driver and wait until it is mounted; its process, in a session of its own. What it
    says later is in `tracker/driver/log`. Nobody may have the repository open: its files would be
    open past the mount."""
    reading, writing = os.pipe()
    settings = {
        "top": str(plan.top),
        "repository": str(plan.repository),
        "block_size": plan.block_size,
        "socket": str(plan.socket),
        "journal": plan.journal,
        "ready": writing,
    }
    try:
        with _log(plan.repository) as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "treering.tracker.fuse.service", _json(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                pass_fds=[writing],
            )
    except OSError as error:
        os.close(reading)
        raise storage_error("starting the driver", error) from error
    finally:
        os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.readline()
    answer = msgspec.json.decode(said) if said else None
    if answer:
        process.wait()
        kind = getattr(errors, answer["kind"], TreeringError)
        raise kind(answer["error"], hint=answer["hint"])
    if answer is None:
        process.wait()
        raise DriverError("the driver ended at once", hint=f"see {log_path(plan.repository)}")
    return process


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def log_path(repository: Path) -> Path:
    """Where the driver of a repository's tree says what went wrong."""
    return repository / "tracker" / "driver" / "log"


def _log(repository: Path) -> IO[bytes]:
    path = log_path(repository)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists() or path.stat().st_size > MAX_LOG
    return path.open("wb" if fresh else "ab")


class Evidence:
    """What earlier drivers of the tree left, which spares the scan reading changed files whole:
    the maps of one that was detached, the journals of one that was killed. Taken before the next
    is started."""

    def __init__(self, repository: Path, backing: int, block_size: int) -> None:
        folder = repository / "tracker"
        self._all = (SavedSuspects(folder), JournalSuspects(folder, backing, block_size))

    def about(self, base: str) -> Suspects:
        """What it says of files, if HEAD's root is this."""
        believed = [each.suspects for each in self._all if each.base == base]

        def suspects(path: bytes, info: os.stat_result, size: int) -> BitMap64 | None:
            found = (each(path, info, size) for each in believed)
            return next((each for each in found if each is not None), None)

        return suspects


@dataclass(frozen=True)
class CaughtUp:
    """What the scan found. `complete`: the driver's maps say all that differs from HEAD."""

    changes: int
    complete: bool
    report: Report


class CatchUp:
    """The scan of the tree at `top`, and what it tells the driver. `outsiders`: somebody may write
    past the driver, so the maps are never complete. The commit lock is held."""

    def __init__(
        self,
        repository: Repository,
        top: Path,
        attachment: Attachment,
        evidence: Evidence,
        progress: Progress,
        *,
        outsiders: bool,
    ) -> None:
        self._outsiders = outsiders
        head = head_commit(repository)
        self._root = head.root.hex() if head else ""
        self._repository = repository
        self._attachment = attachment
        self._rows: list[Row] = []
        self._scan = StatusScan(
            repository,
            top,
            want_regions=True,
            on_touched=self._touched,
            suspects=evidence.about(self._root),
            trust=CLEAN,  # as a commit: nobody looks at a file again that is not in the maps
            progress=progress,
        )

    def run(self) -> CaughtUp:
        changes = 0
        for item in self._scan.items():
            changes += 1
            self._tell(self._row(item))
        self._send()
        if self._scan.other_links:
            LinkTable(self._repository.catalog).doubt()
        report = self._scan.report
        complete = not report.problems and not self._outsiders
        if self._outsiders:
            ask(self._attachment.socket, "outsiders")
        if complete:
            ask(self._attachment.socket, "scanned", root=self._root)
        return CaughtUp(changes, complete, report)

    def _row(self, item: StatusItem) -> Row:
        folders = _steps(self._scan.folders)
        name = item.path.rstrip(b"/").rpartition(b"/")[2]
        last = Step(text(name), item.inode)
        if item.sizes is None:
            return Row(folders, last, item.what != "new", True)
        if item.is_folder:  # of which we are in the middle
            return Row(folders[:-1], folders[-1] if folders else Step("", 0), True, False)
        size = self._repository.block_size
        runs = tuple((region.offset // size, -(-region.length // size)) for region in item.regions)
        return Row(folders, last, True, False, runs, item.sizes)

    def _touched(self, folder: LiveFolder) -> None:
        steps = _steps(self._scan.folders)
        self._tell(Row(steps[:-1], steps[-1] if steps else Step("", 0), True, False))

    def _tell(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) >= AT_ONCE:
            self._send()

    def _send(self) -> None:
        if self._rows:
            rows = msgspec.to_builtins(self._rows)
            ask(self._attachment.socket, "found", rows=rows)
        self._rows = []


def _steps(folders: Iterable[LiveFolder]) -> tuple[Step, ...]:
    """The way to the last of these folders, the first of which is the top."""
    return tuple(Step(text(folder.name), folder.info.st_ino) for folder in folders if folder.name)


def open_backing(top: Path) -> int:
    """The folder itself, whatever is mounted over it later."""
    try:
        return os.open(top, FOLDER_FLAGS)
    except OSError as error:
        raise storage_error(f"opening {top}", error) from error


def catch_up(
    repository: Repository,
    top: Path,
    attachment: Attachment,
    evidence: Evidence,
    progress: Progress = SILENT,
    *,
    outsiders: bool = False,
) -> CaughtUp:
    """Scan the tree of a driver that was just mounted, and tell it what differs from HEAD."""
    with repository.lock("commit", "a commit"):
        scan = CatchUp(repository, top, attachment, evidence, progress, outsiders=outsiders)
        return scan.run()
