"""Refspecs: what push and fetch are asked to move, as Git writes it.

    main            the branch or tag of this name, to the same name
    a:b             a, to b
    :b              nothing, to b: delete it
    +a:b            a, to b, even if b loses commits by it
    tag NAME        refs/tags/NAME, to the same name (two words on the command line)

Pure: names are looked up in the mappings that the caller gives. A short name means the branch or
tag that has it; one that is both is refused, as is one that Git would not take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from ..errors import InvalidInput
from ..history import BRANCHES, TAGS
from .checking import valid_ref

KINDS: Final = (BRANCHES, TAGS)


class Refspec(NamedTuple):
    """One parsed refspec. `source` is None to delete; `target` None: the name of the source."""

    source: str | None
    target: str | None
    force: bool


def parse(text: str) -> Refspec:
    """InvalidInput for what is no refspec."""
    bare = text.removeprefix("+")
    force = bare != text
    source, colon, target = bare.partition(":")
    bad = not bare or ":" in target or "*" in bare or (colon and not target)
    if bad or any(letter.isspace() for letter in bare):
        raise InvalidInput(
            f"'{text}' is no refspec", hint="write REF, LOCAL:REMOTE, +LOCAL:REMOTE or :REMOTE"
        )
    if not colon:
        return Refspec(source, None, force)
    return Refspec(source or None, target, force)


def words(arguments: Sequence[str]) -> list[str]:
    """Refspecs of a command line, where `tag NAME` is two words for one."""
    found: list[str] = []
    rest = iter(arguments)
    for text in rest:
        if text == "tag":
            name = next(rest, None)
            if name is None:
                raise InvalidInput("which tag? write: tag NAME")
            text = f"{TAGS}{name}"
        found.append(text)
    return found


def full_name(name: str, refs: Mapping[str, object] | Iterable[str]) -> str | None:
    """The branch or tag in `refs` that a name means; None when there is none."""
    known = set(refs)
    if name.startswith("refs/"):
        return name if name in known else None
    if name.startswith(("heads/", "tags/")) and f"refs/{name}" in known:
        return f"refs/{name}"
    found = [kind + name for kind in KINDS if kind + name in known]
    if len(found) > 1:
        raise InvalidInput(
            f"'{name}' is a branch and a tag", hint=f"say which: {BRANCHES}{name} or {TAGS}{name}"
        )
    return found[0] if found else None


def target_name(name: str, refs: Iterable[str], like: str | None) -> str:
    """The full name of what is to be moved: one that is in `refs`, else a new one of the kind
    (branch or tag) of the ref `like`, else a branch. InvalidInput for a name Git would refuse."""
    found = full_name(name, refs)
    if found is None:
        kind = TAGS if like is not None and like.startswith(TAGS) else BRANCHES
        found = name if name.startswith("refs/") else kind + name
    if not valid_ref(found):
        raise InvalidInput(f"'{name}' cannot be the name of a branch or a tag")
    return found


def check_distinct(targets: Sequence[str]) -> None:
    """InvalidInput when two refspecs have one destination."""
    seen: set[str] = set()
    for target in targets:
        if target in seen:
            raise InvalidInput(f"two refspecs move {target}")
        seen.add(target)
