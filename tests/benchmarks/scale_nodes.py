"""Millions of files at the level of nodes and of the scan state, without any file.

*nodes* has files of one block, which need no node of their own; *two-blocks* files of two, an index
node each. Blocks are ids alone. Each step is a process of its own: scale_nodes.py STEP REPOSITORY
FILES BLOCKS.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from measure import run, sizes
from scale_sheet import Sheet, amount

from treering.store import directories
from treering.store.closure import ClosureWalk
from treering.store.content import IndexBuilder
from treering.store.directories import DirectoryBuilder, Folder
from treering.store.ids import ID_LENGTH
from treering.store.nodes import Child, Entry, EntryKind
from treering.store.object_writer import ObjectWriter
from treering.store.repository import Repository
from treering.store.trees import encode_root, load_root
from treering.tracker.changes import count_changes
from treering.tracker.scan_state import SIGNATURE, Part, ScanState, parts_of, row_of

FAN_OUT: Final = 100
CHANGED: Final = 100
WHEN: Final = 1_700_000_000 * 10**9
AT_ONCE: Final = 256


def measure_nodes(work: Path, part: str, size: str, files: int, blocks: int) -> None:
    sheet, path = Sheet(work, part, size), work / f"{part}-{size.replace(' ', '')}"
    shutil.rmtree(path, ignore_errors=True)
    Repository.create(path)
    for name in STEPS:
        command = [sys.executable, __file__, name, str(path), str(files), str(blocks)]
        sheet.add(name.replace("-", " "), run(command, stdout=None))
    found = sizes(path)
    sheet.say("on disk: " + ", ".join(f"{what} {amount(size)}" for what, size in found.items()))
    shutil.rmtree(path)


# -- the tree ------------------------------------------------------------------------------------


def build(repository: Repository, files: int, blocks: int) -> None:
    """A root of so many files, and another that differs from it in 100 of them."""
    writer = repository.writer()
    tree = Tree(repository, writer, blocks)
    first = tree.whole(files)
    writer.flush()
    second = tree.changed(first, files)
    size = repository.block_size
    roots = [writer.put_node(encode_root(each, size)).hex() for each in (first, second)]
    writer.finish()
    repository.record_packs(writer.packs)
    (repository.path / "roots").write_text("\n".join(roots))


class Tree:
    """Stores folders; what is in them follows from their numbers."""

    def __init__(self, repository: Repository, writer: ObjectWriter, blocks: int) -> None:
        self._repository = repository
        self._put = writer.put_node
        self._blocks = blocks

    def whole(self, files: int) -> Entry:
        groups = range(files // FAN_OUT**2)
        return self._folder(b"", {b"top%04d" % group: self._group(group) for group in groups})

    def _group(self, group: int) -> Entry:
        numbers = range(group * FAN_OUT, (group + 1) * FAN_OUT)
        parts = {b"part%08d" % number: self._part(number) for number in numbers}
        return self._folder(b"top%04d" % group, parts)

    def _part(self, number: int) -> Entry:
        names = [b"file%02d" % each for each in range(FAN_OUT)]
        found = {name: self._file(name, b"%d/%s" % (number, name)) for name in names}
        return self._folder(b"part%08d" % number, found)

    def _file(self, name: bytes, seed: bytes) -> Entry:
        ids = hashlib.shake_128(seed).digest(self._blocks * ID_LENGTH)
        size = self._blocks * self._repository.block_size
        if self._blocks > 1:
            builder = IndexBuilder(self._put)
            builder.add(ids)
            ids = builder.finish()
        return Entry(name, EntryKind.FILE, 0o644, 0, 0, WHEN, size, 0, ids)

    def _folder(self, name: bytes, entries: Mapping[bytes, Entry]) -> Entry:
        builder = DirectoryBuilder(self._put)
        for key in sorted(entries):
            builder.add(entries[key])
        return _as_entry(name, builder.finish())

    def changed(self, top: Entry, files: int) -> Entry:
        """The tree with a file changed in each of 100 folders."""
        chosen = sorted(random.Random(1).sample(range(files // FAN_OUT), CHANGED))
        groups = []
        for number, parts in groupby(chosen, lambda part: part // FAN_OUT):
            group = self._find(top, b"top%04d" % number)
            groups.append(self._replaced(group, [self._changed_part(group, n) for n in parts]))
        return self._replaced(top, groups)

    def _changed_part(self, group: Entry, number: int) -> Entry:
        part = self._find(group, b"part%08d" % number)
        return self._replaced(part, [self._file(b"file50", b"changed %d" % number)])

    def _find(self, folder: Entry, name: bytes) -> Entry:
        found = directories.find(self._repository.store, folder.content, name)
        assert found is not None
        return found

    def _replaced(self, folder: Entry, entries: Sequence[Entry]) -> Entry:
        held = directories.entries(self._repository.store, folder.content)
        new = {entry.name: entry for entry in (*held, *entries)}
        return self._folder(folder.name, new)


def _as_entry(name: bytes, made: Folder) -> Entry:
    return Entry(name, EntryKind.FOLDER, 0o755, 0, 0, WHEN, made.size, made.files, made.node)


def roots(repository: Repository) -> list[bytes]:
    lines = (repository.path / "roots").read_text().split()
    return [bytes.fromhex(line) for line in lines]


def walk(repository: Repository, _files: int, _blocks: int) -> None:
    """The closure of a root, as push, finalize, fetch and fsck walk it."""
    _walk(repository, roots(repository)[0], None)


def walk_from_base(repository: Repository, _files: int, _blocks: int) -> None:
    """The same less the closure of a root that differs in 100 files."""
    base, root = roots(repository)
    _walk(repository, root, base)


def _walk(repository: Repository, root: bytes, base: bytes | None) -> None:
    closure = ClosureWalk(repository.store)
    closure.add_root(root, base)
    nodes = blocks = 0
    while ids := closure.take(AT_ONCE):
        for identity in ids:
            closure.visit(identity, repository.store.node(identity))
        nodes += len(ids)
        blocks += len(closure.drain_blocks().keys)
    print(f"    {nodes} nodes, {blocks} blocks")


def compare(repository: Repository, _files: int, _blocks: int) -> None:
    """What differs between two roots, as commit and diff --stat count it."""
    old, new = (load_root(repository.store, root).top for root in roots(repository))
    print(f"    {count_changes(repository.store, old, new, repository.block_size)}")


# -- the scan state ------------------------------------------------------------------------------


def scan_state(repository: Repository, files: int, _blocks: int) -> None:
    """Rows of the scan state of so many files, put in as a first commit does."""
    state = ScanState(repository.catalog, repository.path)
    state.begin()
    for folder in range(files // FAN_OUT):
        state.put(folder + 1, [], map(row_of, _parts(folder)))
    state.save(whole=True)


def _parts(folder: int) -> list[Part]:
    names = [b"file%02d" % each for each in range(FAN_OUT)]
    signatures = [SIGNATURE.pack(folder * FAN_OUT + each, WHEN, WHEN, each) for each in range(100)]
    made, half = [], FAN_OUT // 2
    for start in (0, half):
        leaf = Child(names[start + half - 1], bytes(ID_LENGTH), half, half, half)
        content = b"".join(signatures[start : start + half])
        mine = names[start : start + half]
        made.append(Part(leaf.node, half, half, start > 0, False, mine, content, b""))
    return made


def scan_state_unchanged(repository: Repository, files: int, _blocks: int) -> None:
    """All rows read and compared, none written, as a commit with nothing changed does."""
    state = ScanState(repository.catalog, repository.path)
    state.begin()
    for folder in range(files // FAN_OUT):
        rows = state.rows(folder + 1)
        state.put(folder + 1, rows, map(row_of, parts_of(rows)))
    state.save(whole=True)


Step = Callable[[Repository, int, int], None]
STEPS: Final[dict[str, Step]] = {
    "build-directories": build,
    "closure-walk": walk,
    "closure-walk-from-a-base": walk_from_base,
    "compare-two-roots": compare,
    "scan-state,-first": scan_state,
    "scan-state,-unchanged": scan_state_unchanged,
}


def main() -> None:
    name, path, files, blocks = sys.argv[1:]
    repository = Repository(Path(path))
    STEPS[name](repository, int(files), int(blocks))
    repository.close()


if __name__ == "__main__":
    main()
