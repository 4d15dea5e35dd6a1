"""What commands print: text for people, one JSON document with `--json`.

Results go to stdout, everything else to stderr. `path` in JSON is a string, with `path_b64` beside
it when the path is not UTF-8.
"""

from __future__ import annotations

import base64
import json
import os
import select
import sys
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

from ..store.errors import storage_error
from ..store.quoting import quote_path

if TYPE_CHECKING:
    from ..store.history_values import Commit, Person
    from ..tracker.changes import Region

Json = dict[str, Any]


def say(text: str = "") -> None:
    """A line of the result. Paths may hold bytes that are no UTF-8: they pass through."""
    write((text + "\n").encode("utf-8", "surrogateescape"))


def write(content: bytes) -> None:
    """Bytes of the result. StorageError where stdout is full."""
    with _stdout_errors:
        sys.stdout.buffer.write(content)


def flush() -> None:
    """Hand over all that was said. StorageError where stdout is full."""
    with _stdout_errors:
        sys.stdout.flush()


class _StdoutErrors:
    """Makes errors of stdout ours. A class, since it is entered for each line."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise storage_error("writing the output", error) from error


_stdout_errors: Final = _StdoutErrors()


def tell(text: str) -> None:
    """A line beside the result."""
    flush()
    complain(text)


def complain(text: str) -> None:
    """A line on stderr, whatever became of stdout. Where stderr is full or gone there is nobody to
    tell, and no command fails of that."""
    with suppress(OSError):
        sys.stderr.buffer.write((text + "\n").encode("utf-8", "surrogateescape"))
        sys.stderr.flush()


def open_missing_streams() -> None:
    """Put /dev/null where a standard stream was closed, as Git does: the next file that is opened
    would take its number, and get what is said."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w"))


def reader_is_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more."""
    streams = select.poll()
    streams.register(sys.__stdout__ or sys.stdout, 0)
    return bool(streams.poll(0))


def drop_unwritten() -> None:
    """Give up what could not be written: the interpreter would complain of it at its end."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say_json(document: Any) -> None:
    with _stdout_errors:
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


def region_line(region: Region) -> str:
    return f"{region.offset}+{region.length} {quote_path(region.path)}"


def region_json(region: Region) -> Json:
    """A region of a file that is named beside it."""
    return {"offset": region.offset, "length": region.length}


def format_day(person: Person) -> str:
    """The date where the person was: 2026-11-22."""
    try:
        zone = timezone(timedelta(minutes=person.offset))
        return datetime.fromtimestamp(person.time, zone).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return f"@{person.time}"


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
