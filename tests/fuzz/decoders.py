"""A harness for each decoder: what it makes of any bytes.

A harness takes arbitrary bytes and returns, or raises one of the errors that its decoder documents
(`ALLOWED`); anything else is a defect. Where a checksum or an id guards the content, the harness
computes it, so that the code behind it is reached as well. `fuzz.py` drives them by coverage,
`test_corpus.py` replays what that has found.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from blake3 import blake3
from fuzz.bundle import pull_bundle, scratch, visit_bundle

from treering.store import ref_moves
from treering.store.block_store import expand
from treering.store.codec import Codec
from treering.store.errors import Corrupt, TreeringError
from treering.store.format import read_format
from treering.store.history import Person
from treering.store.leaf_pairs import LeafPairs, StoredLeaf
from treering.store.marks import MarkLog
from treering.store.nodes import LeafNode, decode, decode_as, encode
from treering.store.packfile import (
    FILE_HEADER,
    FOOTER_ENTRY,
    MAGIC,
    TRAILER,
    TRAILER_MAGIC,
    TRAILER_SUM,
    Record,
    check_record_header,
    read_contents,
    read_footer,
    scan_records,
)
from treering.store.remotes.frames import LENGTH, MAX_FRAME, BrokenWire
from treering.store.remotes.local import locate, open_local
from treering.store.remotes.wire import PipeRemote, serve
from treering.store.repository import Repository
from treering.store.root_record import decode_record, encode_record
from treering.store.tags import decode_tag
from treering.tracker import merge_state, restore_log
from treering.tracker.journal_records import (
    UNIT,
    Look,
    Suspect,
    decode_journal,
    encode_header,
    encode_records,
    seal,
)

ALLOWED: Final = TreeringError
Harness = Callable[[bytes], None]
CODEC: Final = Codec()
JOURNAL_KEY: Final = bytes(range(32))
HELLO: Final = LENGTH.pack(8) + b"\x92\xa5hello\x01"


def _file(name: str, content: bytes) -> Path:
    path = scratch() / name
    path.write_bytes(content)
    return path


# -- objects -------------------------------------------------------------------------------------


def node(data: bytes) -> None:
    """One content has one encoding."""
    assert encode(decode(data)) == data


def leaves(data: bytes) -> None:
    """Two leaves compared as they are encoded are refused exactly when one is no good leaf, and
    differ in what differs. The first four bytes say where the second begins."""
    cut = int.from_bytes(data[:4]) % (len(data) + 1)
    old, new = (StoredLeaf(part[:1], part) for part in (data[4:cut], data[cut:]))
    try:
        wanted = [set(decode_as(LeafNode, leaf.plain).entries) for leaf in (old, new)]
    except Corrupt:
        wanted = []
    try:
        found = LeafPairs()(old, new)
    except Corrupt:
        assert not wanted
        return
    assert wanted and set(found.old) - set(found.new) == wanted[0] - wanted[1]
    assert set(found.new) - set(found.old) == wanted[1] - wanted[0]


def payload(data: bytes) -> None:
    """Codec, stated length, payload."""
    if len(data) >= 5:
        codec, length = struct.unpack("<Bi", data[:5])
        plain = CODEC.expand(codec, data[5:], length)
        assert len(plain) == length


def pack(data: bytes) -> None:
    """A file as it lies in packs/."""
    _read_pack(_file("pack", data))


def footer(data: bytes) -> None:
    """Records and footer of a pack whose header and trailer are right: the first byte says how
    many of the last bytes are footer."""
    count = data[0] if data else 0
    length = min(count * FOOTER_ENTRY.size, len(data) - 1) if data else 0
    count = length // FOOTER_ENTRY.size
    entries = data[len(data) - count * FOOTER_ENTRY.size :]
    records = FILE_HEADER.pack(MAGIC, 1, 0) + data[1 : len(data) - len(entries)]
    total = blake3(entries + TRAILER_SUM.pack(count, len(records))).digest()
    trailer = TRAILER.pack(TRAILER_MAGIC, count, len(records), total)
    _read_pack(_file("pack", records + entries + trailer))


def _read_pack(path: Path) -> None:
    content = path.read_bytes()
    for entry, stored in scan_records(path):
        head = content[entry.offset - 48 : entry.offset]
        try:
            check_record_header(head, entry)
            expand(CODEC, Record(entry.key, entry.codec, entry.plain, stored))
        except (Corrupt, KeyError):  # rescue passes over records of no known kind
            continue
    read_contents(path)
    for entry in read_footer(path):
        assert entry.offset > 0 and entry.offset + entry.stored <= len(content)


# -- small files and texts -----------------------------------------------------------------------


def root_record(data: bytes) -> None:
    """The blob of a commit."""
    assert encode_record(decode_record(data)) == data


def tag(data: bytes) -> None:
    """The content of an annotated tag."""
    decode_tag("0" * 40, data)


def marks(data: bytes) -> None:
    """A log as it lies in marks/, and the same lines with their right sums."""
    bodies = data.split(b"\n")
    right = b"".join(b"%08x %s\n" % (zlib.crc32(body), body) for body in bodies)
    for content in (data, right):
        log = MarkLog(_file("marks", content))
        found = list(log.read())
        assert all(1 <= end <= len(content) for _, end in found)
        assert len(found) + log.damaged() == content.count(b"\n")
    log.append([["a", "b"]])
    assert list(log.read())[-1][0] == ["a", "b"]


def state_files(data: bytes) -> None:
    """The restore log, the state of a merge, the note of refs that move, each with its right sum:
    and what is said of them."""
    (scratch() / "tracker").mkdir(exist_ok=True)
    repository: Any = SimpleNamespace(path=scratch(), history=SimpleNamespace(head=lambda: None))
    for path, read in (
        ("tracker/restore", _restore_log),
        ("tracker/merge", _merge_state),
        ("moving", lambda _repository: ref_moves.unfinished(scratch())),
    ):
        magic = f"treering {Path(path).name} 2\n".encode()
        _file(path, magic + blake3(data).digest() + data)
        try:
            read(repository)
        except ALLOWED:
            continue


def _restore_log(repository: Repository) -> None:
    found = restore_log.pending(repository)
    assert found is not None
    restore_log.summary(found)
    restore_log.command(found)
    restore_log.undo(found)


def _merge_state(repository: Repository) -> None:
    found = merge_state.pending(repository)
    if found is not None:
        with suppress(ValueError):  # a path with NUL in it: with the right sum, we wrote it
            merge_state.unsettled(found, scratch() / "tracker")


def settings(data: bytes) -> None:
    """The format file, and the line that says where a repository is."""
    top = scratch() / "settings"
    (top / ".treering").mkdir(parents=True, exist_ok=True)
    _file("settings/format", data)
    _file("settings/.treering/repo", data)
    for read in (read_format, locate):
        try:
            read(top)
        except ALLOWED:
            continue


def journal(data: bytes) -> None:
    """A change journal; and one whose second record, between two good ones, has the right sum."""
    decode_journal(encode_header(4096, 1, JOURNAL_KEY) + data)
    good = Suspect(Look.NAMES, 1, b"handle", b"path")
    first = encode_records([good], 1, JOURNAL_KEY)
    second = seal(data, 1 + len(first) // UNIT, JOURNAL_KEY)
    place = 1 + (len(first) + len(second)) // UNIT
    last = encode_records([good], place, JOURNAL_KEY)
    found = decode_journal(encode_header(4096, 1, JOURNAL_KEY) + first + second + last)
    assert found.suspects[0] == good
    assert found.suspects[-1] == good


# -- the wire ------------------------------------------------------------------------------------


@cache
def served() -> Path:
    path = scratch() / "served"
    Repository.create(path, 4096)
    return path


def request(data: bytes) -> None:
    """What a client says after its hello."""
    remote = open_local(served(), threads=1)
    answers = io.BytesIO()
    try:
        serve(io.BytesIO(HELLO + data), answers, remote)
    except BrokenWire:
        pass
    finally:
        remote.close()
    assert len(answers.getvalue()) < MAX_FRAME


CALLS: Final[tuple[Callable[[PipeRemote], object], ...]] = (
    lambda remote: remote.describe(),
    lambda remote: remote.refs(),
    lambda remote: remote.held([bytes(32)]),
    lambda remote: remote.missing([]),
    lambda remote: remote.known_commits(["0" * 40]),
    lambda remote: list(remote.fetch([])),
    lambda remote: list(remote.history([], [])),
    lambda remote: remote.finalize([], Person("a", "b", 1, 0)),
)


def answer(data: bytes) -> None:
    """What a server says after its hello: the first byte chooses the call."""
    remote = PipeRemote(io.BytesIO(HELLO + data[1:]), io.BytesIO())
    try:
        for call in CALLS[data[0] % len(CALLS) :] if data else CALLS:
            call(remote)
    finally:
        remote.close()


def greeting(data: bytes) -> None:
    """What a far end says at first."""
    PipeRemote(io.BytesIO(data), io.BytesIO()).close()


DECODERS: Final[dict[str, Harness]] = {
    "node": node,
    "leaves": leaves,
    "payload": payload,
    "pack": pack,
    "footer": footer,
    "root_record": root_record,
    "tag": tag,
    "marks": marks,
    "state_files": state_files,
    "settings": settings,
    "journal": journal,
    "request": request,
    "answer": answer,
    "greeting": greeting,
    "closure": visit_bundle,
    "bundle": pull_bundle,
}
"""By the name of their corpus in tests/data/fuzz."""


def tried(harness: Harness, data: bytes) -> None:
    """Run a harness; the errors that it may raise are passed over."""
    try:
        harness(data)
    except ALLOWED:
        pass
