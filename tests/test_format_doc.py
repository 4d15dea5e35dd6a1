"""docs/format.md says what the code does: its tables are parsed and compared with the structs."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from treering.store import (
    block_index,
    catalog,
    codec,
    directories,
    format,
    ids,
    nodes,
    packfile,
    repository,
    root_record,
)
from treering.tracker import journal_records

TEXT = (Path(__file__).parent.parent / "docs" / "format.md").read_text()
WORDS = " ".join(TEXT.split())


class Table(NamedTuple):
    """A Markdown table: the text line before it, its columns, and its cells row by row."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def column(self, name: str) -> list[str]:
        position = self.columns.index(name)
        return [row[position] for row in self.rows]


def cells(line: str) -> list[str]:
    # A `||` in backticks is no border.
    guarded = line.replace("`||`", "`join`").strip().strip("|")
    return [cell.strip().replace("`join`", "`||`") for cell in guarded.split("|")]


def parse(text: str) -> list[Table]:
    tables = []
    title = ""
    lines = iter(text.splitlines())
    for line in lines:
        if not line.startswith("|"):
            title = line or title
            continue
        columns = cells(line)
        assert set(next(lines)) <= set("|-"), f"no ruler below {line}"
        rows = []
        for row in lines:
            if not row.startswith("|"):
                break
            rows.append(cells(row))
            assert len(rows[-1]) == len(columns), f"cells missing in {row}"
        tables.append(Table(title, columns, rows))
    return tables


TABLES = parse(TEXT)
BYTES = [table for table in TABLES if table.columns == ["offset", "size", "field", "meaning"]]
STRUCTS = {
    "File header": packfile.FILE_HEADER,
    "Record header": packfile.RECORD_HEADER,
    "Footer": packfile.FOOTER_ENTRY,
    "Trailer": packfile.TRAILER,
    "holds `n`": block_index.VALUE,
    "Journal header": journal_records.HEADER,
    "Journal record": journal_records.PREFIX,
}


def table_of(first: str) -> Table:
    """The table whose first column has this name."""
    (found,) = [table for table in TABLES if table.columns[0] == first]
    return found


def byte_table(start: str) -> Table:
    (found,) = [table for table in BYTES if table.title.startswith(start)]
    return found


def field_sizes(layout: struct.Struct) -> list[int]:
    order, *codes = re.findall(r"^[<>=!@]|\d*[a-zA-Z]", layout.format)
    assert order == "<"
    return [struct.calcsize("<" + code) for code in codes]


def values(table: Table) -> dict[str, int]:
    return {row[0]: int(row[1]) for row in table.rows}


def members(kinds: type[IntEnum]) -> dict[str, int]:
    return {kind.name.lower(): int(kind) for kind in kinds}


def test_every_byte_table_is_checked() -> None:
    assert len(BYTES) == len(STRUCTS)


@pytest.mark.parametrize("start", STRUCTS)
def test_byte_table(start: str) -> None:
    table = byte_table(start)
    layout = STRUCTS[start]
    sizes = [int(size) for size in table.column("size")]
    assert sizes == field_sizes(layout)
    assert [int(offset) for offset in table.column("offset")] == [
        sum(sizes[:position]) for position in range(len(sizes))
    ]
    assert sum(sizes) == layout.size


@pytest.mark.parametrize(
    ("start", "magic"),
    [
        ("File header", packfile.MAGIC),
        ("Record header", packfile.RECORD_MAGIC),
        ("Trailer", packfile.TRAILER_MAGIC),
    ],
)
def test_magic(start: str, magic: bytes) -> None:
    assert byte_table(start).rows[0] == ["0", "4", "magic", f"`{magic.decode()}`"]


def test_fields_of_tuples() -> None:
    """The order of fields in the tables is the order in which the code packs them."""
    assert byte_table("Footer").column("field") == list(packfile.FooterEntry._fields)
    assert byte_table("holds `n`").column("field") == list(block_index.Location._fields)


