"""Fixtures over a history."""

from __future__ import annotations

from pathlib import Path

import pytest
from histories import open_history

from treering.store.history import History, create_history


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "history"
    create_history(folder)
    return folder


@pytest.fixture
def history(path: Path) -> History:
    return open_history(path)
