"""Changes of a live tree as programs make them, at random by a seed; and what a scan makes of a
tree as it is, in a repository that has never seen it."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from live_trees import Work

SIZES = [0, 1, 100, 4096, 65536, 65537, 200_000]
EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)


class Changes:
    """Below `top`. What cannot be done where it was tried is passed over."""

    def __init__(self, top: Path, seed: int) -> None:
        self.top = top
        self.random = random.Random(seed)
        self._made = 0
        self._ways: list[Callable[[], None]] = [
            self.make, self.make, self.write, self.write, self.write, self.append, self.cut,
            self.rename, self.rename, self.move_folder, self.exchange, self.link, self.link,
            self.remove, self.remove, self.remove_tree, self.make_folder, self.copy_tree,
            self.touch, self.mark, self.symlink, self.special, self.nameless, self.replace,
        ]  # fmt: skip

    def some(self, count: int) -> None:
        for _ in range(count):
            with suppress(OSError, shutil.Error):
                self.random.choice(self._ways)()

    def everything(self) -> list[Path]:
        found = [path for path in self.top.rglob("*") if ".treering" not in path.parts]
        return sorted(found)

    def files(self) -> list[Path]:
        return [path for path in self.everything() if stat.S_ISREG(path.lstat().st_mode)]

    def folders(self) -> list[Path]:
        found = [path for path in self.everything() if stat.S_ISDIR(path.lstat().st_mode)]
        return [self.top, *found]

    def file(self) -> Path:
        return self._pick(self.files())

    def folder(self) -> Path:
        return self._pick(self.folders())

    def _pick(self, paths: list[Path]) -> Path:
        if not paths:
            raise FileNotFoundError
        return self.random.choice(paths)

    def name(self) -> str:
        self._made += 1
        return f"n{self._made}"

    def content(self) -> bytes:
        return self.random.randbytes(self.random.choice(SIZES))

    # -- ways ------------------------------------------------------------------------------------

    def make(self) -> None:
        (self.folder() / self.name()).write_bytes(self.content())

    def write(self) -> None:
        with self.file().open("r+b") as file:
            file.seek(self.random.choice(SIZES))
            file.write(self.content())

    def append(self) -> None:
        with self.file().open("ab") as file:
            file.write(self.content())

    def cut(self) -> None:
        os.truncate(self.file(), self.random.choice(SIZES))

    def rename(self) -> None:
        target = self.file() if self.random.random() < 0.3 else self.folder() / self.name()
        os.rename(self.file(), target)

    def move_folder(self) -> None:
        os.rename(self._pick(self.folders()[1:]), self.folder() / self.name())

    def exchange(self) -> None:
        one, other = self._pick(self.everything()), self._pick(self.everything())
        _libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), EXCHANGE)

    def link(self) -> None:
        os.link(self.file(), self.folder() / self.name())

    def remove(self) -> None:
        self.file().unlink()

    def remove_tree(self) -> None:
        if self.random.random() < 0.3:
            shutil.rmtree(self._pick(self.folders()[1:]))

    def make_folder(self) -> None:
        (self.folder() / self.name()).mkdir()

    def copy_tree(self) -> None:
        source = self._pick(self.folders()[1:])
        target = self.folder()
        if len([*source.rglob("*")]) < 40 and not target.is_relative_to(source):
            shutil.copytree(source, target / self.name(), symlinks=True)

    def touch(self) -> None:
        path = self._pick(self.everything())
        if not path.is_symlink():
            os.chmod(path, self.random.choice([0o700, 0o755, 0o640]))

    def mark(self) -> None:
        path = self._pick(self.everything())
        if not path.is_symlink():
            os.setxattr(path, "user.mark", self.content()[:50])

    def symlink(self) -> None:
        os.symlink(self.name(), self.folder() / self.name())

    def special(self) -> None:
        os.mkfifo(self.folder() / self.name())

    def nameless(self) -> None:
        """O_TMPFILE, with a name afterwards."""
        folder = self.folder()
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR)
        try:
            os.write(descriptor, self.content())
            give_name(descriptor, folder / self.name())
        finally:
            os.close(descriptor)

    def replace(self) -> None:
        """As editors save."""
        path = self.file()
        beside = path.with_name(self.name())
        beside.write_bytes(self.content())
        os.rename(beside, path)


def give_name(descriptor: int, path: Path) -> None:
    """Link an open file that has none. Only with a folder given does Python follow the link."""
    os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)


def copied(top: Path, to: Path) -> Path:
    """The tree as it is, elsewhere."""
    subprocess.run(["cp", "-a", top, to], check=True)
    shutil.rmtree(to / ".treering", ignore_errors=True)
    _same_times(top, to)
    return to


def root_of(work: Work, tree: Path) -> str:
    """What a scan makes of a tree that has no repository."""
    info = tree.stat()
    repository = tree.with_name(tree.name + ".repository")
    work("init", "-q", str(tree), "--repo", str(repository))
    os.utime(tree, ns=(info.st_atime_ns, info.st_mtime_ns))
    found: str = work("-C", str(tree), "commit", "-m", "copy", "--json").json["root"]
    return found


def _same_times(source: Path, target: Path) -> None:
    info = source.stat()
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
