"""Where the control sockets of drivers lie: never in a tree."""

from __future__ import annotations

import os
from pathlib import Path

from ..store.errors import InvalidInput


def socket_folder() -> Path:
    """`/run/treering` for root, a folder of their own for others. InvalidInput where they have
    none."""
    if os.geteuid() == 0:
        return Path("/run/treering")
    own = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    if not Path(own).is_dir():
        raise InvalidInput(
            "there is no folder for the driver's socket", hint="set XDG_RUNTIME_DIR to one of yours"
        )
    return Path(own) / "treering"
