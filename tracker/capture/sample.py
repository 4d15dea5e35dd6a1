"""A few clean files, looked at in each commit: a guard against who writes past the driver.

They are drawn at random from the base root, each file as likely as any other, by the sums that the
nodes have of what is below them. One that is not as the base has it, though nothing is marked, was
changed by somebody whom the driver did not see.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Iterable, Iterator
from typing import Final

from ...store import directories
from ...store.content import NodeSource
from ...store.nodes import BranchNode, Entry
from ..folder_chain import FolderChain
from ..metadata import KINDS

COUNT: Final = 16


def drawn(source: NodeSource, top: Entry, count: int = COUNT) -> Iterator[tuple[bytes, Entry]]:
    """Paths and entries of some of what lies below a folder and is none, in order, each once."""
    chosen = sorted(random.sample(range(top.files), min(count, top.files)))
    for number in chosen:
        yield _nth(source, top, number)


def _nth(source: NodeSource, top: Entry, number: int) -> tuple[bytes, Entry]:
    parts: list[bytes] = []
    entry = top
    while entry.is_folder:
        node = directories.load_directory(source, entry.content)
        while isinstance(node, BranchNode):
            for child in node.children:
                if number < child.files:
                    break
                number -= child.files
            node = directories.load_directory(source, child.node)
        for entry in node.entries:
            below = entry.files if entry.is_folder else 1
            if number < below:
                break
            number -= below
        parts.append(entry.name)
    return b"/".join(parts), entry


def differing(backing: int, chosen: Iterable[tuple[bytes, Entry]]) -> Iterator[tuple[bytes, int]]:
    """Which of them are not so in the open tree, by their stat: path and inode number, 0 for what
    is not there."""
    with FolderChain(backing) as chain:
        for path, entry in chosen:
            info = _stat(chain, path)
            if info is None or not _is_so(info, entry):
                yield path, info.st_ino if info is not None else 0


def _stat(chain: FolderChain, path: bytes) -> os.stat_result | None:
    folder, _, name = path.rpartition(b"/")
    try:
        return os.stat(name, dir_fd=chain.reach(folder), follow_symlinks=False)
    except OSError:
        return None


def _is_so(info: os.stat_result, entry: Entry) -> bool:
    if KINDS.get(stat.S_IFMT(info.st_mode)) != entry.kind:
        return False
    return info.st_mtime_ns == entry.mtime_ns and (not entry.is_file or info.st_size == entry.size)
