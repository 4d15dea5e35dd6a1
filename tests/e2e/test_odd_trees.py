"""Promise 7: a restored tree is what was committed, in every respect that a file system has."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from live_trees import Work, fingerprint, rsync_differences, touch
from odd_tree import MIB, OLD, make_odd_tree


@pytest.fixture
def odd(work: Work) -> Work:
    make_odd_tree(work.top)
    return work


def test_restore_gives_back_what_was_committed(odd: Work, tmp_path: Path) -> None:
    before = fingerprint(odd.top)
    assert len(before) > 80
    odd.commit()
    assert fingerprint(odd.top) == before, "a commit changed the tree"
    target = odd.restored(tmp_path / "restored")
    assert fingerprint(target) == before
    assert rsync_differences(odd.top, target) == ""
    # A second restore over it finds nothing to do, and harms nothing.
    odd.restored(target)
    assert fingerprint(target) == before
    # What was restored is the same content, and so the same root.
    shutil.move(target / "links" / "one-inside", target / "x")
    shutil.copy2(target / "x", target / "links" / "one-inside")
    (target / "x").unlink()
    touch(target / "links", before[b"links"].mtime_ns)
    touch(target, before[b""].mtime_ns)
    root = odd.root()
    other = Work(odd.home, target)
    other("init", "-q")
    touch(target, before[b""].mtime_ns)
    assert other.commit()["root"] == root


def test_in_place_restore_gives_back_what_was_committed(odd: Work) -> None:
    before = fingerprint(odd.top)
    odd.commit()
    for path in odd.top.iterdir():
        if path.name == ".treering":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    odd("restore")
    assert fingerprint(odd.top) == before
    assert odd.changes() == {}
    assert odd.commit()["committed"] is False


def test_the_comparison_sees_one_byte_and_one_nanosecond(odd: Work, tmp_path: Path) -> None:
    """Else the tests above would prove nothing."""
    odd.commit()
    target = odd.restored(tmp_path / "restored")
    victim = target / "holes" / "data hole data"
    info = victim.stat()
    with victim.open("r+b") as file:
        file.seek(50_000)
        value = file.read(1)
        file.seek(50_000)
        file.write(bytes([value[0] ^ 1]))
    os.utime(victim, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert "holes/data hole data" in rsync_differences(odd.top, target)
    assert fingerprint(target) != fingerprint(odd.top)
    target = odd.restored(tmp_path / "again")
    touch(target / "times" / "4", 1_600_000_000_123_456_788)
    assert "times/4" in rsync_differences(odd.top, target)
    touch(target / "times" / "4", 1_600_000_000_123_456_789)
    touch(target / "times", OLD + 1)
    assert "times/" in rsync_differences(odd.top, target)


@pytest.mark.parametrize(
    "change",
    ["mode", "owner", "mtime", "xattr", "acl", "capability", "target", "device", "unlink", "hole"],
)
def test_each_change_is_noticed_by_the_next_commit(odd: Work, tmp_path: Path, change: str) -> None:
    odd.commit()
    top = odd.top
    if change == "mode":
        (top / "modes" / "644").chmod(0o645)
    elif change == "owner":
        os.chown(top / "owners" / "link", 4711, 4713, follow_symlinks=False)
    elif change == "mtime":
        touch(top / "times" / "folder 3", 2)
    elif change == "xattr":
        os.removexattr(top / "attributes" / "file", "user.empty")
    elif change == "acl":
        subprocess.run(["setfacl", "-x", "u:1234", top / "attributes" / "acl"], check=True)
    elif change == "capability":
        os.removexattr(top / "attributes" / "program", "security.capability")
    elif change == "target":
        (top / "links" / "up").unlink()
        os.symlink("...", top / "links" / "up")
    elif change == "device":
        (top / "special" / "char").unlink()
        os.mknod(top / "special" / "char", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    elif change == "unlink":
        os.unlink(top / "links" / "a" / "across")
        shutil.copy2(top / "links" / "b" / "across", top / "links" / "a" / "across")
    elif change == "hole":
        with (top / "holes" / "only a hole").open("r+b") as file:
            file.seek(3 * MIB)
            file.write(b"no more")
    assert odd.commit()["committed"] is True
    target = odd.restored(tmp_path / "restored")
    assert fingerprint(target) == fingerprint(top)
    odd("restore", "--source", "HEAD~1", "--force")
    first = odd.restored(tmp_path / "first", "--source", "HEAD~1")
    assert fingerprint(top) == fingerprint(first)
    odd("restore", "--force")
    assert fingerprint(top) == fingerprint(target)


def test_sockets_are_left_out_and_counted(work: Work, tmp_path: Path) -> None:
    work.write("file", "x")
    for name in ("one", "two"):
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{os.open(work.top, os.O_PATH)}/{name}")
    done = work("commit", "-m", "with sockets")
    assert "2 sockets left out" in done.err
    assert set(work.ls()) == {"file"}
    again = work.commit("again")
    assert (again["sockets"], again["committed"]) == (2, False)
    assert sorted(os.listdir(work.restored(tmp_path / "out"))) == ["file"]


def test_a_sparse_gigabyte_stays_sparse(work: Work, tmp_path: Path) -> None:
    data = os.urandom(200_000)
    disk = work.top / "disk.img"
    with disk.open("wb") as file:
        file.truncate(1 << 30)
        for offset in (0, 123_456_789, (1 << 30) - len(data)):
            file.seek(offset)
            file.write(data)
    made = work.commit()
    assert made["change"]["stored"] < 4 * len(data)
    target = work.restored(tmp_path / "out")
    assert subprocess.run(["cmp", disk, target / "disk.img"], check=False).returncode == 0
    blocks = (target / "disk.img").stat().st_blocks
    assert blocks < disk.stat().st_blocks + 3 * 2 * 65536 // 512
    with disk.open("r+b") as file:
        file.truncate(40 * MIB)
    work.commit("shorter")
    dense = work.restored(tmp_path / "dense", "--no-sparse")
    assert (dense / "disk.img").stat().st_blocks >= 40 * MIB // 512
    assert rsync_differences(work.top, dense) == ""
    # In place, what became zero in the commit becomes a hole on disk.
    disk.write_bytes(os.urandom(40 * MIB))
    work("restore", "--force")
    assert rsync_differences(dense, work.top) == ""
    assert disk.stat().st_blocks < 4 * MIB // 512


def make_deep(top: Path, depth: int) -> None:
    """Folders `deep/deep/...`, with a file at the bottom: longer than any path the kernel takes."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    with open(os.open("leaf", os.O_WRONLY | os.O_CREAT, dir_fd=here), "wb") as leaf:
        leaf.write(b"at the bottom")
    os.close(here)


