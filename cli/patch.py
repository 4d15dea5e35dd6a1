"""A change of one file as text: names, what changed of its metadata, hunks or regions.

Texts of up to 1 MiB are shown as Git shows them; of anything else the byte ranges that differ,
which costs no reading of data.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from ..store import trees
from ..store.errors import NotFound
from ..store.nodes import Entry
from ..store.quoting import quote_path
from ..store.text_diff import MAX_TEXT, hunks, is_text
from ..store.trees import ObjectSource
from ..tracker.diff import FileChange, change_regions
from .output import region_line

LETTERS: Final = {"added": "A", "deleted": "D", "modified": "M", "renamed": "R", "retyped": "T"}


def name_status(change: FileChange) -> str:
    """M<TAB>path, or R<TAB>old<TAB>new."""
    names = [change.old_path] if change.what == "renamed" else []
    return "\t".join([LETTERS[change.what], *map(quote_path, (*names, change.shown_path))])


def patch(source: ObjectSource, change: FileChange, block_size: int) -> Iterator[bytes]:
    """The lines of one change, each with its end."""
    old, new = change.old, change.new
    a, b = quote_path(b"a/" + change.old_path), quote_path(b"b/" + change.shown_path)
    yield _line(f"diff {a} {b}")
    for text in _metadata(change):
        yield _line(text)
    if not _content_differs(old, new):
        return
    before, after = (_text(source, entry, block_size) for entry in (old, new))
    if before is None or after is None:
        yield from map(_line, _regions(source, change, block_size))
        return
    yield _line(f"--- {a if old else '/dev/null'}")
    yield _line(f"+++ {b if new else '/dev/null'}")
    yield from hunks(before, after)


def _line(text: str) -> bytes:
    return (text + "\n").encode("utf-8", "surrogateescape")


def _content_differs(old: Entry | None, new: Entry | None) -> bool:
    files = [entry for entry in (old, new) if entry is not None and entry.is_file]
    return len({(entry.content, entry.size) for entry in files}) == 2 or len(files) == 1


def _text(source: ObjectSource, entry: Entry | None, block_size: int) -> bytes | None:
    """A file's content if it is a text that can be shown; nothing where there is no file. None
    also where only its nodes are held."""
    if entry is None or not entry.is_file:
        return b""
    if entry.size > MAX_TEXT:
        return None
    try:
        content = b"".join(trees.read_file(source, entry, block_size))
    except NotFound:
        return None
    return content if is_text(content) else None


def _regions(source: ObjectSource, change: FileChange, block_size: int) -> Iterator[str]:
    before = change.old.size if change.old is not None and change.old.is_file else 0
    after = change.new.size if change.new is not None and change.new.is_file else 0
    if before != after:
        yield f"size {before} -> {after}"
    for region in change_regions(source, change, block_size):
        yield region_line(region)


def _metadata(change: FileChange) -> Iterator[str]:
    old, new = change.old, change.new
    if old is None or new is None:
        yield f"{'new' if old is None else 'deleted'} {change.entry.kind_name}"
        if change.entry.more.target is not None:
            yield f"target {quote_path(change.entry.more.target)}"
        return
    if change.what == "renamed":
        yield f"rename from {quote_path(change.old_path)}"
        yield f"rename to {quote_path(change.path)}"
    pairs = [
        ("kind", old.kind_name, new.kind_name),
        ("mode", f"{old.mode:04o}", f"{new.mode:04o}"),
        ("owner", f"{old.uid}:{old.gid}", f"{new.uid}:{new.gid}"),
        ("target", _target(old), _target(new)),
        ("xattrs", _xattrs(old), _xattrs(new)),
        ("links", _links(old), _links(new)),
    ]
    if not _content_differs(old, new) and not new.is_folder:
        pairs.append(("modified", _time(old), _time(new)))
    for name, before, after in pairs:
        if before != after:
            yield f"{name} {before or '-'} -> {after or '-'}"


def _target(entry: Entry) -> str:
    return quote_path(entry.more.target) if entry.more.target is not None else ""


def _xattrs(entry: Entry) -> str:
    return " ".join(
        f"{quote_path(name)}={quote_path(value[:40])}" for name, value in entry.more.xattrs
    )


def _links(entry: Entry) -> str:
    return quote_path(entry.more.group[1]) if entry.more.group is not None else ""


def _time(entry: Entry) -> str:
    seconds, rest = divmod(entry.mtime_ns, 10**9)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"@{seconds}.{rest:09}"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{rest:09}Z"
