"""Promise 7: a restored tree is what was committed, in every respect that a file system has."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
import subprocess
from pathlib import Path

import pytest
from live_trees import SECOND, Work, fingerprint, rsync_differences, touch

OLD = -86_400 * 365 * SECOND - 123_456_789  # in 1969
MIB = 1 << 20
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service+ep


def odd_names() -> list[bytes]:
    return [
        b"with space",
        b"new\nline",
        b'tab\tand "quotes" and \\',
        b"-rf",
        b"latin-\xe9\xff\x80",
        "ünïcødé".encode(),
        "e\u0301 decomposed".encode(),
        "\u00e9 composed".encode(),
        b"long" + b"x" * 251,
        b"\xfe" * 255,
        b"...",
        b"*?[a]",
        b"CASE",
        b"case",
        b"trailing.",
        b"\x01\x7f",
    ]


def make_odd_tree(top: Path) -> None:  # noqa: PLR0915 - a list of oddities
    """Everything an ext4 file system can hold, that is no socket."""
    base = os.fsencode(top)
    for name in odd_names():
        Path(os.fsdecode(base + b"/" + name)).write_bytes(name * 3)
    folder = base + b"/folder \xff\n"
    os.mkdir(folder)
    for name in odd_names():
        os.mkdir(folder + b"/" + name)
    modes = top / "modes"
    modes.mkdir()
    for mode in (0o000, 0o400, 0o644, 0o4755, 0o2755, 0o1644, 0o6711, 0o7777):
        path = modes / f"{mode:o}"
        path.write_text("mode")
        os.chown(path, 0, 0)
        path.chmod(mode)
    for mode in (0o000, 0o1777, 0o2770, 0o7755):
        (modes / f"folder-{mode:o}").mkdir()
        (modes / f"folder-{mode:o}" / "inside").write_text("x")
        (modes / f"folder-{mode:o}").chmod(mode)
    owners = top / "owners"
    owners.mkdir()
    for uid, gid in ((0, 0), (12345, 54321), (2**31, 7), (2**32 - 2, 2**32 - 2)):
        path = owners / f"{uid}-{gid}"
        path.write_text("mine")
        path.chmod(0o4711)
        os.chown(path, uid, gid)
        path.chmod(0o4711)
    os.symlink("nowhere", owners / "link")
    os.chown(owners / "link", 4711, 4712, follow_symlinks=False)
    os.chown(owners, 99, 98)
    links = top / "links"
    links.mkdir()
    os.symlink("/nonexistent/" + "y" * 200, links / "dangling")
    os.symlink("loop", links / "loop")
    os.symlink("..", links / "up")
    os.symlink(b"\xff\n not utf-8", os.fsencode(links / "raw"))
    (links / "a").mkdir()
    (links / "b").mkdir()
    (links / "a" / "two").write_text("in one folder")
    os.link(links / "a" / "two", links / "a" / "zwei")
    (links / "a" / "across").write_text("across folders")
    os.link(links / "a" / "across", links / "b" / "across")
    (links / "b" / "three").write_text("three names")
    os.link(links / "b" / "three", links / "a" / "drei")
    os.link(links / "b" / "three", top / "trois")
    outside = top.parent / "outside"
    outside.write_text("has one name in the tree only")
    os.link(outside, links / "one-inside")
    os.link(links / "dangling", links / "dangling too", follow_symlinks=False)
    special = top / "special"
    special.mkdir()
    os.mkfifo(special / "fifo", 0o640)
    os.link(special / "fifo", special / "fifo too")
    os.mknod(special / "char", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(special / "block", stat.S_IFBLK | 0o660, os.makedev(259, 1_048_575))
    holes = top / "holes"
    holes.mkdir()
    (holes / "zeros").write_bytes(bytes(3 * MIB + 5))
    (holes / "one zero").write_bytes(b"\0")
    with open(holes / "data hole data", "wb") as file:
        file.write(os.urandom(100_000))
        file.seek(20 * MIB)
        file.write(b"end")
    with open(holes / "only a hole", "wb") as file:
        file.truncate(7 * MIB + 1)
    with open(holes / "hole at the end", "wb") as file:
        file.write(b"start")
        file.truncate(9 * MIB)
    (top / "empty file").touch()
    (top / "empty folder").mkdir()
    attributes = top / "attributes"
    attributes.mkdir()
    plain = attributes / "file"
    plain.write_text("attributed")
    os.setxattr(plain, "user.text", b"value")
    os.setxattr(plain, "user.empty", b"")
    os.setxattr(plain, "user.binary", bytes(range(256)))
    os.setxattr(plain, "trusted.root", b"only root sees it")
    os.setxattr(attributes, "user.folder", b"too")
    program = attributes / "program"
    program.write_text("#!/bin/sh\n")
    os.chown(program, 1, 1)
    program.chmod(0o755)
    os.setxattr(program, "security.capability", CAPABILITY)
    acl = attributes / "acl"
    acl.write_text("controlled")
    acl.chmod(0o640)
    subprocess.run(["setfacl", "-m", "u:1234:rw,g:4321:r", acl], check=True)
    inherits = attributes / "inherits"
    inherits.mkdir()
    subprocess.run(["setfacl", "-m", "u:1:rwx,d:u:2:rwx,d:g:3:r-x", inherits], check=True)
    (inherits / "child").write_text("has inherited")
    plain_child = inherits / "plain child"
    plain_child.write_text("has shed what it inherited")
    subprocess.run(["setfacl", "-b", plain_child], check=True)
    times = top / "times"
    times.mkdir()
    for number, when in enumerate((OLD, -1, 0, 1, 1_600_000_000_123_456_789, 2**33 * SECOND + 1)):
        (times / f"{number}").write_text("then")
        touch(times / f"{number}", when)
        (times / f"folder {number}").mkdir()
        touch(times / f"folder {number}", when)
    os.symlink("x", times / "link")
    touch(times / "link", OLD)
    touch(times, OLD)
    touch(top, 1_234_567_890 * SECOND + 987_654_321)


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
