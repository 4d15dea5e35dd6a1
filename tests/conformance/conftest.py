"""The carriers, and repositories at both of their ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance.sample import BLOCK, Carriers, new_repository

from treering.store.remotes.base import Remote
from treering.store.repository import Repository


@pytest.fixture(params=["local", "pipe"])
def carriers(request: pytest.FixtureRequest) -> Iterator[Carriers]:
    found = Carriers(request.param)
    yield found
    found.close()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Repository]:
    repository = new_repository(tmp_path / "source")
    yield repository
    repository.close()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    Repository.create(tmp_path / "bare", BLOCK)
    return tmp_path / "bare"


@pytest.fixture
def remote(carriers: Carriers, bare: Path) -> Remote:
    return carriers.open(bare)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Repository]:
    repository = new_repository(tmp_path / "target")
    yield repository
    repository.close()
