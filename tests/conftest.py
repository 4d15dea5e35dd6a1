"""Hypothesis profiles and the fixtures that many tests use.

`ci` is the default and quick; `long` is chosen by TREERING_LONG=1 in the environment. A failure
prints the blob that repeats it. Where CI=true the examples are the same each time, so that a red
run tells of the change at hand; everywhere else they are new ones.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support import BLOCK, open_store

from treering.store.block_store import BlockStore
from treering.store.repository import Repository

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A run in the background has it ignored, and so would have all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "ci",
    max_examples=60,
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    print_blob=True,
    suppress_health_check=QUIET,
)
settings.register_profile("long", settings.get_profile("ci"), max_examples=3000, derandomize=False)
settings.load_profile("long" if os.environ.get("TREERING_LONG") == "1" else "ci")


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """An empty repository with the smallest block size, open."""
    path = tmp_path / "repository"
    Repository.create(path, BLOCK)
    opened = Repository(path, clock=lambda: 1_700_000_000.0, threads=2, lock_wait=5)
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockStore]:
    """An empty block store."""
    folder = tmp_path / "store"
    folder.mkdir()
    opened = open_store(folder)
    yield opened
    opened.close()
