"""The check of `stamped_check` done once more, another way: from a tar archive of the snapshot, and
by counting, in the whole logs, what had ended and what had begun at an instant."""

from __future__ import annotations

import re
import struct
import tarfile
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import IO

NEWEST = {"written": "writes", "mapped": "mapped", "replaced": "replaces", "links/first": "linked"}


def counts_in(archive: IO[bytes]) -> dict[str, int]:
    """Of each stream, the number of the newest change that an archive shows, and one more."""
    found: dict[str, int] = {}
    for name, content in _files(archive).items():
        for stream, number in _shown_by(name, content):
            oldest = stream == "removed"
            choose = min if oldest else max
            found[stream] = choose(found.get(stream, 1 << 60 if oldest else 0), number)
    return found


def _files(archive: IO[bytes]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            if member.isreg():
                opened = tar.extractfile(member)
                assert opened is not None
                files[name] = opened.read()
            elif member.islnk():
                files[name] = files[member.linkname.removeprefix("./")]
    return files


def _shown_by(name: str, content: bytes) -> Iterator[tuple[str, int]]:
    """What one file shows, by its name or content."""
    folder, _, last = name.rpartition("/")
    above, digits = folder.split("/")[0], re.sub(r"\D", "", last)
    if last == "inside":
        yield "pwrites", 1 + max(_numbers(content), default=-1)
        yield "folders", int(folder.removeprefix("moving/m"))
    elif name in NEWEST and content:
        yield NEWEST[name], 1 + max(_numbers(content))
    elif name == "appended":
        writers = [which for which, _ in struct.iter_unpack("<QQ", content)]
        yield from ((f"appends{which}", writers.count(which)) for which in (0, 1))
    elif above == "names":
        yield from (("made", int(digits) + 1), ("removed", int(digits)))
    elif above in ("from0", "from1", "links") and digits:
        yield "links" if above == "links" else "files", int(digits)
    elif name == "asynchronous":
        for slot in range(0, len(content), 4096):
            yield f"lane{slot // 4096 % 16}", 1 + _numbers(content[slot : slot + 8])[0]
    elif name == "sized":
        yield "sizes", next(n for n in count(1) if n * 13 % 1_000_003 == len(content))


def _numbers(content: bytes) -> array[int]:
    numbers: array[int] = array("Q")
    numbers.frombytes(content[: len(content) - len(content) % 8])
    return numbers


def instants(counts: Mapping[str, int], logs: Path) -> list[int]:
    """Moments at which the tree may have been so, out of those at which something began."""
    begun: dict[str, list[int]] = {}
    ended: dict[str, list[int]] = {}
    for name in counts:
        times = _numbers((logs / name).read_bytes())
        begun[name] = [moment for moment in times[0::2] if moment]
        ended[name] = [moment for moment in times[1::2] if moment]
    candidates = sorted(
        begun[name][n - 1] for name, n in counts.items() if 0 < n <= len(begun[name])
    )
    return [moment for moment in candidates[-1:] if _fits(moment, counts, begun, ended)]


def _fits(
    moment: int,
    counts: Mapping[str, int],
    begun: Mapping[str, list[int]],
    ended: Mapping[str, list[int]],
) -> bool:
    """Whether all that had ended by then is there, and nothing that had not begun."""
    return all(
        bisect_left(ended[name], moment) <= number <= bisect_right(begun[name], moment)
        for name, number in counts.items()
    )
