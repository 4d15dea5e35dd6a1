"""What a restore is asked for, what it says it does, and what it has done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from .report import Report
from .scope import EVERYTHING, Scope

MAX_KEPT: Final = 1000

What = Literal["create", "update", "metadata", "replace", "delete", "link"]


class Action(NamedTuple):
    """One thing a restore does, or would do: to `path`."""

    what: What
    path: bytes


class Earlier(NamedTuple):
    """An earlier restore in place that was not finished: the paths that it left half restored, or
    None where it was interrupted, so that nobody knows."""

    failed: tuple[bytes, ...] | None = None

    def left(self, path: bytes) -> bool:
        """Whether it is known to have left `path`, or what is below it, half restored."""
        return any(given == path or given.startswith(path + b"/") for given in self.failed or ())


@dataclass(frozen=True)
class Options:
    """`earlier`: what this restore goes on with, or undoes."""

    delete: bool = False
    dry_run: bool = False
    sparse: bool = True
    scope: Scope = EVERYTHING
    earlier: Earlier | None = None


@dataclass
class Result:
    """What a restore did: files written or changed, bytes written, names deleted; files whose
    owner could not be set; paths that are now neither what they were nor what they should be,
    kept up to a limit and counted beyond it; what failed although the user may do it."""

    files: int = 0
    size: int = 0
    deleted: int = 0
    report: Report = field(default_factory=Report)
    unowned: int = 0
    half: list[bytes] = field(default_factory=list)
    half_count: int = 0
    broken: int = 0

    def left_half(self, path: bytes) -> None:
        self.half_count += 1
        if len(self.half) < MAX_KEPT:
            self.half.append(path)
