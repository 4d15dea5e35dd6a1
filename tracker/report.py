"""What a scan or restore met that the user should know, gathered as it goes.

A *problem* makes the command end with warnings (exit 3): something in the tree is not in the
snapshot as it is now, or not on disk as it was. A *remark* is only said. Both are kept up to a
limit and counted beyond it, so that a million unreadable files stay flat in memory.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

MAX_KEPT: Final = 1000


class Remark(NamedTuple):
    """`what` happened at `path` (bytes, relative to the work tree)."""

    path: bytes
    what: str


class Report:
    def __init__(self) -> None:
        self.problems: list[Remark] = []
        self.remarks: list[Remark] = []
        self.problem_count = 0
        self.sockets = 0
        self.socket_paths: list[bytes] = []

    def problem(self, path: bytes, what: str) -> None:
        self.problem_count += 1
        if len(self.problems) < MAX_KEPT:
            self.problems.append(Remark(path, what))

    def remark(self, path: bytes, what: str) -> None:
        if len(self.remarks) < MAX_KEPT:
            self.remarks.append(Remark(path, what))

    def socket(self, path: bytes) -> None:
        self.sockets += 1
        if len(self.socket_paths) < MAX_KEPT:
            self.socket_paths.append(path)

    def failed(self, path: bytes, action: str, error: OSError) -> None:
        """A problem from an OSError: "cannot read: Permission denied"."""
        self.problem(path, f"cannot {action}: {error.strerror or os.strerror(error.errno or 0)}")
