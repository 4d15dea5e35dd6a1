"""The change journal on a file system that loses and tears what was not synced: whatever was told
to be durable is there after a power cut at any moment."""

from __future__ import annotations

import random
from pathlib import Path

from forgetful import Forgetful, forgetful

from treering.tracker.block_map import Serial
from treering.tracker.journal import Journal, Key, read_journals
from treering.tracker.journal_records import Look, Suspect

CUTS = 4


def suspect(number: int) -> tuple[Key, Suspect]:
    path = b"a path of some length " * (number % 40)
    return (Look.EXTENT, Serial(number), 0), Suspect(Look.EXTENT, 1, b"%d" % number, path)


def check(disk: Forgetful, scratch: Path, told: set[Suspect], chance: random.Random) -> None:
    for _ in range(CUTS):
        seed = chance.randrange(1 << 30)
        left = scratch / str(seed)
        disk.cut(seed, left)
        found = {each for file in read_journals(left) for each in file.suspects}
        assert told <= found, f"seed {seed}"


def test_a_power_cut_at_any_moment(tmp_path: Path) -> None:
    chance = random.Random()
    seed = chance.randrange(1 << 30)
    print(f"seed {seed}")
    chance.seed(seed)
    with forgetful(tmp_path / "disk") as disk:
        journal = Journal(disk.top, 65536)
        era, told = 1, {0: set[Suspect]()}
        journal.begin(era)
        told[era] = set()
        for number in range(1, 150):
            key, found = suspect(number)
            ticket = journal.add({key: found})
            if chance.random() < 0.8:
                journal.sync(ticket)
                told[era].add(found)
            if number % 10 == 0:
                check(disk, tmp_path, set().union(*told.values()), chance)
            if number % 30 == 0:
                journal.sync(ticket)
                told[era].add(found)
                journal.prepare(era + 1)
                check(disk, tmp_path, set().union(*told.values()), chance)
                journal.swap()
                era += 1
                told[era] = set()
            if number % 50 == 0 and era > 1:
                journal.done(era - 1)
                told = {each: found for each, found in told.items() if each >= era}
        journal.close()


def test_the_disk_forgets(tmp_path: Path) -> None:
    """What was not synced may be gone: else the other test would prove nothing."""
    with forgetful(tmp_path / "disk") as disk:
        (disk.top / "f").write_bytes(b"a" * 5000)
        seen = set()
        for seed in range(40):
            left = tmp_path / str(seed)
            disk.cut(seed, left)
            path = left / "f"
            seen.add(len(set(path.read_bytes())) if path.exists() else "no name")
        assert seen >= {"no name", 0, 2}
