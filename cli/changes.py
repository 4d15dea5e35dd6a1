"""What diff, show and log print of the changes between two snapshots: options and output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from ..store.content import NodeSource
from ..store.history import Commit
from ..store.repository import Repository
from ..store.trees import ObjectSource, load_root
from ..tracker.diff import FileChange, change_regions, file_changes
from .diffstat import rows, stat_lines
from .output import Json, path_json, region_json, region_line, say, write
from .patch import name_status, patch

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Style:
    """How to show changes; as a patch when nothing is chosen."""

    stat: bool = False
    names: bool = False
    regions: bool = False


def style_options(function: Function) -> Function:
    """--stat, --name-status and --regions."""
    for option in (
        click.option("--regions", is_flag=True, help="Byte ranges, for texts too."),
        click.option("--name-status", "names", is_flag=True, help="Only the names."),
        click.option("--stat", is_flag=True, help="A line a file: regions and bytes."),
    ):
        function = option(function)
    return function


def changes_of(
    repository: Repository, commit: Commit, paths: Iterable[bytes] = ()
) -> list[FileChange]:
    """What a commit changed against its first parent."""
    source = repository.store
    parent = repository.history.commit(commit.parents[0]) if commit.parents else None
    old = load_root(source, parent.root).top if parent else None
    return file_changes(source, old, load_root(source, commit.root).top, paths)


def say_changes(
    repository: Repository,
    changes: list[FileChange],
    style: Style,
    source: ObjectSource | None = None,
) -> None:
    """Print changes; `source` has their objects where the repository's store has not all."""
    source, block_size = source or repository.store, repository.block_size
    if style.stat:
        for line in stat_lines(rows(source, changes, block_size)):
            say(line)
    for change in changes:
        if style.names:
            say(name_status(change))
        elif style.regions:
            for region in change_regions(source, change, block_size):
                say(region_line(region))
        elif not style.stat:
            for piece in patch(source, change, block_size):
                write(piece)


def changes_json(
    repository: Repository, changes: list[FileChange], source: NodeSource | None = None
) -> list[Json]:
    source = source or repository.store
    return [_change_json(source, repository.block_size, change) for change in changes]


def _change_json(source: NodeSource, block_size: int, change: FileChange) -> Json:
    found: Json = {"what": change.what, **path_json(change.path)}
    if change.what == "renamed":
        found.update(path_json(change.old_path, "old_path"))
    found["kind"] = change.entry.kind_name
    found["old_size"] = change.old.size if change.old else None
    found["size"] = change.new.size if change.new else None
    found["regions"] = list(map(region_json, change_regions(source, change, block_size)))
    return found
