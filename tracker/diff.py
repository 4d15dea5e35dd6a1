"""What differs between two snapshots, as people read it: file by file, renames found.

A folder is listed where its own metadata differ, or where it is new or gone and empty: anything
else of it shows in what it holds. Costs what differs: equal nodes are skipped by id. Nothing is
read but nodes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, NamedTuple

from ..store import trees
from ..store.content import NodeSource
from ..store.errors import NotFound
from ..store.ids import NULL
from ..store.nodes import EMPTY_FOLDER, Entry
from ..store.trees import PathDifference
from .changes import Region, changed_regions

What = Literal["added", "deleted", "modified", "renamed", "retyped"]
MAX_RENAMES: Final = 100_000
"""From more deleted files than this on, renames are not looked for: they are held in memory."""


class FileChange(NamedTuple):
    """One path. `old_path` differs from `path` for a renamed file only."""

    what: What
    path: bytes
    old: Entry | None
    new: Entry | None
    old_path: bytes

    @property
    def entry(self) -> Entry:
        """What is there now, or was there last."""
        found = self.new or self.old
        assert found is not None
        return found

    @property
    def shown_path(self) -> bytes:
        """The path, of a folder with a slash behind it."""
        return self.path + b"/" if self.entry.is_folder else self.path


def file_changes(
    source: NodeSource, old: Entry | None, new: Entry | None, paths: Iterable[bytes] = ()
) -> list[FileChange]:
    """What differs between two top folders, in path order, or of it what lies at `paths`."""
    return listed(
        difference
        for path in sorted(set(paths)) or [b""]
        for difference in _differences(source, old, new, path)
    )


def listed(differences: Iterable[PathDifference]) -> list[FileChange]:
    """The changes that some differences, in path order, amount to."""
    return _with_renames([change for found in differences for change in _changes(found)])


def change_regions(source: NodeSource, change: FileChange, block_size: int) -> Iterator[Region]:
    """The regions that a change wrote: of a deleted file or a folder there are none."""
    if change.new is None or not change.new.is_file:
        return iter(())
    return changed_regions(source, change.path, change.old, change.new, block_size)


def _differences(
    source: NodeSource, old: Entry | None, new: Entry | None, path: bytes
) -> Iterator[PathDifference]:
    if not path:
        yield from trees.differences(source, old, new)
        return
    before, after = _lookup(source, old, path), _lookup(source, new, path)
    if before != after:
        yield PathDifference(path, before, after)
        yield from trees.differences(source, before, after, path + b"/")


def _lookup(source: NodeSource, top: Entry | None, path: bytes) -> Entry | None:
    try:
        return trees.lookup(source, top, path) if top is not None else None
    except NotFound:
        return None


def _changes(found: PathDifference) -> Iterator[FileChange]:
    path, old, new = found
    if old is not None and new is not None and old.is_folder == new.is_folder:
        if not old.is_folder:
            yield FileChange(
                "modified" if old.kind == new.kind else "retyped", path, old, new, path
            )
        elif _own(old) != _own(new):
            yield FileChange("modified", path, old, new, path)
        return
    if old is not None and _is_listed(old):
        yield FileChange("deleted", path, old, None, path)
    if new is not None and _is_listed(new):
        yield FileChange("added", path, None, new, path)


def _is_listed(entry: Entry) -> bool:
    return not entry.is_folder or entry.content == EMPTY_FOLDER


def _own(entry: Entry) -> tuple[object, ...]:
    """A folder's own metadata; its times follow from what is done in it."""
    return entry.mode, entry.uid, entry.gid, entry.more.xattrs


def _with_renames(changes: list[FileChange]) -> list[FileChange]:
    """A file that is gone and one that is new, of equal content, are one that was renamed. Of
    several with one content those with the same last name go together first."""
    gone = [change for change in changes if change.what == "deleted" and _has_data(change)]
    if not gone or len(gone) > MAX_RENAMES:
        return changes
    added = [change for change in changes if change.what == "added" and _has_data(change)]
    before: dict[bytes, FileChange] = {}
    taken: set[bytes] = set()
    for key in (_content_and_name, _content):
        before |= _pair(
            [change for change in gone if change.path not in taken],
            [change for change in added if change.path not in before],
            key,
        )
        taken = {old.path for old in before.values()}
    kept = (change for change in changes if change.what != "deleted" or change.path not in taken)
    return [_renamed(change, before.get(change.path)) for change in kept]


def _pair(
    gone: list[FileChange], added: list[FileChange], key: Callable[[FileChange], object]
) -> dict[bytes, FileChange]:
    """New path -> what is gone and has the same key, each at most once."""
    candidates: dict[object, deque[FileChange]] = {}
    for change in gone:
        candidates.setdefault(key(change), deque()).append(change)
    found = {}
    for change in added:
        if same := candidates.get(key(change)):
            found[change.path] = same.popleft()
    return found


def _has_data(change: FileChange) -> bool:
    return change.entry.is_file and change.entry.content != NULL


def _content(change: FileChange) -> object:
    return change.entry.content, change.entry.size


def _content_and_name(change: FileChange) -> object:
    return _content(change), change.path.rpartition(b"/")[2]


def _renamed(change: FileChange, before: FileChange | None) -> FileChange:
    if before is None or change.what != "added":
        return change
    return FileChange("renamed", change.path, before.old, change.new, before.path)
