"""Small trees that change, the same bytes each time, for crash and fault tests."""

from __future__ import annotations

import os
import random
from pathlib import Path

Content = bytes | str | None
"""A file's bytes, a symlink's target, or None for a folder."""


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def first_tree(top: Path) -> None:
    """Small and large files, folders, links, a hole; the same bytes each time."""
    source = random.Random(1)
    write(top / "large", source.randbytes(5 << 18))
    write(top / "text", b"one\n" * 1000)
    write(top / "sub" / "deep" / "x", source.randbytes(200_000))
    write(top / "sub" / "gone", b"soon deleted")
    for number in range(20):
        write(top / "many" / f"{number:03}", source.randbytes(700))
    with (top / "sparse").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(500_000)
        file.write(b"in the middle")
    (top / "link").symlink_to("text")
    os.link(top / "text", top / "sub" / "same")


def second_tree(top: Path) -> None:
    """Change it: in the middle of a file, new, deleted, a folder where a file was."""
    source = random.Random(2)
    with (top / "large").open("r+b") as file:
        file.seek(400_000)
        file.write(source.randbytes(70_000))
    (top / "sub" / "gone").unlink()
    write(top / "sub" / "gone" / "now a folder", b"new\n")
    write(top / "many" / "003", b"replaced")
    write(top / "fresh", source.randbytes(150_000))
    (top / "link").unlink()
    (top / "link").symlink_to("fresh")


def third_tree(top: Path) -> None:
    """Change it once more."""
    write(top / "third", random.Random(3).randbytes(30_000))
    write(top / "text", b"three\n" * 999)


def edit(top: Path) -> None:
    """Change what none of the trees differ in, not to be committed: what a move carries along."""
    write(top / "mine", b"not committed")
    write(top / "sub" / "deep" / "mine", b"not committed")
    with (top / "sparse").open("r+b") as file:
        file.write(b"not committed")
    (top / "many" / "005").unlink()


def read_tree(top: Path) -> dict[str, tuple[int, int, Content]]:
    """Path -> (mode, mtime in ns, content) of everything but `.treering`. Folders without their
    time: a restore elsewhere sets that of the top only as far as it may."""
    found: dict[str, tuple[int, int, Content]] = {}
    for folder, folders, files in os.walk(top):
        if ".treering" in folders:
            folders.remove(".treering")
        for name in [*folders, *files]:
            path = Path(folder, name)
            info = path.lstat()
            content: Content = None
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                content = path.read_bytes()
            time = 0 if content is None else info.st_mtime_ns
            found[str(path.relative_to(top))] = (info.st_mode, time, content)
    return found
