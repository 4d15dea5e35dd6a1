"""What a power cut would take: a command's system calls, as strace saw them, replayed over a model
of a disk that keeps only what was synced.

A file's content is kept from an fsync of it on, a name or its loss from an fsync of its folder on,
everything from a syncfs on. A sync counts when it has returned, anything else when it begins.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from running import TREERING, run

CALLS = "openat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate,mkdir,mkdirat,rename"
CALLS += ",renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,fsync,fdatasync,syncfs"
_LINE = re.compile(r"(\d+) +(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_BEGUN = re.compile(r"(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_WORD = re.compile(r'(?:AT_FDCWD|\d+)<([^>]*)>|"((?:[^"\\]|\\.)*)"')
_SYNCS = ("fsync", "fdatasync", "syncfs")


class Call(NamedTuple):
    """One call: its name, the paths it is about, absolute, and all its arguments."""

    name: str
    paths: tuple[str, ...]
    text: str


def traced(folder: Path, arguments: list[str]) -> list[Call]:
    """Run a command whole; what it did to files, in order."""
    log = folder.parent / "calls.log"
    command = ["strace", "-f", "-qq", "-y", "-s", "0", "-o", str(log), "-e", f"trace={CALLS}"]
    done = run([*command, TREERING, *arguments], folder)
    assert done.code == 0, done
    return list(_calls(log.read_text(errors="replace").splitlines(), folder))


def _calls(lines: list[str], cwd: Path) -> Iterator[Call]:
    begun: dict[str, str] = {}
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            continue
        thread, text = found.groups()
        if unfinished := _BEGUN.match(text):
            begun[thread] = unfinished[1]
            if not text.startswith(_SYNCS):
                yield from _parsed(f"{unfinished[1]}) = 0", cwd)
        elif resumed := _RESUMED.match(text):
            whole = begun.pop(thread, "") + resumed[1]
            if whole.startswith(_SYNCS):
                yield from _parsed(whole, cwd)
        else:
            yield from _parsed(text, cwd)


def _parsed(text: str, cwd: Path) -> Iterator[Call]:
    found = _CALL.match(text)
    if found is None or int(found[3]) < 0:
        return
    paths: list[str] = []
    folder = None
    for descriptor, name in _WORD.findall(found[2]):
        if descriptor:
            folder = descriptor
            paths.append(descriptor)
        elif found[1] not in ("write", "pwrite64", "writev", "pwritev", "pwritev2"):
            if folder is not None:
                paths.pop()
            paths.append(os.path.normpath(os.path.join(folder or cwd, name)))  # noqa: PTH118
            folder = None
    if paths:
        yield Call(found[1], tuple(paths), found[2])


class Disk:
    """What would be lost now. `before` are the paths that were there when the command began."""

    def __init__(self, top: Path) -> None:
        self._there = {str(path) for path in (top, *top.rglob("*"))}
        self.content: set[str] = set()
        self.names: set[str] = set()

    def lost(self, *below: Path) -> set[str]:
        """Files and names at or below these paths that a power cut would take or tear."""
        tops = [str(path) for path in below]
        found = self.content | self.names
        return {p for p in found if any(p == top or p.startswith(f"{top}/") for top in tops)}

    def apply(self, call: Call) -> None:
        path, to = call.paths[0], call.paths[-1]
        if call.name in _SYNCS:
            self._sync(path, everything=call.name == "syncfs")
        elif call.name == "openat":
            if "O_CREAT" in call.text and path not in self._there:
                self._named(path)
        elif call.name.startswith(("mkdir", "link")):
            self._named(to)
            if path in self.content:
                self.content.add(to)
        elif call.name.startswith("rename"):
            for paths in (self.content, self.names):
                moved = {p for p in paths if p == path or p.startswith(f"{path}/")}
                paths -= moved
                paths |= {to + p[len(path) :] for p in moved}
            self._named(to)
        elif call.name.startswith(("unlink", "rmdir")):
            self._unnamed(path)
        else:
            self.content.add(path)

    def _named(self, path: str) -> None:
        self._there.add(path)
        self.names.add(path)

    def _unnamed(self, path: str) -> None:
        """A name that is gone comes back with a power cut, unless it never was on disk."""
        below = {p for p in self.content | self.names if p == path or p.startswith(f"{path}/")}
        new = path in self.names
        self.content -= below
        self.names -= below
        if not new:
            self.names.add(path)

    def _sync(self, path: str, *, everything: bool) -> None:
        if everything:
            self.content, self.names = set(), set()
        self.content.discard(path)
        self.names = {name for name in self.names if os.path.dirname(name) != path}
