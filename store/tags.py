"""Annotated tags as Git stores them: a header, an empty line, the message.

    object HEX40
    type commit
    tag NAME
    tagger NAME <EMAIL> SECONDS +HHMM

Decoding takes what any Git wrote: tags of tags, without a tagger, in any encoding.
"""

from __future__ import annotations

import re
from typing import Final

from .errors import Corrupt
from .git_objects import clean_name, clean_text
from .history_values import Person, Tag

TAGGER: Final = re.compile(r"(.*?) ?<(.*?)> (\d+) ([+-])(\d\d)(\d\d)")


def encode_tag(name: str, commit_id: str, tagger: Person, message: str) -> bytes:
    """The content of a tag object for a commit."""
    sign = "-" if tagger.offset < 0 else "+"
    hours, minutes = divmod(abs(tagger.offset), 60)
    who = f"{clean_name(tagger.name)} <{clean_name(tagger.email)}>"
    head = f"object {commit_id}\ntype commit\ntag {name}\n"
    head += f"tagger {who} {tagger.time} {sign}{hours:02}{minutes:02}\n\n"
    text = clean_text(message).strip("\n") + "\n"
    return (head + text).encode("utf-8", "surrogateescape")


def decode_tag(tag_id: str, content: bytes) -> Tag:
    """The tag behind an object. Corrupt unless it has an object and a name."""
    head, _, message = content.decode("utf-8", "replace").partition("\n\n")
    fields = dict(line.partition(" ")[::2] for line in head.split("\n"))
    try:
        target, name = fields["object"], fields["tag"]
    except KeyError as error:
        raise Corrupt(f"tag {tag_id[:10]} has no {error.args[0]}") from error
    return Tag(tag_id, name, target, _tagger(fields.get("tagger", "")), message)


def _tagger(text: str) -> Person | None:
    found = TAGGER.fullmatch(text)
    if found is None:
        return None
    name, email, time, sign, hours, minutes = found.groups()
    offset = int(hours) * 60 + int(minutes)
    return Person(name, email, int(time), -offset if sign == "-" else offset)
