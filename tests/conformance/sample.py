"""Small repositories made with plain store calls, and the carriers to them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from blake3 import blake3

from treering.store import trees
from treering.store.content import IndexBuilder
from treering.store.directories import DirectoryBuilder, Folder
from treering.store.errors import NotFound
from treering.store.history import BRANCHES, Commit, HistoryObject, Person, RefUpdate
from treering.store.ids import NULL, Key, NodeId, block_id, block_key
from treering.store.nodes import Entry, EntryKind
from treering.store.object_writer import ObjectWriter
from treering.store.packfile import Record
from treering.store.remotes.base import Description, Remote
from treering.store.remotes.fetch_plan import FetchUpdate
from treering.store.remotes.local import open_local
from treering.store.remotes.push_plan import PushUpdate
from treering.store.remotes.transfer import FetchResult, PushResult, fetch, push
from treering.store.remotes.wire import PipeRemote
from treering.store.repository import Repository
from treering.store.root_record import RootRecord

BLOCK = 4096
WHO = Person("Tester", "t@example.org", 1_700_000_000)
MAIN = BRANCHES + "main"
TRACKING = "refs/remotes/origin/main"
Files = Mapping[str, bytes]
"""Path -> content; one level of folders."""


def new_repository(path: Path) -> Repository:
    Repository.create(path, BLOCK)
    return Repository(path, threads=2, lock_wait=5)


def put_file(writer: ObjectWriter, repository: Repository, name: bytes, content: bytes) -> Entry:
    blocks = [content[start : start + BLOCK] for start in range(0, len(content), BLOCK)]
    found = put_blocks(writer, repository, [block if any(block) else None for block in blocks])
    return Entry(name, EntryKind.FILE, 0o644, 0, 0, 0, len(content), 0, found)


def put_blocks(
    writer: ObjectWriter, repository: Repository, blocks: Iterable[bytes | None]
) -> bytes:
    """Store the blocks of a file, of whatever length; its content id. None is the null id."""
    index = IndexBuilder(writer.put_node)
    for block in blocks:
        if block is None:
            index.add_nulls(1)
            continue
        key = block_key(block_id(block))
        if writer.claim([key])[0]:
            codec, payload = repository.store.codec.compress(block)
            writer.append([Record(key, codec, len(block), payload)])
        index.add(key[1:])
    return index.finish() or NULL


def put_folder(name: bytes, entries: Iterable[Entry], writer: ObjectWriter) -> Entry:
    builder = DirectoryBuilder(writer.put_node)
    for entry in sorted(entries, key=lambda entry: entry.name):
        builder.add(entry)
    node, files, size = folder = builder.finish()
    assert isinstance(folder, Folder)
    return Entry(name, EntryKind.FOLDER, 0o755, 0, 0, 0, size, files, node)


def put_tree(repository: Repository, files: Files) -> NodeId:
    """Store a tree; its root."""
    writer = repository.writer()
    folders: dict[bytes, list[Entry]] = {b"": []}
    for path, content in files.items():
        folder, _, name = path.encode().rpartition(b"/")
        entry = put_file(writer, repository, name, content)
        folders.setdefault(folder, []).append(entry)
    top = folders.pop(b"")
    top += [put_folder(name, entries, writer) for name, entries in folders.items()]
    entry = put_folder(b"", top, writer)
    root = writer.put_node(trees.encode_root(entry, repository.block_size))
    writer.finish()
    repository.record_packs(writer.packs)
    return root


def commit(repository: Repository, files: Files, message: str = "m", ref: str = MAIN) -> Commit:
    return commit_root(repository, put_tree(repository, files), message, ref)


def commit_root(
    repository: Repository, root: NodeId, message: str = "m", ref: str = MAIN
) -> Commit:
    """A commit of a root that is here."""
    old = repository.history.ref(ref)
    repository.mark_held([root], "whole")
    parents = [old] if old else []
    return repository.history.create_commit(RootRecord(root), parents, WHO, WHO, message, ref)


def read_tree(repository: Repository, commit_id: str) -> dict[str, bytes]:
    """All files of a commit, every block read and verified."""
    store = repository.store
    root = trees.load_root(store, repository.history.commit(commit_id).root)
    return {
        path.decode(): b"".join(trees.read_file(store, entry, root.block_size))
        for path, entry in trees.walk(store, root.top)
        if entry.is_file
    }


def noise(count: int, seed: int) -> bytes:
    """Bytes that do not compress, the same for a seed."""
    return blake3(b"%d" % seed).digest(length=count)


FIRST = {"a": b"hello", "d/big": noise(40 * BLOCK + 5, 1), "d/holes": bytes(300 * BLOCK) + b"x"}
SECOND = {**FIRST, "d/big": FIRST["d/big"][:-5] + b"12345"}


def push_main(repository: Repository, remote: Remote, jobs: int = 2) -> PushResult:
    tip = repository.history.ref(MAIN)
    assert tip is not None
    return push(repository, remote, [PushUpdate(tip, MAIN)], WHO, jobs=jobs)


def fetch_main(repository: Repository, remote: Remote, jobs: int = 2) -> FetchResult:
    return fetch(repository, remote, [FetchUpdate(MAIN, TRACKING)], WHO, jobs=jobs)


def has(repository: Repository, key: bytes) -> bool:
    try:
        repository.store.get(key)
    except NotFound:
        return False
    return True


def records(repository: Repository, keep: Callable[[Key], bool] = lambda _: True) -> list[Record]:
    keys = [key for key, _ in repository.store.index.items() if keep(key)]
    return list(repository.store.stream(keys))


def send_history(repository: Repository, remote: Remote, tip: str) -> None:
    commits = repository.history.oldest_first([tip])
    remote.store_history(list(repository.history.export(commits)))


class Carriers:
    """Opens remotes by one kind of carrier, one at a time: LMDB opens an index once a process."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.processes: list[subprocess.Popen[bytes]] = []
        self._remotes: list[Remote] = []

    def open(self, path: Path) -> Remote:
        self.close()
        remote = open_local(path, threads=2) if self.kind == "local" else self._pipe(path)
        self._remotes.append(remote)
        return remote

    def _pipe(self, path: Path) -> Remote:
        child = Path(__file__).with_name("pipe_child.py")
        process = subprocess.Popen(
            [sys.executable, child, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.processes.append(process)
        reader, writer = cast(BinaryIO, process.stdout), cast(BinaryIO, process.stdin)

        def reap() -> None:
            process.wait(30)

        return PipeRemote(reader, writer, reap)

    def close(self) -> None:
        for remote in self._remotes:
            remote.close()


class Relay(Remote):
    """A remote that passes everything on: what tests override in part."""

    def __init__(self, inner: Remote) -> None:
        self.inner = inner

    @property
    def parallel(self) -> int:
        return self.inner.parallel

    def describe(self) -> Description:
        return self.inner.describe()

    def refs(self) -> dict[str, str]:
        return self.inner.refs()

    def held(self, roots: Sequence[bytes]) -> list[str]:
        return self.inner.held(roots)

    def missing(self, keys: Sequence[Key]) -> list[Key]:
        return self.inner.missing(keys)

    def known_commits(self, ids: Sequence[str]) -> list[bool]:
        return self.inner.known_commits(ids)

    def store(self, records: Iterable[Record]) -> int:
        return self.inner.store(records)

    def store_history(self, objects: Iterable[HistoryObject]) -> None:
        self.inner.store_history(objects)

    def finalize(self, updates: Sequence[RefUpdate], who: Person) -> list[Key]:
        return self.inner.finalize(updates, who)

    def fetch(self, keys: Sequence[Key]) -> Iterator[Record]:
        return self.inner.fetch(keys)

    def history(self, wants: Sequence[str], haves: Sequence[str]) -> Iterator[HistoryObject]:
        return self.inner.history(wants, haves)

    def close(self) -> None:
        self.inner.close()


class Counting(Relay):
    """Counts the objects that travel."""

    def __init__(self, inner: Remote) -> None:
        super().__init__(inner)
        self.sent: list[Key] = []
        self.fetched: list[Key] = []

    def store(self, records: Iterable[Record]) -> int:
        def counted() -> Iterator[Record]:
            for record in records:
                self.sent.append(record.key)
                yield record

        return self.inner.store(counted())

    def fetch(self, keys: Sequence[Key]) -> Iterator[Record]:
        self.fetched += keys
        return self.inner.fetch(keys)