def test_a_thousand_folders_deep(work: Work, tmp_path: Path) -> None:
    target = tmp_path / "out"
    try:
        make_deep(work.top, 1200)
        work.commit()
        assert work("cat", "HEAD:" + "deep/" * 1200 + "leaf").out == "at the bottom"
        work.restored(target)
        other = Work(work.home, target)
        other("init", "-q")
        touch(target, work.top.stat().st_mtime_ns)
        assert other.commit()["root"] == work.root()
        subprocess.run(["rm", "-rf", work.top / "deep"], check=True)
        work.commit("without")
        work("restore", "--source", "HEAD~1")
        work("restore", "--delete", "--force")
        assert os.listdir(work.top) == [".treering"]
    finally:  # pytest's own removal is recursive
        subprocess.run(["rm", "-rf", target / "deep", work.top / "deep"], check=True)


def test_many_names_in_one_folder(work: Work, tmp_path: Path) -> None:
    """More than fit one directory node; one of them changes, some come and go."""
    for number in range(5000):
        (work.top / f"{number * 7919 % 5000:04}").write_bytes(b"%d" % (number % 40))
    work.commit()
    (work.top / "2500").write_text("changed")
    (work.top / "2501").unlink()
    (work.top / "2501 and a half").write_text("new")
    assert work.changes() == {"2500": "modified", "2501": "deleted", "2501 and a half": "new"}
    made = work.commit()
    assert made["change"]["files"] == 3
    assert rsync_differences(work.top, work.restored(tmp_path / "out")) == ""
