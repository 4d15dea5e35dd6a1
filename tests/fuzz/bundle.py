"""What a remote sends in one fetch, made of arbitrary bytes: blocks, nodes and Git objects that
name each other.

A bundle is a row of pieces: kind (1 byte), length (2 bytes), content. An object's id is made from
its content, so mutated bytes would never name another object; in a bundle `@`, a letter and a byte
N stand for the id of the N-th piece, as the letter says (`LINKS`). The last commit is the tip, the
last node the root.
"""

from __future__ import annotations

import atexit
import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from typing import Final, NamedTuple

from blake3 import blake3

from treering.store.closure import ClosureWalk
from treering.store.codec import CodecId
from treering.store.errors import Corrupt, NotFound
from treering.store.fsck import fsck
from treering.store.history import HistoryObject, Person, RefUpdate
from treering.store.ids import Key, Kind, object_id
from treering.store.packfile import Record
from treering.store.remotes.base import Description, Remote
from treering.store.remotes.fetch_plan import FetchUpdate
from treering.store.remotes.transfer import fetch
from treering.store.repository import Repository
from treering.store.trees import load_root, walk

BLOCK: Final = 4096
MAX_PIECES: Final = 64
GIT: Final = {0x11: b"commit", 0x12: b"tree", 0x13: b"blob", 0x14: b"tag"}
LINKS: Final = re.compile(rb"@([IHGgB])(.)", re.DOTALL)
"""An id, raw or in hex; a Git id in hex or raw; the BLAKE3 of a Git object in hex."""
MAIN: Final = "refs/heads/main"
WHO: Final = Person("Tester", "t@example.org", 1_700_000_000)


class Piece(NamedTuple):
    kind: int
    content: bytes

    @property
    def identity(self) -> bytes:
        return object_id(self.kind, self.content) if self.kind in (1, 2) else bytes(32)

    @property
    def git(self) -> str:
        name = GIT.get(self.kind, b"blob")
        whole = b"%s %d\0" % (name, len(self.content)) + self.content
        return hashlib.sha1(whole).hexdigest()


def pieces(data: bytes) -> list[Piece]:
    """The pieces of a bundle, each linked to those before it."""
    found: list[Piece] = []
    while data and len(found) < MAX_PIECES:
        length = int.from_bytes(data[1:3])
        found.append(Piece(data[0], _linked(data[3 : 3 + length], found)))
        data = data[3 + length :]
    return found


def _linked(content: bytes, made: Sequence[Piece]) -> bytes:
    def link(found: re.Match[bytes]) -> bytes:
        number = found[2][0]
        if number >= len(made):
            return found[0]
        piece = made[number]
        match found[1]:
            case b"I":
                return piece.identity
            case b"H":
                return piece.identity.hex().encode()
            case b"G":
                return piece.git.encode()
            case b"g":
                return bytes.fromhex(piece.git)
        return blake3(piece.content).hexdigest().encode()

    return LINKS.sub(link, content)


class Sent(Remote):
    """A remote that has the pieces of a bundle, and gives whatever is asked for as it is."""

    def __init__(self, found: Sequence[Piece]) -> None:
        self._objects = {bytes([p.kind]) + p.identity: p for p in found if p.kind in (1, 2)}
        self._history = [p for p in found if p.kind in GIT]
        commits = [p for p in self._history if p.kind == 0x11]
        self._tip = (commits or [Piece(0x11, b"")])[-1].git

    @property
    def parallel(self) -> int:
        return 1

    def describe(self) -> Description:
        return Description(1, BLOCK, "plain", "none", MAIN, None)

    def refs(self) -> dict[str, str]:
        return {MAIN: self._tip}

    def history(self, wants: Sequence[str], haves: Sequence[str]) -> Iterator[HistoryObject]:
        for piece in self._history:
            yield HistoryObject(piece.kind & 15, piece.content)

    def fetch(self, keys: Sequence[Key]) -> Iterator[Record]:
        for key in keys:
            if (piece := self._objects.get(key)) is not None:
                yield Record(key, CodecId.RAW, len(piece.content), piece.content)

    def held(self, roots: Sequence[bytes]) -> list[str]:
        raise NotImplementedError

    def missing(self, keys: Sequence[Key]) -> list[Key]:
        raise NotImplementedError

    def known_commits(self, ids: Sequence[str]) -> list[bool]:
        raise NotImplementedError

    def store(self, records: Iterable[Record]) -> int:
        raise NotImplementedError

    def store_history(self, objects: Iterable[HistoryObject]) -> None:
        raise NotImplementedError

    def finalize(self, updates: Sequence[RefUpdate], who: Person) -> list[Key]:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""


def pull_bundle(data: bytes) -> None:
    """Fetch a bundle into an empty repository. What comes in is whole."""
    repository = Repository(_empty(), threads=1, lock_wait=1)
    try:
        fetch(repository, Sent(pieces(data)), [FetchUpdate(MAIN, MAIN)], WHO, jobs=1)
        findings = fsck(repository, read_data=True)
        assert not findings.problems, findings
    finally:
        repository.close()


def _empty() -> Path:
    """A new repository, a copy of one made once."""
    template = _template()
    shutil.rmtree(template.with_name("bundle"), ignore_errors=True)
    return Path(shutil.copytree(template, template.with_name("bundle")))


@cache
def _template() -> Path:
    path = scratch() / "empty"
    Repository.create(path, BLOCK)
    Repository(path).close()
    return path


@cache
def scratch() -> Path:
    """A folder in memory where there is such, so that no disk is waited for; gone at exit."""
    shm = Path("/dev/shm")
    path = Path(mkdtemp(prefix="treering-fuzz-", dir=shm if shm.is_dir() else None))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


class Nodes:
    """The nodes of a bundle."""

    def __init__(self, found: Sequence[Piece]) -> None:
        self.held = {piece.identity: piece.content for piece in found if piece.kind == Kind.NODE}

    def node(self, identity: bytes) -> bytes:
        try:
            return self.held[identity]
        except KeyError as error:
            raise NotFound(identity.hex()) from error


def visit_bundle(data: bytes) -> None:
    """Walk the closure of the root of a bundle, then once more with the first node that is whole
    as its base. What is found whole can be listed."""
    nodes = Nodes(pieces(data))
    if not nodes.held:
        return
    first, *_, root = [next(iter(nodes.held)), *nodes.held]
    _visit(nodes, root, None)
    top = load_root(nodes, root).top
    for _ in islice(walk(nodes, top), 5_000):
        pass
    try:
        _visit(nodes, first, None)
    except (Corrupt, NotFound):
        return
    _visit(nodes, root, first)


def _visit(nodes: Nodes, root: bytes, base: bytes | None) -> None:
    closure = ClosureWalk(nodes)
    closure.add_root(root, base)
    while ids := closure.take(16):
        for identity in ids:
            closure.visit(identity, nodes.node(identity))
    blocks = closure.drain_blocks()
    assert all(0 < length <= 8 << 20 for length in blocks.lengths)
