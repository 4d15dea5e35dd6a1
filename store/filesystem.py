"""Which file system a path lies on, from /proc/self/mountinfo (Linux; "unknown" elsewhere)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "afs", "lustre", "gfs2"}
)
OWN_DRIVER: Final = "fuse.treering"
UNKNOWN: Final = "unknown"


def filesystem_type(path: Path) -> str:
    """The type of the file system that holds `path`, as mount(8) names it."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    fallback = UNKNOWN
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return UNKNOWN
    for line in lines:
        fields, _, rest = line.partition(" - ")
        columns = fields.split(" ")
        if columns[2] == wanted:
            return rest.split(" ")[0]
        if rest.startswith("btrfs ") and _below(path, columns[4]):
            fallback = "btrfs"  # its subvolumes have device numbers of their own
    return fallback


def _below(path: Path, mount_point: str) -> bool:
    return path.resolve().is_relative_to(mount_point)


def is_network(kind: str) -> bool:
    """Whether a file system is shared or remote: LMDB and SQLite must not lie on one."""
    return kind in NETWORK or (kind.startswith("fuse.") and kind != OWN_DRIVER)
