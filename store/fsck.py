"""fsck: is what the refs promise there, and is it what was written?

The structure pass checks marks, commits and their BLAKE3 chain, pack footers against the block
index, and the closure of every root (each node is read and verified, blocks are looked up).
`read_data` reads every record of every pack, in parallel; `subset` takes one M-th of the packs, by
name, so that a big repository can be read over M nights. An object found bad leaves the index, so
that the next commit or push of it heals the repository. What is merely unreferenced is garbage, not
damage.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha1
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from .block_store import expand
from .closure import ClosureWalk
from .damage import Affected, affected_paths
from .errors import Corrupt, NotFound
from .history import History
from .ids import key_name
from .loose_objects import is_cut_short, loose_paths
from .packfile import (
    MAX_STORED,
    RECORD_HEADER,
    FooterEntry,
    Record,
    check_record_header,
    packs_in,
    read_footer,
)
from .progress import SILENT, Progress
from .repository import Repository
from .root_check import RootCheck
from .state_file import is_whole

BATCH: Final = 256
MAX_PIECE: Final = 1 << 20
MAX_PATHS: Final = 20
REF: Final = re.compile(rb"(ref: refs/\S[^\n]*/[^\n]+|[0-9a-f]{40})\n?")
"""What a file of a ref may hold."""
MAX_PROBLEMS: Final = 1000


class Problem(NamedTuple):
    """Something damaged: what, and which objects it concerns."""

    what: str
    keys: tuple[bytes, ...] = ()


@dataclass
class Findings:
    """What fsck saw. `problems` is cut at a limit; `affected` names paths behind bad objects."""

    commits: int = 0
    packs: int = 0
    objects: int = 0
    bytes_read: int = 0
    problems: list[Problem] = field(default_factory=list)
    affected: list[Affected] = field(default_factory=list)

    def add(self, what: str, keys: Iterable[bytes] = ()) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(what, tuple(islice(keys, MAX_PATHS))))


class Subset(NamedTuple):
    """The `number`-th (from 1) of `of` parts."""

    number: int = 1
    of: int = 1

    def holds(self, name: bytes) -> bool:
        return int.from_bytes(name[:8]) % self.of == self.number - 1


ALL_PACKS: Final = Subset()


def fsck(
    repository: Repository,
    *,
    read_data: bool = False,
    subset: Subset = ALL_PACKS,
    progress: Progress = SILENT,
) -> Findings:
    """Check everything. Takes bad objects out of the index where the repository is writable."""
    findings = Findings()
    for log in repository.marks():
        damaged = log.damaged()
        if damaged:
            findings.add(f"marks: {damaged} damaged lines in a file of marks/")
    for path in sorted((repository.path / "tracker").glob("*")):
        if path.suffix != ".new" and path.is_file() and not is_whole(path.name, path.read_bytes()):
            findings.add(f"tracker: {path.name} is damaged")
    _check_packs(repository, findings)
    if read_data:
        progress.begin("reading packs", total_bytes=_pack_bytes(repository, subset))
        _read_packs(repository, subset, findings, progress)
        _check_git_packs(repository, findings)
    progress.begin("checking roots")
    if _loose_objects_are_whole(repository, findings):
        _check_refs(repository, findings)
        _check_history(repository, findings, progress)
    bad = {key for problem in findings.problems for key in problem.keys}
    if bad:
        findings.affected = list(islice(affected_paths(repository, bad), MAX_PATHS))
    return findings


def _pack_bytes(repository: Repository, subset: Subset) -> int:
    return sum(
        path.stat().st_size for name, path in packs_in(repository.store.packs) if subset.holds(name)
    )


# -- packs against the index -------------------------------------------------------------------


def _check_packs(repository: Repository, findings: Findings) -> None:
    """Every pack has a good footer; every indexed pack is there. One that is not indexed is added,
    as the next writer would."""
    index = repository.store.index
    unfinished = index.unfinished()
    numbers = {name: number for number, name in index.packs().items() if number not in unfinished}
    indexed = 0
    for name, path in packs_in(repository.store.packs):
        findings.packs += 1
        try:
            footer = read_footer(path)
        except Corrupt as error:
            findings.add(error.message)
            continue
        findings.objects += len(footer)
        number = numbers.pop(name, None)
        if number is None:
            # A crash fell between the two: the pack is good, and the next writer would add it.
            if not repository.writable:
                continue
            number = index.add_pack(name, footer)
        for entry, location in zip(footer, index.locate([e.key for e in footer]), strict=True):
            if location is None or location.pack != number:
                continue  # forgotten as bad, or stored twice: the other copy counts
            indexed += 1
            if (location.codec, *location[2:]) != entry[1:]:
                findings.add("the block index is wrong about an object", [entry.key])
    for name in numbers:
        findings.add(f"pack {name.hex()[:12]} is missing")
    if indexed != len(index) and not findings.problems:
        findings.add(f"the block index has {len(index) - indexed} objects that no pack has")


def _read_packs(
    repository: Repository, subset: Subset, findings: Findings, progress: Progress
) -> None:
    with ThreadPoolExecutor(repository.threads, thread_name_prefix="fsck") as pool:
        for name, path in packs_in(repository.store.packs):
            if not subset.holds(name):
                continue
            found = list(_bad_records(repository, name, path, pool, findings, progress))
            bad = _in_use(repository, name, found) if found else []
            if bad:
                findings.add(f"pack {name.hex()[:12]} has {_count(bad, 'damaged object')}", bad)
                _forget(repository, bad)


def _bad_records(
    repository: Repository,
    name: bytes,
    path: Path,
    pool: ThreadPoolExecutor,
    findings: Findings,
    progress: Progress,
) -> Iterator[bytes]:
    """The keys of records that are not what the footer says - or the index, where the footer is
    damaged - or do not have their id."""
    codec = repository.store.codec

    def good(item: tuple[FooterEntry, bytes]) -> bool:
        entry, raw = item
        payload = raw[RECORD_HEADER.size :]
        try:
            check_record_header(raw[: RECORD_HEADER.size], entry)
            expand(codec, Record(entry.key, entry.codec, entry.plain, payload))
        except (Corrupt, struct.error):
            return False
        return True

    records = _raw_records(path, _expected(repository, name, path))
    while batch := list(islice(records, BATCH)):
        for (entry, raw), fine in zip(batch, pool.map(good, batch), strict=True):
            findings.bytes_read += len(raw)
            progress.advance(size=len(raw))
            if not fine:
                yield entry.key


def _in_use(repository: Repository, name: bytes, bad: list[bytes]) -> list[bytes]:
    """Those that the index looks for in this pack. The others were found bad before: they are
    garbage if another pack has them by now, and lacking in a commit if not."""
    index = repository.store.index
    number = next((number for number, known in index.packs().items() if known == name), None)
    located = zip(bad, index.locate(bad), strict=True)
    return [key for key, place in located if place is not None and place.pack == number]


def _expected(repository: Repository, name: bytes, path: Path) -> Iterable[FooterEntry]:
    try:
        return read_footer(path)
    except Corrupt:  # reported by the check of the footers
        index = repository.store.index
        number = next((number for number, known in index.packs().items() if known == name), None)
        return [
            FooterEntry(key, *location[1:])
            for key, location in index.items()
            if location.pack == number
        ]


def _raw_records(path: Path, entries: Iterable[FooterEntry]) -> Iterator[tuple[FooterEntry, bytes]]:
    """Each record, header and payload, from where it should lie: one that is damaged does not hide
    those behind it."""
    with path.open("rb") as file:
        for entry in sorted(entries, key=lambda entry: entry.offset):
            file.seek(entry.offset - RECORD_HEADER.size)
            yield entry, file.read(RECORD_HEADER.size + min(entry.stored, MAX_STORED))


def _forget(repository: Repository, bad: list[bytes]) -> None:
    if repository.writable:
        repository.store.index.forget(bad)
        repository.doubt()


# -- history and roots ---------------------------------------------------------------------------


def _check_history(repository: Repository, findings: Findings, progress: Progress) -> None:
    history = repository.history
    walk = ClosureWalk(repository.store)
    whole: list[bytes] = []
    for commit_id in _all_commits(repository, findings):
        findings.commits += 1
        try:
            commit = history.commit(commit_id)
            history.check_parents(commit)
        except (Corrupt, NotFound) as error:
            findings.add(error.message)
            continue
        found = RootCheck(repository, walk, commit.root, progress)
        if found.missing:
            findings.add(
                f"commit {commit.short} lacks {_count(found.missing, 'object')}", found.missing
            )
        for what, key in found.wrong.items():
            findings.add(f"commit {commit.short}: {what}", [key])
        if found.whole and repository.writable and repository.held(commit.root) == "none":
            whole.append(commit.root)
    if whole and not findings.problems:
        repository.mark_held(whole, "whole")


def _loose_objects_are_whole(repository: Repository, findings: Findings) -> bool:
    """Whether history can be looked at (`store.loose_objects`)."""
    cut = list(filter(is_cut_short, loose_paths(repository.path / "history" / "objects")))
    for path in cut:
        findings.add(f"history: object {path.parent.name}{path.name} is cut short")
    return not cut


def _check_refs(repository: Repository, findings: Findings) -> None:
    """HEAD and every ref can be read, and the branches that were finalized are there: Git's own
    library passes over a ref that it cannot read."""
    history = repository.path / "history"
    for path in (history / "HEAD", *sorted((history / "refs").rglob("*"))):
        name = str(path.relative_to(history))
        if path.is_dir() or path.name.endswith(".lock"):
            continue
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            content = b""
        if not REF.fullmatch(content):
            findings.add(f"history: {name} is damaged")
    try:
        refs = repository.history.refs()
    except Corrupt as error:
        findings.add(error.message)
        return
    for name, last in repository.finalized().items():
        if last is None or not name.startswith("refs/"):
            continue
        if name not in refs:
            findings.add(f"history: {name} is missing or damaged; it was at {last[:10]}")
        elif not _has_moved_on(repository.history, name, refs[name], last):
            findings.add(f"history: {name} is at {refs[name][:10]}, and was at {last[:10]}")


def _has_moved_on(history: History, name: str, here: str, last: str) -> bool:
    """Whether a ref is where it was recorded last, or was moved since: a move is recorded after it
    was made, and by other tools not at all. One whose file was lost is where `packed-refs` has it.
    """
    with suppress(Corrupt, NotFound):
        return here == last or history.last_move(name) == here or history.is_ancestor(last, here)
    return True  # its commits are looked at below


def _check_git_packs(repository: Repository, findings: Findings) -> None:
    """Packs of Git end with a sum of all that is before it."""
    for path in sorted((repository.path / "history" / "objects" / "pack").glob("pack-*")):
        if path.suffix in (".pack", ".idx") and not _ends_with_its_sum(path):
            findings.add(f"history: objects/pack/{path.name} is damaged")


def _ends_with_its_sum(path: Path) -> bool:
    digest = sha1()
    left = path.stat().st_size - digest.digest_size
    with path.open("rb") as file:
        while left > 0 and (piece := file.read(min(left, MAX_PIECE))):
            digest.update(piece)
            left -= len(piece)
        return left == 0 and file.read() == digest.digest()


def _all_commits(repository: Repository, findings: Findings) -> list[str]:
    """Every commit that a ref reaches, parents first."""
    history = repository.history
    tips = []
    try:
        refs = history.refs()
    except Corrupt:  # said by the check of refs
        return []
    for name, target in refs.items():
        try:
            tips.append(history.resolve(target).id)
        except (Corrupt, NotFound) as error:
            findings.add(f"{name}: {error.message}")
    try:
        return history.oldest_first(tips)
    except Corrupt as error:
        findings.add(error.message)
        return tips


def _count(found: Sized, noun: str) -> str:
    return f"{len(found)} {noun}{'' if len(found) == 1 else 's'}"


def describe(problem: Problem) -> str:
    """One line for a problem."""
    names = ", ".join(key_name(key)[:18] for key in problem.keys[:3])
    more = ", ..." if len(problem.keys) > 3 else ""
    return f"{problem.what}: {names}{more}" if names else problem.what
