"""Putting the driver's file system on a folder, and taking it off: by mount(2) as root, by
`fusermount3` as anybody else."""

from __future__ import annotations

import array
import errno
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Final

from ...store.errors import StorageError, TreeringError
from . import protocol, syscalls

KIND: Final = "fuse.treering"
DEVICE: Final = "/dev/fuse"
HELPER: Final = "fusermount3"
REFUSED: Final = os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC
"""The same numbers as the flags of mount(2)."""
PROGRAMS: Final = "/usr/local/bin:/usr/bin:/bin"
"""Where a program that runs as root may be taken from, whatever the user's PATH says."""


def mount(source: str, target: Path) -> int:
    """Mount over `target`, shown as a mount of `source`; the descriptor of the connection. Nobody
    may look into `target` before the connection is served. StorageError.

    What the file system below refuses - writing, set-user-ID programs, devices, programs - the
    mount refuses too: else it would be a way around."""
    try:
        refused = os.statvfs(target).f_flag & REFUSED
    except OSError as error:
        raise StorageError(f"{target}: {error.strerror}") from error
    if os.geteuid() == 0:
        return _mount_as_root(source, target, refused)
    return _mount_as_user(source, target, refused)


def _mount_as_root(source: str, target: Path, refused: int) -> int:
    try:
        connection = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"{DEVICE}: {error.strerror}", hint="modprobe fuse") from error
    options = (
        f"fd={connection},rootmode=40000,user_id=0,group_id=0,"
        f"allow_other,default_permissions,max_read={protocol.MAX_WRITE}"
    )
    flags = syscalls.MS_NOATIME | refused  # access times are the backing's
    try:
        syscalls.mount(source, os.fsencode(target), KIND, flags, options)
    except OSError as error:
        os.close(connection)
        raise StorageError(f"mounting over {target}: {error.strerror}") from error
    return connection


def _mount_as_user(source: str, target: Path, refused: int) -> int:
    """The helper opens the device, mounts, and sends the descriptor through a socket. It refuses
    set-user-ID programs and devices of itself."""
    program = shutil.which(HELPER, path=PROGRAMS)
    if program is None:
        raise TreeringError(
            "mounting needs root or fusermount3", hint="install fuse3 (Debian: apt install fuse3)"
        )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        options = f"fsname={_quoted(source)},subtype=treering,default_permissions,noatime"
        options += f",max_read={protocol.MAX_WRITE}"
        options += ",ro" * bool(refused & os.ST_RDONLY) + ",noexec" * bool(refused & os.ST_NOEXEC)
        done = subprocess.run(
            [program, "-o", options, "--", str(target)],
            env={"_FUSE_COMMFD": str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            capture_output=True,
            check=False,
        )
        theirs.close()
        if done.returncode:
            message = done.stderr.decode(errors="replace").strip()
            raise StorageError(f"mounting over {target}: {message}")
        return _received(ours)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,")


def _received(channel: socket.socket) -> int:
    descriptors = array.array("i")
    _, ancillary, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(descriptors.itemsize))
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: descriptors.itemsize])
    if not descriptors:
        raise StorageError("fusermount3 sent no connection")
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


def unmount(target: Path, *, lazy: bool = False) -> None:
    """Take it off. OSError EBUSY while somebody uses it; a lazy one goes at once, and its end comes
    when the last one stops."""
    if os.geteuid() == 0:
        syscalls.unmount(os.fsencode(target), lazy=lazy)
        return
    program = shutil.which(HELPER, path=PROGRAMS) or HELPER
    command = [program, "-u", *(["-z"] if lazy else []), "--", str(target)]
    done = subprocess.run(command, env={}, capture_output=True, check=False)
    if done.returncode:
        raise OSError(errno.EBUSY, done.stderr.decode(errors="replace").strip())
