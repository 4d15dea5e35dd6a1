"""What the driver is compared with: the file system below, bindfs, and libfuse's example
`passthrough_ll`, built from the source that Debian ships with libfuse3-dev and run with one thread.
Each gives a folder to work in, which lies on the same disk."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from measure import TREERING, anonymous

from treering.tracker.fuse.control import ask, socket_path

SOURCE: Final = Path("/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c")
PACKAGES: Final = "bindfs libfuse3-dev gcc pkg-config fio git postgresql"
System = Callable[[Path], AbstractContextManager[Path]]
SOCKETS: Final = Path("/run/treering")


def install() -> None:
    """What is compared and what measures it, from Debian."""
    if not (shutil.which("bindfs") and shutil.which("fio") and SOURCE.exists()):
        command = ["apt-get", "install", "-y", "-qq", *PACKAGES.split()]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def build_passthrough(work: Path) -> Path:
    """The example, compiled."""
    made = work / "passthrough_ll.program"
    if not made.exists():
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "fuse3"],
            capture_output=True,
            text=True,
            check=True,
        )
        options = shlex.split(flags.stdout)
        subprocess.run(["gcc", "-O2", "-o", made, "-x", "c", SOURCE, *options, "-w"], check=True)
    return made


@contextmanager
def native(place: Path) -> Iterator[Path]:
    yield place


@contextmanager
def _mounted(place: Path, command: list[str | Path]) -> Iterator[Path]:
    """Another folder, on which a command that stays in the foreground mounts this one."""
    top = place.with_name(place.name + ".mount")
    top.mkdir(exist_ok=True)
    process = subprocess.Popen([*command, top], stdout=subprocess.DEVNULL)
    try:
        while not os.path.ismount(top):
            assert process.poll() is None, command
            time.sleep(0.02)
        yield top
    finally:
        subprocess.run(["umount", "-l", top], check=True)
        process.wait()


@contextmanager
def bindfs(place: Path) -> Iterator[Path]:
    with _mounted(place, ["bindfs", "-f", place]) as top:
        yield top


@contextmanager
def passthrough(place: Path) -> Iterator[Path]:
    program = build_passthrough(place.parent)
    options = ["-o", f"source={place}", "-o", "allow_other", "-o", "default_permissions"]
    with _mounted(place, [program, "-f", "-s", *options]) as top:
        yield top


memory: Final[dict[str, int]] = {}
"""The most that a driver had of anonymous memory, in bytes."""


def _attached(name: str, *options: str) -> System:
    @contextmanager
    def system(place: Path) -> Iterator[Path]:
        if not (place / ".treering").exists():
            subprocess.run([TREERING, "init", "-q", place], check=True)
        subprocess.run([TREERING, "attach", "-q", *options, place], check=True, cwd="/")
        try:
            yield place
            pid = ask(socket_path(SOCKETS, place), "status")["pid"]
            memory[name] = max(memory.get(name, 0), anonymous(pid))
        finally:
            subprocess.run([TREERING, "detach", "-q", place], check=True, cwd="/")

    return system


SYSTEMS: Final[dict[str, System]] = {
    "native": native,
    "treering": _attached("treering"),
    "treering, no journal": _attached("treering, no journal", "--journal", "off"),
    "passthrough_ll": passthrough,
    "bindfs": bindfs,
}
