"""Damage to the files of a repository, and what must hold then: it is noticed and named, nothing
crashes, and what is still in the work tree, or mirrored elsewhere, heals.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from fault_trees import third_tree
from faulting import check_error, check_snapshot
from running import Done, succeed, treering

Damage = Callable[[Path], None]


def flip(path: Path, offset: int, mask: int = 0x10) -> None:
    """Flip a bit; the offset counts from the end if negative. The file may be read-only."""
    content = bytearray(path.read_bytes())
    content[offset] ^= mask
    rewrite(path, bytes(content))


def rewrite(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


def cut(path: Path) -> None:
    rewrite(path, path.read_bytes()[: path.stat().st_size * 2 // 3])


def empty(path: Path) -> None:
    rewrite(path, b"")


def garbage(path: Path) -> None:
    rewrite(path, random.Random(6).randbytes(path.stat().st_size))


def remove(path: Path) -> None:
    path.unlink()


WAYS: list[Damage] = [cut, empty, garbage, remove]


def repository(top: Path) -> Path:
    return top / ".treering"


def packs(top: Path) -> list[Path]:
    """The largest first."""
    found = (repository(top) / "packs").iterdir()
    return sorted(found, key=lambda path: -path.stat().st_size)


def nothing_crashes(top: Path) -> None:
    """Reading commands end with a line and a code, whatever lies on disk."""
    for arguments in (
        ["log"],
        ["status"],
        ["ls", "-R", "HEAD"],
        ["cat", "HEAD:large"],
        ["cat", "HEAD~1:text"],
        ["fsck"],
    ):
        done = treering(top, *arguments)
        assert done.code in (0, 1, 10, 12, 13), (arguments, done)
        if done.code and arguments[0] != "fsck":
            check_error(done)
        assert "Traceback" not in done.err, (arguments, done)


def noticed(top: Path, *names: str) -> Done:
    """fsck ends with 12 and names what is damaged."""
    done = treering(top, "fsck", "--read-data")
    assert done.code == 12, done
    assert "Traceback" not in done.err
    assert any(name in done.out + done.err for name in names), done
    return done


def heals_by_commit(top: Path, target: Path) -> None:
    """The first commit's content is put back, so that the tree has all that was ever stored."""
    third_tree(top)
    succeed(top, "commit", "-m", "healing")
    check_snapshot(top, target)
