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


def filesystem_type(path: Path | int) -> str:
    """The type of the file system that holds `path`, or what is open as this descriptor, as
    mount(8) names it."""
    device = os.stat(path).st_dev
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
        if rest.startswith("btrfs ") and _full(path).is_relative_to(columns[4]):
            fallback = "btrfs"  # its subvolumes have device numbers of their own
    return fallback


def _full(path: Path | int) -> Path:
    return Path(f"/proc/self/fd/{path}" if isinstance(path, int) else path).resolve()


def is_network(kind: str) -> bool:
    """Whether a file system is shared or remote: LMDB and SQLite must not lie on one."""
    return kind in NETWORK or (kind.startswith("fuse.") and kind != OWN_DRIVER)