def test_a_pack_written_from_the_tables() -> None:
    """Field by field, at the offsets that the tables give."""
    record = packfile.FooterEntry(ids.Key(b"\x02" + b"i" * 32), 1, 56, 3, 9)
    by_table = {
        "Record header": {
            "magic": packfile.RECORD_MAGIC,
            "kind": 2,
            "codec": 1,
            "stored": 3,
            "plain": 9,
            "id": b"i" * 32,
        },
        "Footer": record._asdict(),
    }
    written = {}
    for start, found in by_table.items():
        raw = bytearray(STRUCTS[start].size)
        for row in byte_table(start).rows:
            offset, size, value = int(row[0]), int(row[1]), found.get(row[2], 0)
            wire = value if isinstance(value, bytes) else value.to_bytes(size, "little")
            raw[offset : offset + size] = wire
        written[start] = bytes(raw)
    packfile.check_record_header(written["Record header"], record)
    assert packfile.FooterEntry(*packfile.FOOTER_ENTRY.unpack(written["Footer"])) == record


def test_kinds_and_codecs() -> None:
    assert values(table_of("kind")) == members(ids.Kind)
    assert values(table_of("codec")) == members(codec.CodecId)
    assert values(table_of("entry kind")) == members(nodes.EntryKind)
    assert values(table_of("look")) == members(journal_records.Look)


def test_derive_key_contexts() -> None:
    by_kind = {row[0]: row[2] for row in table_of("kind").rows}
    assert f"`{ids.NODE_CONTEXT}`" in by_kind["node"]
    assert f"`{ids.HISTORY_CONTEXT}`" in by_kind["history"]
    assert by_kind["block"] == "BLAKE3 of the plain bytes"


def test_node_types() -> None:
    structs: dict[str, type[msgspec.Struct]] = {
        "index": nodes.IndexNode,
        "leaf": nodes.LeafNode,
        "branch": nodes.BranchNode,
        "root": nodes.RootNode,
    }
    table = table_of("type")
    assert table.column("type") == list(structs)
    for name, value, fields in table.rows:
        assert structs[name].__struct_config__.tag == int(value)
        assert fields.split(", ") == names(structs[name])


def names(shape: type[msgspec.Struct]) -> list[str]:
    return list(shape.__struct_fields__)


def test_arrays_of_nodes() -> None:
    shapes: list[type[msgspec.Struct]] = [nodes.Entry, nodes.Extras, nodes.Child]
    tables = [table for table in TABLES if table.columns[0] == "position"]
    assert len(tables) == len(shapes)
    for table, shape in zip(tables, shapes, strict=True):
        assert table.column("field") == names(shape)
        assert [int(position) for position in table.column("position")] == list(
            range(len(table.rows))
        )


def test_optional_fields_are_said_to_be_optional() -> None:
    (extras,) = [t for t in TABLES if t.columns[0] == "position" and t.rows[0][1] == "xattrs"]
    optional = [row[1] for row in extras.rows if row[2].endswith("or nil")]
    assert optional == [
        name for name in names(nodes.Extras) if getattr(nodes.NO_EXTRAS, name) is None
    ]


