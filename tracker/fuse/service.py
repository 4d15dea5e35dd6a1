"""The process that serves one attached tree: mount, control socket, holder, and their end.

Started by `attach` as a process of its own session. It says through a pipe when it is ready, or why
it is not. `python -m treering.tracker.fuse.service SETTINGS`, the settings in JSON.

As root, `.treering` of the backing folder is bound over its name in the mount, so that what the
repository does bypasses the driver.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from ...store.errors import Conflict, DriverError, StorageError, TreeringError, storage_error
from ..attached import ATTACHED, Attached
from ..heartbeat import Heartbeat
from ..journal import Journal, journal_files
from ..map_pair import MapPair
from ..saved_maps import save_maps
from . import mount, syscalls
from .answers import Answers
from .control import ControlServer, Reply
from .driver import Driver
from .holder import Holder
from .inodes import RESERVED
from .surroundings import mounted_on, outsiders

SWITCH_SECONDS: Final = 0.0005
"""How long one thread may keep the others from the interpreter. Python's 5 ms are the time of fifty
writes, which would wait while the answer to a command is put together."""
log: Final = logging.getLogger("treering.driver")


class Settings(msgspec.Struct, frozen=True):
    """`repository` is the repository's folder, `socket` where the control socket goes, `ready` a
    descriptor that takes a line of JSON: an empty object, or an error."""

    top: str
    repository: str
    block_size: int
    socket: str
    journal: bool = True
    ready: int = -1


class Service:
    """One attached tree. Make it in a process with one thread. TreeringError when it cannot be."""

    def __init__(self, settings: Settings) -> None:
        self._top = Path(settings.top)
        self._tracker = _held(Path(settings.repository, "tracker"))
        self._socket = settings.socket
        self._answers: Answers | None = None
        self._since = time.time()
        self._pair = MapPair(settings.block_size)
        self._backing = _held(self._top)
        self._inside = _held(self._top / os.fsdecode(RESERVED))
        journal = self._tracker / "journal"
        try:
            journal.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error("making the change journal", error) from error
        self._journal = Journal(journal, settings.block_size, off=not settings.journal)
        self._holder = Holder([self._top / os.fsdecode(RESERVED), self._top])
        self._control: ControlServer | None = None
        try:
            self._control = ControlServer(Path(settings.socket), self._answer)
            self._pair.active.era = _next_era(journal)
            self._mark(clean=False)
            self._journal.begin(self._pair.active.era)
            self._driver = Driver(self._top, self._pair, self._journal)
            self._answers = Answers(
                self._driver, self._journal, self._detach, self._complete, self._tracker
            )
        except BaseException:
            if self._control is not None:
                self._control.close()
            self._holder.dismiss()
            raise

    def run(self, ready: Ready) -> None:
        """Serve until it is detached."""
        threading.Thread(target=self._open, args=(ready,), daemon=True).start()
        heartbeat = Heartbeat(self._tracker, lambda: self._driver.session.requests)
        try:
            self._driver.serve()
            if self._driver.session.refused is not None:
                raise self._driver.session.refused
            self._leave_maps()
        finally:
            heartbeat.stop()
            self._leave_nothing()
            assert self._control is not None
            self._control.close()
            self._journal.close()
            self._holder.dismiss()

    def _mark(self, *, clean: bool, base: str | None = None) -> None:
        ATTACHED.write(self._tracker, Attached(self._since, clean, self._socket, base))

    def _complete(self, root: str, known: bool) -> None:
        """The maps, and the journal of this era, say all that differs from a root."""
        self._mark(clean=False, base=root)
        if known:
            self._journal.done(self._pair.active.era - 1)

    def _leave_maps(self) -> None:
        """At the end: the maps are left for the next scan, which needs no journal then."""
        if self._answers is not None and self._answers.scanned:
            save_maps(self._tracker, self._backing, self._pair)
        self._mark(clean=True)
        self._journal.close()
        self._journal.done(self._pair.active.era)

    def _leave_nothing(self) -> None:
        """A connection that ended without an unmount leaves a mount that answers nobody."""
        found = mounted_on(self._top)
        if found is not None and (found.kind, found.source) == (mount.KIND, bytes(self._top)):
            with suppress(OSError):
                mount.unmount(self._top, lazy=True)

    def _open(self, ready: Ready) -> None:
        """Once the kernel has agreed: the repository's own way in, then others may come."""
        self._driver.session.ready.wait()
        if self._driver.session.refused is not None:
            return
        try:
            if os.geteuid() == 0:
                self._bind()
        except OSError as error:
            ready.failed(storage_error("binding .treering into the mount", error))
            self._take_off(lazy=True)
        else:
            ready.say({})

    def _bind(self) -> None:
        target = os.fsencode(self._top) + b"/" + RESERVED
        syscalls.mount(str(self._inside), target, "", syscalls.MS_BIND)

    def _answer(self, request: dict[str, Any]) -> Reply | Iterator[Reply]:
        if self._answers is None:
            raise DriverError("the driver is only starting")
        return self._answers.answer(request)

    # -- the end ---------------------------------------------------------------------------------

    def _detach(self, force: bool, wait: float) -> None:
        """Take the mount off. Conflict, naming them, if others still use it after `wait` seconds;
        forced, it goes from sight at once, and ends when they do."""
        ends = time.monotonic() + wait
        while True:
            try:
                self._take_off(lazy=force)
                return
            except OSError:
                if time.monotonic() > ends or force:
                    raise Conflict(
                        f"{self._top} is in use by {self._users()}",
                        hint="let them end, or: treering detach --force",
                    ) from None
            time.sleep(0.1)

    def stop(self) -> None:
        """Asked by a signal: as a forced detach, and not in the thread that serves."""
        threading.Thread(target=self._take_off, kwargs={"lazy": True}, daemon=True).start()

    def _take_off(self, *, lazy: bool) -> None:
        if os.geteuid() == 0:
            with suppress(OSError):
                syscalls.unmount(os.fsencode(self._top) + b"/" + RESERVED, lazy=True)
        try:
            mount.unmount(self._top, lazy=lazy)
        except OSError:
            if os.geteuid() == 0:
                self._bind()
            raise

    def _users(self) -> str:
        found = {each.pid: each.name for each in outsiders(self._top, self._top.stat().st_dev)}
        names = [f"{name} ({pid})" for pid, name in found.items()]
        return ", ".join(names[:5]) or "somebody whom we may not see"


