"""What commands print: text for people, one JSON document with `--json`.

Results go to stdout, everything else to stderr. `path` in JSON is a string, with `path_b64` beside
it when the path is not UTF-8.
"""

from __future__ import annotations

import base64
import json
import sys
from datetime import datetime, timedelta, timezone
from typing import Any

from ..store.history import Commit, Person
from ..store.quoting import quote_path

Json = dict[str, Any]


def say(text: str = "") -> None:
    """A line of the result. Paths may hold bytes that are no UTF-8: they pass through."""
    sys.stdout.buffer.write((text + "\n").encode("utf-8", "surrogateescape"))


def tell(text: str) -> None:
    """A line beside the result."""
    sys.stdout.flush()
    sys.stderr.buffer.write((text + "\n").encode("utf-8", "surrogateescape"))
    sys.stderr.flush()


def say_json(document: Any) -> None:
    json.dump(document, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def path_json(path: bytes, key: str = "path") -> Json:
    """A path as JSON has it."""
    try:
        return {key: path.decode("utf-8")}
    except UnicodeDecodeError:
        text = path.decode("utf-8", "replace")
        return {key: text, f"{key}_b64": base64.b64encode(path).decode()}


def show_path(path: bytes, zero: bool = False) -> str:
    """A path for text output, quoted unless `-z` asked for raw ones."""
    return path.decode("utf-8", "surrogateescape") if zero else quote_path(path)


def format_time(person: Person) -> str:
    """As Git prints dates: Sun Nov 22 19:07:22 2026 +0000."""
    zone = timezone(timedelta(minutes=person.offset))
    try:
        moment = datetime.fromtimestamp(person.time, zone)
    except (ValueError, OverflowError, OSError):
        return f"@{person.time}"
    sign = "-" if person.offset < 0 else "+"
    hours, minutes = divmod(abs(person.offset), 60)
    return moment.strftime("%a %b %-d %H:%M:%S %Y ") + f"{sign}{hours:02}{minutes:02}"


def commit_json(commit: Commit) -> Json:
    return {
        "commit": commit.id,
        "root": commit.root.hex(),
        "parents": list(commit.parents),
        "author": _person_json(commit.author),
        "committer": _person_json(commit.committer),
        "message": commit.message,
        "change": commit.record.change._asdict(),
    }


def _person_json(person: Person) -> Json:
    return person._asdict()
