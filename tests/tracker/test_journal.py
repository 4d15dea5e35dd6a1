"""What the change journal said before a change, it says after a power cut."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering.store.errors import Corrupt, StorageError
from treering.tracker import journal as journal_module
from treering.tracker.block_map import Serial
from treering.tracker.journal import HOT, Journal, Key, journal_files, read_journals
from treering.tracker.journal_records import Look, Suspect, decode_journal

SECTOR = 512


def suspect(number: int, path: bytes = b"some/path") -> dict[Key, Suspect]:
    look = Look.EXTENT if number % 2 else Look.NAMES
    handle = b"handle of %d" % number
    return {(look, Serial(number), 0): Suspect(look, 1, handle, path, number % 5)}


def said(folder: Path) -> set[Suspect]:
    return {each for file in read_journals(folder) for each in file.suspects}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path, 65536)
    made.begin(1)
    yield made
    made.close()


def add(journal: Journal, number: int) -> Suspect:
    found = suspect(number)
    journal.sync(journal.add(found))
    return next(iter(found.values()))


def test_it_says_what_was_added(journal: Journal, tmp_path: Path) -> None:
    added = {add(journal, number) for number in range(10)}
    (file,) = read_journals(tmp_path)
    assert set(file.suspects) == added
    assert (file.block_size, file.era, file.whole) == (65536, 1, True)


def test_each_is_written_once_an_era(journal: Journal) -> None:
    (key,) = suspect(1)
    assert journal.need(key)
    add(journal, 1)
    assert not journal.need(key)
    journal.prepare(2)
    journal.swap()
    assert not journal.need(key), "it was hot"


def test_the_next_era_begins_with_the_hot_ones(journal: Journal, tmp_path: Path) -> None:
    for number in range(HOT + 10):
        ticket = journal.add(suspect(number))
    journal.sync(ticket)
    (first,) = suspect(0)
    assert not journal.need(first)  # met again: hot
    journal.prepare(2)
    journal.swap()
    assert not journal.need(first)
    (cold,) = suspect(1)
    assert journal.need(cold)
    journal.done(1)
    (file,) = read_journals(tmp_path)
    assert file.era == 2
    assert len(file.suspects) == HOT


def test_both_eras_are_there_until_the_commit_is(journal: Journal, tmp_path: Path) -> None:
    old = add(journal, 1)
    journal.prepare(2)
    journal.swap()
    new = add(journal, 3)
    assert said(tmp_path) == {old, new}
    journal.done(1)
    assert len(journal_files(tmp_path)) == 1
    assert said(tmp_path) == {old, new}  # the old one was hot


def test_a_swap_that_is_given_up_leaves_nothing(journal: Journal, tmp_path: Path) -> None:
    journal.prepare(2)
    journal.give_up()
    assert [path.name for path in journal_files(tmp_path)] == [f"{1:016d}"]
    add(journal, 5)


def test_too_many_suspects_are_the_whole_tree(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_KNOWN", 10)
    for number in range(20):
        journal.sync(journal.add(suspect(number)))
    assert Look.EVERYWHERE in {each.look for each in said(tmp_path)}
    (late,) = suspect(99)
    assert not journal.need(late)


def test_whoever_asks_with_which_umask_it_can_be_read(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        journal = Journal(tmp_path, 65536)
        journal.begin(1)
    finally:
        os.umask(before)
    journal.close()
    (path,) = journal_files(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_disk_is_told_and_nothing_counts_as_written(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1300k", "none", tmp_path], check=True)
    try:
        journal = Journal(tmp_path, 65536)
        journal.begin(1)
        number = 0
        with pytest.raises(StorageError, match="No space left"):
            for number in range(20_000):
                journal.sync(journal.add(suspect(number)))
        (refused,), (taken,) = suspect(number), suspect(number - 1)
        assert journal.need(refused)
        assert not journal.need(taken)
        assert len(said(tmp_path)) == number
        journal.close()
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_off_it_writes_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 65536, off=True)
    journal.begin(1)
    assert not journal.need((Look.EXTENT, Serial(1), 0))
    journal.prepare(2)
    journal.swap()
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_who_comes_while_it_syncs_shares_the_next(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = os.fdatasync

    def sync(descriptor: int) -> None:
        time.sleep(0.02)
        slow(descriptor)

    monkeypatch.setattr(os, "fdatasync", sync)
    threads = [threading.Thread(target=add, args=(journal, number)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= journal.syncs < 20


def test_what_is_written_is_needed_until_it_is_durable(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another change of the same extent must not overtake the sync that the first one waits for."""
    begun, go_on = threading.Event(), threading.Event()
    real = os.fdatasync

    def sync(descriptor: int) -> None:
        begun.set()
        assert go_on.wait(20)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", sync)
    (key,) = suspect(1)
    first = threading.Thread(target=add, args=(journal, 1))
    first.start()
    assert begun.wait(20)
    assert journal.need(key)
    second = threading.Thread(target=add, args=(journal, 1))
    second.start()
    second.join(0.2)
    assert second.is_alive(), "it was told that the suspect is durable"
    go_on.set()
    first.join()
    second.join()
    assert not journal.need(key)
    assert journal.syncs == 1