def _next_era(journal: Path) -> int:
    """Behind those whose journals were left: they count until the scan is told."""
    left = journal_files(journal)
    return int(left[-1].name) + 1 if left else 1


def _held(folder: Path) -> Path:
    """A path to a folder that leads past what will be mounted over it."""
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror}") from error
    return Path(f"/proc/self/fd/{descriptor}")


class Ready:
    """The starting command's end of the pipe, told once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, message: dict[str, Any]) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):
                os.write(self._descriptor, msgspec.json.encode(message) + b"\n")
            os.close(self._descriptor)
            self._descriptor = -1

    def failed(self, error: TreeringError) -> None:
        self.say({"error": error.message, "hint": error.hint, "kind": type(error).__name__})


def serve(settings: Settings) -> int:
    """The whole life of the process; its exit code."""
    ready = Ready(settings.ready)
    try:
        service = Service(settings)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: service.stop())
        service.run(ready)
    except TreeringError as error:
        log.error("%s", error.message)
        ready.failed(error)
        return 1
    except OSError as error:
        ready.failed(StorageError(f"{settings.top}: {error.strerror or error}"))
        return 1
    return 0


def main() -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    sys.setswitchinterval(SWITCH_SECONDS)
    os.chdir("/")  # else this process would itself be in the way of a detach
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.exit(serve(msgspec.json.decode(sys.argv[1], type=Settings)))


if __name__ == "__main__":
    main()
