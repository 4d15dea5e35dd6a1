"""What fuzzing starts from: objects, files and conversations of a small real repository."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from blake3 import blake3
from conformance.sample import BLOCK, MAIN, WHO, commit, new_repository, noise, records
from fuzz.bundle import GIT, Piece, scratch
from fuzz.decoders import JOURNAL_KEY
from msgspec.msgpack import encode as packed

from treering.store.block_store import expand
from treering.store.codec import Codec
from treering.store.format import Format, write_format
from treering.store.history import HistoryObject, RefUpdate
from treering.store.ids import NULL, Key, Kind, block_id, block_key
from treering.store.nodes import Entry, EntryKind, Extras, LeafNode, encode
from treering.store.packfile import FILE_HEADER, FOOTER_ENTRY, TRAILER, Record
from treering.store.ref_moves import Moves
from treering.store.remotes.base import Description
from treering.store.remotes.frames import LENGTH
from treering.store.repository import Repository
from treering.store.tags import encode_tag
from treering.tracker.journal_records import Look, Suspect, encode_records
from treering.tracker.merge_state import Clash, Merging
from treering.tracker.restore_log import Move, Restore

FIRST: Final = {"a": b"hello", "d/x": b"x" * BLOCK + b"12345", "holes": bytes(2 * BLOCK) + b"x"}
MANY: Final = {f"many/{number}": b"%d" % (number % 3) for number in range(150)}
CODEC: Final = Codec()


class Seeds:
    """Starting points for each decoder, by its name."""

    def __init__(self, repository: Repository) -> None:
        self._first = commit(repository, FIRST)
        self._tip = commit(repository, {**FIRST, **MANY, "a": b"changed"}).id
        self._repository = repository
        self._records = sorted(records(repository), key=lambda record: record.key)

    def of(self, name: str) -> list[bytes]:
        make: Callable[[], Iterable[bytes]] = getattr(self, name)
        return [seed for seed in make() if len(seed) < 1 << 14]

    def _nodes(self) -> list[bytes]:
        return [expand(CODEC, one) for one in self._records if one.key[0] == Kind.NODE]

    def _odd_leaf(self, gid: int = 0) -> bytes:
        more = {
            EntryKind.SYMLINK: Extras(target=b"to"),
            EntryKind.FIFO: Extras(((b"user.a", b"b"),)),
            EntryKind.BLOCK_DEVICE: Extras(device=5),
            EntryKind.FILE: Extras(group=(1, b"d/other")),
        }
        names = zip((b"a", b"b", b"c", b"d"), more.items(), strict=True)
        return encode(
            LeafNode(
                tuple(
                    Entry(name, kind, 0o644, 1, gid, -5, 2 * (kind == 3), 0, NULL, extras)
                    for name, (kind, extras) in names
                )
            )
        )

    # -- one method for each decoder ---------------------------------------------------------

    def node(self) -> list[bytes]:
        return [*self._nodes(), self._odd_leaf()]

    def leaves(self) -> Iterator[bytes]:
        found = [node for node in self._nodes() if node.startswith(b"\x92\x02")]
        found += [self._odd_leaf(), self._odd_leaf(7)]
        for old, new in pairwise(found):
            yield (4 + len(old)).to_bytes(4) + old + new

    def payload(self) -> Iterator[bytes]:
        for plain in (b"", b"hello" * 100, noise(50, 1)):
            codec, stored = CODEC.compress(plain)
            yield bytes([codec]) + len(plain).to_bytes(4, "little") + stored

    def pack(self) -> list[bytes]:
        return [path.read_bytes() for path in (self._repository.path / "packs").iterdir()]

    def footer(self) -> Iterator[bytes]:
        for content in self.pack():
            _, count, offset, _ = TRAILER.unpack(content[-TRAILER.size :])
            if count < 256:
                end = offset + count * FOOTER_ENTRY.size
                yield bytes([count]) + content[FILE_HEADER.size : end]

    def root_record(self) -> list[bytes]:
        with_owners = b"change files 1 regions 2 bytes 3 stored 4\nuid 0 root\ngid 5 a b\n"
        blobs = [one.content for one in self._history() if one.type == 3]
        return [*blobs, *(blob + with_owners for blob in blobs)]

    def _history(self) -> list[HistoryObject]:
        history = self._repository.history
        return list(history.export(history.oldest_first([self._tip])))

    def tag(self) -> list[bytes]:
        return [encode_tag("v1", self._tip, WHO, "words\n"), b"object a\ntype tag\ntag b\n\n"]

    def marks(self) -> list[bytes]:
        logs = (self._repository.path / "marks").iterdir()
        bodies = [b"\n".join(line[9:] for line in log.read_bytes().split(b"\n")) for log in logs]
        return [*bodies, b"held%20 a\nfinalized 5 refs/heads/main - %ff"]

    def state_files(self) -> list[bytes]:
        entry = Entry(b"a", 2, 0, 0, 0, 0, 0, 0, bytes(range(32)))
        clashes = (Clash(b"a", "changed", b"a~b"), Clash(b"", "attributes", None, entry))
        merging = Merging("1" * 40, "2" * 40, "b", "m", NULL, 5, False, clashes, (b"c",))
        move = Move("merge", NULL, NULL, MAIN, ("merge", "b"), ("x",), (b"e",), (b"f",), merging)
        restores = [Restore("3" * 40, (b"a", b"-b"), True, (b"c",))]
        restores += [Restore("3" * 40, (), False, (), move)]
        moving = Moves([RefUpdate(MAIN, None, "1" * 40)], WHO, "push")
        return [packed(merging), *map(packed, restores), packed(moving)]

    def settings(self) -> Iterator[bytes]:
        with TemporaryDirectory() as folder:
            write_format(Path(folder), Format())
            yield Path(folder, "format").read_bytes()
        yield b"/dev/shm\n"

    def journal(self) -> list[bytes]:
        suspects = [Suspect(look, 1, b"h" * 20, b"a/b", look) for look in Look]
        return [encode_records(suspects, 1, JOURNAL_KEY), *map(packed, suspects)]

    def greeting(self) -> list[bytes]:
        return [_frame("hello", 1), _frame("failure", "Conflict", "m", None)]

    def request(self) -> list[bytes]:
        keys = [one.key for one in self._records[:3]]
        block = Record(keys[0], 0, 5, b"hello")._replace(key=self._key(b"hello"))
        calls = [("describe", []), ("refs", []), ("held", [[NULL]]), ("missing", [keys])]
        calls += [("known_commits", [[self._tip]]), ("fetch", [[block.key]])]
        calls += [("history", [[self._tip], []])]
        calls += [("finalize", [[RefUpdate(MAIN, None, self._tip)], WHO])]
        asked = [_frame("call", name, arguments) for name, arguments in calls]
        for name, items in (
            ("store", [block, self._records[-1]]),
            ("store_history", self._history()),
        ):
            asked.append(_frame("call", name, []) + _frame("part", items) + _frame("end"))
        asked.append(_frame("call", "store", []) + _frame("part", [block]) + _frame("abort"))
        return [*asked, b"".join(asked)]

    def _key(self, content: bytes) -> Key:
        return block_key(block_id(content))

    def answer(self) -> list[bytes]:
        values = [Description(1, BLOCK, "plain", "none", MAIN, None), {MAIN: self._tip}]
        values += [["whole"], [], [True]]
        found = [bytes([number]) + _frame("value", one) for number, one in enumerate(values)]
        parts = [self._records[:2], self._history()]
        found += [
            bytes([5 + number]) + _frame("part", items) + _frame("end")
            for number, items in enumerate(parts)
        ]
        found.append(b"\7" + _frame("value", []))
        whole = b"".join(one[1:] for one in found)
        return [*found, b"\0" + whole, b"\1" + _frame("failure", "Conflict", "no", "hint")]

    def closure(self) -> list[bytes]:
        return [_bundle(self._objects()), _bundle(self._objects(self._first.root))]

    def bundle(self) -> list[bytes]:
        kinds = {1: 0x11, 2: 0x12, 3: 0x13, 4: 0x14}
        history = [Piece(kinds[one.type], one.content) for one in self._history()]
        return [_bundle(self._objects() + history)]

    def _objects(self, root: bytes | None = None) -> list[Piece]:
        """Blocks and nodes, each after those that it names."""
        waiting = [Piece(one.key[0], expand(CODEC, one)) for one in self._records]
        found: list[Piece] = []
        while waiting:
            ids = [piece.identity for piece in waiting]
            ready = [p for p in waiting if not any(i in p.content for i in ids)]
            found += sorted(ready, key=lambda piece: piece.identity == self._first.root)
            waiting = [piece for piece in waiting if piece not in ready]
        return [p for p in found if root is None or p.identity != root]


def _bundle(found: list[Piece]) -> bytes:
    content = b""
    for number, piece in enumerate(found):
        text = piece.content
        for place, other in enumerate(found[:number]):
            link = bytes([place])
            if other.kind in GIT:
                names = [(other.git.encode(), b"G"), (bytes.fromhex(other.git), b"g")]
                names.append((blake3(other.content).hexdigest().encode(), b"B"))
            else:
                names = [(other.identity, b"I"), (other.identity.hex().encode(), b"H")]
            for name, letter in names:
                text = text.replace(name, b"@" + letter + link)
        content += bytes([piece.kind]) + len(text).to_bytes(2) + text
    return content


def _frame(*content: object) -> bytes:
    encoded = packed(content)
    return LENGTH.pack(len(encoded)) + encoded


def seeds_of(name: str) -> list[bytes]:
    """What to start with for one decoder."""
    with TemporaryDirectory(dir=scratch()) as folder:
        repository = new_repository(Path(folder, "seeds"))
        try:
            return Seeds(repository).of(name)
        finally:
            repository.close()