def test_a_disk_that_refuses_to_sync(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one sync lost, a later one does not bring back: the next file must."""

    def refuse(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        with pytest.raises(StorageError, match="syncing the change journal"):
            add(journal, 1)
    with pytest.raises(StorageError):
        add(journal, 3)
    journal.prepare(2)
    journal.swap()
    assert add(journal, 3) in said(tmp_path)


def test_a_file_that_is_no_journal(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / f"{7:016d}").write_bytes(b"something else")
    with pytest.raises(Corrupt, match="does not begin"):
        said(tmp_path)


def test_a_record_damaged_between_others_is_told(journal: Journal, tmp_path: Path) -> None:
    for number in range(10):
        add(journal, number)
    (path,) = journal_files(tmp_path)
    content = bytearray(path.read_bytes())
    content[64 * 5 + 20] ^= 1
    found = decode_journal(bytes(content))
    assert not found.whole
    assert len(found.suspects) == 9


@given(st.integers(0, 1 << 32), st.lists(st.integers(1, 5), max_size=12))
def test_a_power_cut_loses_nothing_that_was_synced(
    tmp_path_factory: pytest.TempPathFactory, seed: int, bursts: list[int]
) -> None:
    """Of what was not synced, any sector may be on the disk, or what was there before."""
    folder = tmp_path_factory.mktemp("journal")
    chance = random.Random(seed)
    journal = Journal(folder, 65536)
    journal.begin(1)
    (path,) = journal_files(folder)
    durable = path.read_bytes()
    synced: set[Suspect] = set()
    number = 0
    for burst in bursts:
        added = {}
        for _ in range(burst):
            number += 1
            added.update(suspect(number, b"p" * chance.randrange(2000)))
        ticket = journal.add(added)
        cut = torn(durable, path.read_bytes(), chance)
        assert synced <= set(decode_journal(cut).suspects)
        journal.sync(ticket)
        durable = path.read_bytes()
        synced |= set(added.values())
    assert set(decode_journal(durable).suspects) == synced
    journal.close()


def torn(durable: bytes, latest: bytes, chance: random.Random) -> bytes:
    assert len(durable) == len(latest) or not durable
    found = bytearray(durable)
    for start in range(0, len(latest), SECTOR):
        if (
            latest[start : start + SECTOR] != durable[start : start + SECTOR]
            and chance.random() < 0.5
        ):
            found[start : start + SECTOR] = latest[start : start + SECTOR]
    return bytes(found)


@given(st.binary(max_size=4000))
def test_any_bytes_are_a_journal_or_refused(content: bytes) -> None:
    try:
        decode_journal(content)
    except Corrupt:
        pass
