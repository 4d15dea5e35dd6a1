"""A tree of oddities: everything an ext4 file system can hold, that is no socket. Needs root."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
from pathlib import Path

from live_trees import SECOND, touch

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
