"""What a restore is asked for, what it says it does, and what it has done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .report import Report
from .scope import EVERYTHING, Scope

What = Literal["create", "update", "metadata", "replace", "delete", "link"]


class Action(NamedTuple):
    """One thing a restore does, or would do: to `path`."""

    what: What
    path: bytes


@dataclass(frozen=True)
class Options:
    delete: bool = False
    dry_run: bool = False
    sparse: bool = True
    scope: Scope = EVERYTHING


@dataclass
class Result:
    """What a restore did: files written or changed, bytes written, names deleted; files whose
    owner could not be set."""

    files: int = 0
    size: int = 0
    deleted: int = 0
    report: Report = field(default_factory=Report)
    unowned: int = 0
