"""Two versions of one name against the one that both come from, field by field.

A field that one side changed is as that side has it; one that both changed alike is no
disagreement. Times never disagree: where both changed, the newer one stays. Each xattr is a field
of its own, and so are owner, group, the hard-link group, and the content with its size. The mode is
one with the access ACL: the kernel keeps the permissions of owner, mask and others in both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

from msgspec.structs import replace

from ..store.nodes import Entry, EntryKind, Extras
from .content_merge import Composed

Side = Literal["ours", "theirs"]
Compose = Callable[[Entry, Entry, Entry], Composed | None]
"""Makes one content of (base, ours, theirs), or None where they meet."""

ABSENT: Final = None
ACL: Final = b"system.posix_acl_access"
_UNKNOWN: Final = object()
"""The base of a field where there is no base: nothing is equal to it."""


class Merged(NamedTuple):
    """The merged entry. Where it `disagreed`, the fields in dispute are as the favoured side has
    them, or ours."""

    entry: Entry
    disagreed: bool


def merge_entries(
    base: Entry | None,
    ours: Entry,
    theirs: Entry,
    *,
    favour: Side | None = None,
    compose: Compose | None = None,
) -> Merged:
    """One entry of two of the same kind; `base` is None when there is none of that kind. With
    `favour` nothing is in dispute. A folder keeps our content, which is merged elsewhere."""
    fields = _Fields(favour)
    size, content = _content(fields, base, ours, theirs, compose)
    mode, acl = _mode(fields, base, ours, theirs)
    merged = replace(
        ours,
        mode=mode,
        uid=fields.pick(_of(base, "uid"), ours.uid, theirs.uid),
        gid=fields.pick(_of(base, "gid"), ours.gid, theirs.gid),
        mtime_ns=_newer(_of(base, "mtime_ns"), ours.mtime_ns, theirs.mtime_ns),
        size=size,
        content=content,
        extras=_extras(fields, acl, base, ours, theirs),
    )
    return Merged(merged, fields.disagreed)


class _Fields:
    def __init__(self, favour: Side | None) -> None:
        self._favour = favour
        self.disagreed = False

    def pick(self, base: Any, ours: Any, theirs: Any) -> Any:
        if theirs in (ours, base):
            return ours
        if ours == base:
            return theirs
        return self.dispute(ours, theirs)

    def dispute(self, ours: Any, theirs: Any) -> Any:
        self.disagreed |= self._favour is None
        return theirs if self._favour == "theirs" else ours


def _of(base: Entry | None, field: str) -> Any:
    return _UNKNOWN if base is None else getattr(base, field)


def _newer(base: Any, ours: int, theirs: int) -> int:
    if base in (ours, theirs):
        return theirs if ours == base else ours
    return max(ours, theirs)


def _mode(
    fields: _Fields, base: Entry | None, ours: Entry, theirs: Entry
) -> tuple[int, bytes | None]:
    """(mode, access ACL)."""
    if ours.kind == EntryKind.SYMLINK:  # nobody can set it
        return ours.mode, ABSENT
    before = _UNKNOWN if base is None else _permissions(base)
    mode, acl = fields.pick(before, _permissions(ours), _permissions(theirs))
    return mode, acl


def _permissions(entry: Entry) -> tuple[int, bytes | None]:
    return entry.mode, dict(entry.more.xattrs).get(ACL, ABSENT)


def _content(
    fields: _Fields, base: Entry | None, ours: Entry, theirs: Entry, compose: Compose | None
) -> tuple[int, bytes]:
    """(size, content) of a file or link."""
    if ours.is_folder:
        return ours.size, ours.content
    sides = _whole(ours), _whole(theirs)
    before = _UNKNOWN if base is None else _whole(base)
    both_changed = sides[0] != sides[1] and before not in sides
    if both_changed and compose is not None and base is not None and base.is_file and ours.is_file:
        made = compose(base, ours, theirs)
        if made is not None:
            return made.size, made.content
    found = fields.pick(before, *sides)
    return found[0], found[1]


def _whole(entry: Entry) -> tuple[object, ...]:
    return entry.size, entry.content, entry.more.target, entry.more.device


def _extras(
    fields: _Fields, acl: bytes | None, base: Entry | None, ours: Entry, theirs: Entry
) -> Extras | None:
    before = base.more if base is not None else Extras()
    mine, other = ours.more, theirs.more
    sides = [dict(more.xattrs) for more in (before, mine, other)]
    names = sorted({name for side in sides for name in side})
    values = [
        (name, acl if name == ACL else fields.pick(*(side.get(name, ABSENT) for side in sides)))
        for name in names
    ]
    extras = Extras(
        tuple((name, value) for name, value in values if value is not ABSENT),
        fields.pick(before.target, mine.target, other.target),
        fields.pick(before.device, mine.device, other.device),
        _group(before.group, mine.group, other.group),
    )
    return extras if extras != Extras() else None


def _group(base: Any, ours: Any, theirs: Any) -> Any:
    """Groups never disagree: they are named anew once the whole tree is known."""
    if ours == base:
        return theirs
    return ours if ours is not None or theirs == base else theirs
