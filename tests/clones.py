"""A clone and its commits as a model has them, and the commands that run on it in this process."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from treering.cli.main import run
from treering.store.repository import Repository

Tree = dict[str, bytes]
HEADS, TAGS, TRACKING = "refs/heads/", "refs/tags/", "refs/remotes/origin/"
LOST = 11


@dataclass(frozen=True)
class Made:
    """A commit as the model has it."""

    tree: tuple[tuple[str, bytes], ...]
    parents: tuple[str, ...]


@dataclass
class Clone:
    """A clone: the folder, and what the model says of it."""

    top: Path
    tree: Tree = field(default_factory=dict)
    branch: str = "main"
    refs: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, code: int | None = 0) -> Any:
        """Run a command; its JSON document, or its exit code where that is not given."""
        out, err = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
        with patch.object(sys, "stdout", out), patch.object(sys, "stderr", err):
            ended = run(["-C", str(self.top), *arguments, "--json"])
            out.flush()
        printed = out.buffer.getvalue()
        said = err.buffer.getvalue()
        if code is None:
            return ended
        assert ended == code, (arguments, ended, printed, said)
        return json.loads(printed) if printed else None

    @property
    def head(self) -> str | None:
        return self.refs.get(HEADS + self.branch)


def three_way(base: Tree, ours: Tree, theirs: Tree, then: str) -> tuple[Tree, list[str]]:
    """The merged tree, and what both sides changed, each in its own way: taken from one side."""
    merged, clashes = {}, []
    for name in base.keys() | ours.keys() | theirs.keys():
        old, mine, other = (tree.get(name) for tree in (base, ours, theirs))
        found = mine if other in (mine, old) else other
        if mine not in (old, other) and other not in (old, mine):
            clashes.append(name)
            found = {"ours": mine, "theirs": other}.get(then)
        if found is not None:
            merged[name] = found
    return merged, clashes


def refs_of(path: Path) -> Mapping[str, str]:
    """Every ref, as the repository itself has it."""
    repository = Repository(path, threads=1)
    try:
        return repository.history.refs()
    finally:
        repository.close()


def files_of(top: Path) -> Tree:
    found = (path for path in top.rglob("*") if path.is_file())
    named = {str(path.relative_to(top)): path.read_bytes() for path in found}
    return {name: content for name, content in named.items() if not name.startswith(".treering/")}
