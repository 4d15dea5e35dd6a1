"""Claims: each absent object goes to one claimant, also over several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import open_store, record_of, store_objects

from treering.store import claims
from treering.store.block_store import BlockStore
from treering.store.claims import SharedClaims, claim_log
from treering.store.ids import Kind

RECORDS = [record_of(Kind.BLOCK, b"block %d" % number) for number in range(24)]
KEYS = [record.key for record in RECORDS]
rounds = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.sampled_from(KEYS), max_size=8)), max_size=25
)


@contextmanager
def log() -> Iterator[int]:
    descriptor = claim_log()
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def indexed(folder: Path, count: int) -> BlockStore:
    """A store that has the first `count` records."""
    store = open_store(folder)
    store_objects(store, RECORDS[:count])
    return store


@given(rounds, st.integers(0, 5))
def test_each_absent_key_goes_to_one_claimant(
    tmp_path_factory: pytest.TempPathFactory,
    turns: list[tuple[int, list[bytes]]],
    present: int,
) -> None:
    store = indexed(tmp_path_factory.mktemp("store"), present)
    with log() as descriptor:
        claimants = [SharedClaims(store.index, descriptor) for _ in range(3)]
        seen = set[bytes](KEYS[:present])
        for who, keys in turns:
            wanted = []
            for key in keys:
                wanted.append(key not in seen)
                seen.add(key)
            assert claimants[who].claim(keys) == wanted
    store.close()


@given(rounds, st.integers(0, 5), st.integers(0, 6))
def test_a_cut_log_forgets_but_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    turns: list[tuple[int, list[bytes]]],
    present: int,
    longest: int,
) -> None:
    """Who gets False can rely on it: somebody has got True for the key before, or it is there."""
    store = indexed(tmp_path_factory.mktemp("store"), present)
    with pytest.MonkeyPatch.context() as patch, log() as descriptor:
        patch.setattr(claims, "MAX_LOGGED", longest)
        claimants = [SharedClaims(store.index, descriptor) for _ in range(3)]
        there, given_out = set[bytes](KEYS[:present]), set[bytes]()
        for who, keys in turns:
            for key, mine in zip(keys, claimants[who].claim(keys), strict=True):
                assert not (mine and key in there)
                assert mine or key in there | given_out
                given_out |= {key} if mine else set()
    store.close()


def test_a_cut_log_is_begun_anew(store: BlockStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays short, and claimants that were away meanwhile see the new claims."""
    monkeypatch.setattr(claims, "MAX_LOGGED", 4)
    with log() as descriptor:
        one, two = (SharedClaims(store.index, descriptor) for _ in range(2))
        assert two.claim(KEYS[:1]) == [True]
        for key in KEYS[1:]:
            assert one.claim([key]) == [True]
        assert two.claim(KEYS[-1:]) == [False]
        assert os.fstat(descriptor).st_size < 8 * len(KEYS[0])


def test_a_key_that_is_stored_meanwhile_is_not_claimed(store: BlockStore) -> None:
    with log() as descriptor:
        shared = SharedClaims(store.index, descriptor)
        store_objects(store, RECORDS[:1])
        assert shared.claim(KEYS[:2] * 2) == [False, True, False, False]


CLAIMANT = """
import sys
from pathlib import Path
from treering.store import claims
from treering.store.block_index import BlockIndex
claims.MAX_LOGGED = int(sys.argv[3])
shared = claims.SharedClaims(BlockIndex(Path(sys.argv[1])), int(sys.argv[2]))
print("ready", flush=True)
sys.stdin.read(1)
keys = [b"\\1" + number.to_bytes(32, "big") for number in range(3000)]
for start in range(0, len(keys), 7):
    batch = keys[start : start + 7]
    for key, mine in zip(batch, shared.claim(batch)):
        print(int.from_bytes(key[1:], "big"), int(mine))
"""


def race(store: BlockStore, longest: int) -> list[Counter[int]]:
    """Three processes claim the same keys at once; how many got False, and True, by key."""
    with log() as descriptor:
        arguments = [str(store.index.folder), str(descriptor), str(longest)]
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", CLAIMANT, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[descriptor],
            )
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"x")
            process.stdin.flush()
        found: list[Counter[int]] = [Counter(), Counter()]
        for process in processes:
            out, _ = process.communicate(timeout=60)
            assert process.returncode == 0
            for line in out.splitlines():
                key, mine = map(int, line.split())
                found[mine][key] += 1
    return found


def test_processes_that_race_share_the_keys(store: BlockStore) -> None:
    refused, granted = race(store, claims.MAX_LOGGED)
    assert granted == Counter(range(3000))
    assert refused == Counter(dict.fromkeys(range(3000), 2))


def test_processes_that_race_over_a_log_that_is_cut_lose_nothing(store: BlockStore) -> None:
    _, granted = race(store, 50)
    assert set(granted) == set(range(3000))


def test_a_claimant_that_was_killed_does_not_hold_up_the_others(store: BlockStore) -> None:
    with log() as descriptor:
        script = (
            "import fcntl, sys; fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX);"
            "print('locked', flush=True); sys.stdin.read()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(descriptor)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[descriptor],
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        process.kill()
        process.communicate()
        assert SharedClaims(store.index, descriptor).claim(KEYS[:1]) == [True]