def sentences() -> Iterable[tuple[str, object]]:
    """Words of the page around a number, and the constant of the code."""
    return [
        (r"(\d+) ids, 32 bytes each", nodes.FANOUT),
        (r"`level` is at most (\d+)", nodes.MAX_INDEX_LEVEL),
        (r"(\d+)\^\(\*n\*\+1\)", nodes.FANOUT),
        (r"0 to (\d+) entries", nodes.MAX_LEAF_ENTRIES),
        (r"1 to (\d+) bytes without `/`", nodes.MAX_NAME),
        (r"1 to (\d+) bytes without NUL", nodes.MAX_TARGET),
        (r"1 to (\d+) children", nodes.MAX_LEAF_ENTRIES),
        (r"at each step up, at most (\d+)", nodes.MAX_BRANCH_HEIGHT),
        (r"the leaf has (\d+) entries or more", directories.MIN_ENTRIES),
        (r"big-endian number, ends in (\d+) zero bits", directories.BITS_PER_HEIGHT),
        (r"the leaf has (\d+) entries;", nodes.MAX_LEAF_ENTRIES),
        (r"in the leaf take (\d+) bytes", directories.MAX_XATTR_BYTES),
        (r"when it has (\d+) children or more", directories.MIN_ENTRIES),
        (r"ends in (\d+) x \(\*h\* \+ 1\)", directories.BITS_PER_HEIGHT),
        (r"when it has (\d+) children, and", nodes.MAX_LEAF_ENTRIES),
        (r"`format` is (\d+)", nodes.FORMAT_VERSION),
        (r"`block_size` a power of two from (\d+)", nodes.MIN_BLOCK_SIZE),
        (r"`block_size` a power of two from \d+ to (\d+)", nodes.MAX_BLOCK_SIZE),
        (r"`block-size` is a power of two from (\d+)", nodes.MIN_BLOCK_SIZE),
        (r"`block-size` is a power of two from \d+ to (\d+)", nodes.MAX_BLOCK_SIZE),
        (r"Packs are about (\d+) bytes", packfile.PACK_SIZE),
        (r"at (\d+) objects a pack is ended", packfile.PACK_OBJECTS),
        (r"length of the payload, at most (\d+)", packfile.MAX_STORED),
        (r"length of the object, at most (\d+)", codec.MAX_PLAIN),
        (r"number of footer entries, at most (\d+)", packfile.MAX_ENTRIES),
        (r"the last (\d+) bytes of the pack", packfile.TRAILER.size),
        (r"offset \+ (\d+) x count", packfile.FOOTER_ENTRY.size),
        (r"x count \+ (\d+) is its length", packfile.TRAILER.size),
        (r"then the id: (\d+) bytes", ids.KEY_LENGTH),
        (r"All ids are (\d+) bytes", ids.ID_LENGTH),
        (r"numbers in (\d+) bytes", block_index.NUMBER.size),
        (r"`schema` = `(\d+)`", int(block_index.SCHEMA)),
        (r"version \| (\d+) \|", packfile.VERSION),
        (r"The format of a repository, version (\d+)", format.VERSION),
    ]


@pytest.mark.parametrize(("pattern", "constant"), sentences())
def test_constants(pattern: str, constant: int) -> None:
    found = re.findall(pattern, WORDS)
    assert found == [str(constant)]


def test_chunker() -> None:
    assert f"`chunker` the string `{nodes.CHUNKER_FIXED}`" in WORDS


def block_after(title: str) -> str:
    section = TEXT.split(f"## {title}\n")[1]
    return section.split("```text\n")[1].split("```")[0]


def test_format_file(tmp_path: Path) -> None:
    format.write_format(tmp_path, format.Format())
    assert (tmp_path / "format").read_text() == block_after("The format file")


def test_root_record_blob() -> None:
    record = root_record.RootRecord(
        ids.NodeId(b"\xaa" * 32),
        (b"\xbb" * 32,),
        root_record.Change(1, 2, 3, 4),
        {5: "NAME"},
        {6: "NAME"},
    )
    text = root_record.encode_record(record).decode()
    shape = re.sub(r"\b\d+\b", "N", re.sub(r"\b[0-9a-f]{64}\b", "HEX64", text))
    assert shape == block_after("History")


def test_layout_is_what_create_makes(tmp_path: Path) -> None:
    made = tmp_path / "repository"
    repository.Repository.create(made)
    (layout,) = [table for table in TABLES if table.columns[0] == "path"]
    said = {row[0].strip("`") for row in layout.rows} - {"catalog.db"}
    assert {path.name + "/" * path.is_dir() for path in made.iterdir()} == said
    assert f"mode {made.stat().st_mode & 0o7777:04o}" in WORDS


def test_marks_are_quoted_as_said(tmp_path: Path) -> None:
    from treering.store.marks import MarkLog

    safe = re.findall(r"letters, digits and `([^`]*)` is written `%XX`", WORDS)
    everything = "".join(map(chr, range(1, 128)))
    MarkLog(tmp_path / "log").append([[everything]])
    line = (tmp_path / "log").read_text().split(" ")[1].strip()
    kept = re.sub(r"%[0-9A-F]{2}", "", line)
    assert {letter for letter in kept if not letter.isalnum()} == set(safe[0])
    levels = re.findall(r"from now on: `(\w+)`, `(\w+)` or `(\w+)`", WORDS)
    assert sorted(levels[0]) == sorted(catalog.HELD_LEVELS)
