"""The data that benchmarks work on, made of real files of this machine, and the changes to it.

A *data set* is a folder, made once in the benchmark's work folder and used again. `image` is one
ext4 image of 4 GiB, 3.5 GiB of it filled; `tree` is 100,000 files. `Change.apply` brings a data set
from state A to state B (some regions or files changed), `Change.undo` back; both leave the rest of
it untouched, so that every tool sees the same two states.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

REGION, REGIONS = 64 << 10, 64
MAX_FILE = 64 << 20
STDLIB = sysconfig.get_path("stdlib")
IMAGE_SOURCES = ("/usr/lib", "/usr/share", "/usr/include", STDLIB, "/root", "/opt")
TREE_SOURCES = ("/usr/share", "/usr/include", str(Path(STDLIB).parents[2]), "/usr/lib")


@dataclass(frozen=True)
class Scale:
    """How much data: bytes of the image, bytes of files in it, files of the tree."""

    image_size: int = 4 << 30
    image_fill: int = 3_500 << 20
    tree_files: int = 100_000


FULL = Scale()
QUICK = Scale(image_size=512 << 20, image_fill=400 << 20, tree_files=10_000)


class Change(Protocol):
    """State A to state B of a data set, and back."""

    def apply(self) -> None: ...

    def undo(self) -> None: ...


def real_files(sources: Iterable[str]) -> Iterator[Path]:
    for source in sources:
        for folder, _, names in os.walk(source):
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink() and path.stat().st_size < MAX_FILE:
                    yield path


def copy_until(
    target: Path, sources: Iterable[str], *, size: int | None = None, count: int | None = None
) -> None:
    """Real files, until `size` bytes or `count` files are copied."""
    done = 0
    for files, path in enumerate(real_files(sources)):
        if (size and done >= size) or (count and files >= count):
            return
        copy = target / path.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
        done += copy.stat().st_size


def make_image(work: Path, scale: Scale = FULL) -> Path:
    """The folder that holds `disk.img`."""
    folder = work / "image"
    if not folder.exists():
        content, unfinished = work / "content", work / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        copy_until(content, IMAGE_SOURCES, size=scale.image_fill)
        unfinished.mkdir(parents=True)
        image = unfinished / "disk.img"
        with image.open("wb") as file:
            file.truncate(scale.image_size)
        subprocess.run(["mkfs.ext4", "-q", "-d", str(content), str(image)], check=True)
        shutil.rmtree(content)
        unfinished.rename(folder)
    return folder


def make_tree(work: Path, scale: Scale = FULL) -> Path:
    folder = work / "tree"
    if not folder.exists():
        unfinished = work / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        copy_until(unfinished, TREE_SOURCES, count=scale.tree_files)
        unfinished.rename(folder)
    return folder


class ImageChange:
    """64 regions of 64 KiB at random places, rewritten with bytes that do not compress."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "disk.img"
        regions = range(self.image.stat().st_size // REGION)
        self.offsets = [n * REGION for n in random.Random(1).sample(regions, REGIONS)]
        self._old: list[bytes] = []

    def apply(self) -> None:
        content = random.Random(2)
        with self.image.open("r+b") as file:
            self._old = [os.pread(file.fileno(), REGION, offset) for offset in self.offsets]
            for offset in self.offsets:
                os.pwrite(file.fileno(), content.randbytes(REGION), offset)

    def undo(self) -> None:
        with self.image.open("r+b") as file:
            for offset, old in zip(self.offsets, self._old, strict=True):
                os.pwrite(file.fileno(), old, offset)


class TreeChange:
    """200 files appended to, 20 added, 20 deleted; which ones is random, but always the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = sorted(path for path in real_files([str(folder)]) if ".treering" not in path.parts)
        chosen = random.Random(1).sample(files, 220)
        self.appended, self.deleted = chosen[:200], chosen[200:]
        self.added = [folder / f"added{number:02}" for number in range(20)]
        self._kept = folder.parent / "kept"

    def apply(self) -> None:
        content = random.Random(2)
        shutil.rmtree(self._kept, ignore_errors=True)
        self._kept.mkdir()
        for number, path in enumerate(self.appended):
            shutil.copy2(path, self._kept / f"appended{number}")
            with path.open("ab") as file:
                file.write(content.randbytes(500))
        for number, path in enumerate(self.deleted):
            shutil.move(path, self._kept / f"deleted{number}")
        for path in self.added:
            path.write_bytes(content.randbytes(20_000))

    def undo(self) -> None:
        for number, path in enumerate(self.appended):
            shutil.copy2(self._kept / f"appended{number}", path)
        for number, path in enumerate(self.deleted):
            shutil.move(self._kept / f"deleted{number}", path)
        for path in self.added:
            path.unlink()


def warm(data: Path) -> None:
    """Read all of it: what a kernel keeps of it from the last run differs from machine to machine,
    and from tool to tool. And sync: nobody is to wait for what others have written."""
    os.sync()
    subprocess.run(["tar", "-cf", "/dev/zero", "-C", str(data), "."], check=True)
