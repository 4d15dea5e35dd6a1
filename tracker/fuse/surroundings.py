"""Who and what is in the way of a mount: mount points in the tree, and processes that hold files of
it open past the mount.

A file that was opened before the mount is written past the driver, and a process that stands in a
folder from before opens everything in it past the driver. Both are found in /proc, as far as this
process may look.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
WRITABLE: Final = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True)
class Mount:
    """A line of /proc/self/mountinfo."""

    point: bytes
    kind: str
    source: bytes


@dataclass(frozen=True)
class Outsider:
    """A process and a path it holds. `standing`: as its current or root folder, not open;
    `writing`: it could write to it."""

    pid: int
    name: str
    path: bytes
    standing: bool
    writing: bool


def mounts() -> list[Mount]:
    found = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        fields, _, rest = line.partition(b" - ")
        kind, source = rest.split(b" ")[:2]
        point = fields.split(b" ")[4]
        found.append(Mount(_unescaped(point), kind.decode(), _unescaped(source)))
    return found


def _unescaped(text: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), text)


def mounted_on(top: Path) -> Mount | None:
    """What is mounted at this very folder, the last if there are several."""
    wanted = os.fsencode(top)
    found = [mount for mount in mounts() if mount.point == wanted]
    return found[-1] if found else None


def mount_points_below(top: Path) -> list[bytes]:
    """Relative paths of what is mounted in the tree."""
    start = os.fsencode(top).rstrip(b"/") + b"/"
    return sorted(m.point[len(start) :] for m in mounts() if m.point.startswith(start))


def outsiders(top: Path, device: int) -> list[Outsider]:
    """Other processes that hold something at or below `top`, which lies on this device; each path
    of a process once."""
    found: dict[tuple[int, bytes], Outsider] = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                for each in _of_process(folder, os.fsencode(top), device):
                    before = found.get((each.pid, each.path))
                    if before is None or (each.writing and not before.writing):
                        found[each.pid, each.path] = each
    return sorted(found.values(), key=lambda each: (each.pid, each.path))


def _of_process(folder: Path, top: bytes, device: int) -> Iterator[Outsider]:
    pid = int(folder.name)
    name = (folder / "comm").read_text(errors="replace").strip()
    for link in ("cwd", "root"):
        path = _inside(folder / link, top, device)
        if path is not None:
            yield Outsider(pid, name, path, standing=True, writing=False)
    for link in ("exe", *(f"fd/{number}" for number in os.listdir(folder / "fd"))):
        path = _inside(folder / link, top, device)
        if path is not None:
            yield Outsider(pid, name, path, False, link != "exe" and _writes(folder, link[3:]))
    yield from _mapped(folder, pid, name, top, device)


def _mapped(folder: Path, pid: int, name: str, top: bytes, device: int) -> Iterator[Outsider]:
    """Shared mappings outlive the descriptor they were made with."""
    wanted = b"%02x:%02x" % (os.major(device), os.minor(device))
    for line in (folder / "maps").read_bytes().splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[3] == wanted and _below(fields[5], top):
            writing = fields[1].startswith(b"rw") and fields[1].endswith(b"s")
            yield Outsider(pid, name, fields[5], False, writing)


def _inside(link: Path, top: bytes, device: int) -> bytes | None:
    """Where a link of /proc leads, if that is in the tree, on its device."""
    try:
        path = os.readlink(os.fsencode(link))
        if not _below(path, top) or link.stat().st_dev != device:
            return None
    except OSError:
        return None
    return path


def _below(path: bytes, top: bytes) -> bool:
    return path == top or path.startswith(top.rstrip(b"/") + b"/")


def _writes(folder: Path, number: str) -> bool:
    text = (folder / "fdinfo" / number).read_text()
    found = re.search(r"^flags:\s*([0-7]+)$", text, re.MULTILINE)
    return found is not None and bool(int(found[1], 8) & WRITABLE)
