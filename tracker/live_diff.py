"""What differs between a commit and the live tree, in the form that two commits have.

The scan of status says which paths differ; the files among them are read, hashed and compared like
stored ones, over a source that has their nodes in memory, and the blocks of short ones there or, if
they are many, in a temporary file. Nothing is stored. What is in a new folder is listed as anything
else that is new is; what the scan leaves out is left out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Final

from msgspec.structs import replace

from ..store import trees
from ..store.block_store import BlockStore
from ..store.codec import CodecId
from ..store.content import IndexBuilder, block_count
from ..store.errors import NotFound, storage_error
from ..store.ids import NULL, Key, NodeId, block_id, block_key, node_id
from ..store.nodes import EMPTY_FOLDER, Entry
from ..store.packfile import Record
from ..store.progress import SILENT, Progress
from ..store.repository import Repository
from ..store.text_diff import MAX_TEXT
from ..store.trees import PathDifference
from .block_reader import OPEN_FLAGS
from .build import with_group
from .compare import live_ids
from .diff import FileChange, listed
from .map_status import live_status
from .metadata import Stat, at, folder_entry, make_entry, read_xattrs, special_entry
from .report import Report
from .scan import FOLDER_FLAGS
from .scope import Relation, Scope
from .snapshot import xattr_filter
from .unrestored import Unrestored

MAX_KEPT: Final = 32 << 20
"""Bytes of short files that are held in memory."""


class LiveSource:
    """A block store, and before it what was read of live files."""

    def __init__(self, store: BlockStore) -> None:
        self._store = store
        self._nodes: dict[bytes, bytes] = {}
        self._texts = SpooledTemporaryFile(MAX_KEPT)  # noqa: SIM115 - `close` does it
        self._blocks: dict[bytes, tuple[int, int]] = {}
        self._end = 0

    def put_node(self, plain: bytes) -> NodeId:
        identity = node_id(plain)
        self._nodes[identity] = plain
        return identity

    def put_block(self, plain: bytes) -> bytes:
        if not any(plain):
            return NULL
        identity = block_id(plain)
        key = block_key(identity)
        if key not in self._blocks:
            try:
                self._texts.seek(self._end)
                self._texts.write(plain)
            except OSError as error:
                raise storage_error("writing a temporary file", error) from error
            self._blocks[key] = self._end, len(plain)
            self._end += len(plain)
        return identity

    def close(self) -> None:
        """Drop what was kept."""
        self._texts.close()

    def node(self, identity: bytes) -> bytes:
        plain = self._nodes.get(identity)
        return self._store.node(identity) if plain is None else plain

    def stream(self, keys: list[bytes]) -> Iterator[Record]:
        for key in keys:
            if key in self._blocks:
                offset, length = self._blocks[key]
                self._texts.seek(offset)
                yield Record(Key(key), CodecId.RAW, length, self._texts.read(length))
        yield from self._store.stream([key for key in keys if key not in self._blocks])

    def expand(self, record: Record) -> bytes:
        if record.key in self._blocks:
            return record.payload
        return self._store.expand(record)


class LiveDiff:
    """One comparison of the tree at `top` with a stored one, by its top folder, or with nothing.
    `report` is complete after `changes`."""

    def __init__(
        self, repository: Repository, top: Path, base: Entry | None, progress: Progress = SILENT
    ) -> None:
        self._repository = repository
        self._top = top
        self._base = base
        self._progress = progress
        self.report = Report()
        self._keep = xattr_filter(repository)
        self._unrestored = Unrestored(repository)
        self.source = LiveSource(repository.store)

    def changes(self, paths: Iterable[bytes] = ()) -> list[FileChange]:
        """What differs, or of it what lies at `paths`, in path order."""
        scope = Scope(paths)
        scan, items = live_status(
            self._repository, self._top, base=self._base, into_new=True, progress=self._progress
        )
        self.report = scan.report
        found = sorted(
            (
                path
                for item in items
                if scope.relation(path := item.path.strip(b"/")) is Relation.INSIDE
            ),
            key=lambda path: path.split(b"/"),
        )
        try:
            top = os.open(self._top, FOLDER_FLAGS)
        except OSError as error:
            raise storage_error(f"opening {self._top}", error) from error
        self._pool = ThreadPoolExecutor(self._repository.threads, thread_name_prefix="compare")
        try:
            return listed(
                difference
                for path, following in pairwise([*found, b""])
                for difference in self._differences(top, path, following.startswith(path + b"/"))
            )
        finally:
            self._pool.shutdown(cancel_futures=True)
            os.close(top)

    def _differences(self, top: int, path: bytes, holds: bool) -> Iterator[PathDifference]:
        """What differs at a path. `holds`: so does something below it, which comes next."""
        old = self._stored(path)
        try:
            new = self._live(top, path, old)
        except FileNotFoundError:
            new = None
        except OSError as error:
            self.report.failed(path, "read", error)
            return
        if holds and not (old is not None and old.is_folder):
            new = None  # what is in a new folder stands for it
        yield PathDifference(path, old, new)
        if old is not None and old.is_folder and not (new is not None and new.is_folder):
            yield from trees.differences(self.source, old, None, path + b"/")

    def _stored(self, path: bytes) -> Entry | None:
        try:
            base = self._base
            return trees.lookup(self.source, base, path) if base is not None else None
        except NotFound:
            return None

    def _live(self, top: int, path: bytes, old: Entry | None) -> Entry:
        info = os.stat(path, dir_fd=top, follow_symlinks=False)
        name = path.rpartition(b"/")[2]
        if stat.S_ISDIR(info.st_mode):
            xattrs = read_xattrs(at(top, path), self._keep)
            entry = folder_entry(name, info, xattrs, EMPTY_FOLDER, 0, 0)
        elif stat.S_ISREG(info.st_mode):
            entry = self._file(top, path, name)
        else:
            entry = replace(special_entry(top, path, info, self._keep), name=name)
        entry = self._unrestored.apply(path, entry)
        return with_group(entry, old.more.group) if old is not None else entry

    def _file(self, top: int, path: bytes, name: bytes) -> Entry:
        descriptor = os.open(path, OPEN_FLAGS, dir_fd=top)
        try:
            info = os.fstat(descriptor)
            content, size = self._content(descriptor, info.st_size)
            xattrs = read_xattrs(descriptor, self._keep)
            return make_entry(name, Stat.of(info, size), content=content, xattrs=xattrs)
        finally:
            os.close(descriptor)

    def _content(self, descriptor: int, size: int) -> tuple[bytes, int]:
        """(content id, bytes) of an open file; a short one is read at once, and kept."""
        block_size = self._repository.block_size
        builder = IndexBuilder(self.source.put_node)
        if size <= MAX_TEXT:
            content = os.pread(descriptor, size, 0)
            for start in range(0, len(content), block_size):
                builder.add(self.source.put_block(content[start : start + block_size]))
            return builder.finish(), len(content)
        blocks = 0
        for number, identity in live_ids(descriptor, size, block_size, self._pool):
            builder.add_nulls(number - blocks)
            builder.add(identity)
            blocks = number + 1
        builder.add_nulls(block_count(size, block_size) - blocks)
        return builder.finish(), size
