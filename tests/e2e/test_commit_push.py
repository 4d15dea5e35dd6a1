"""commit --push: what is stored goes to the remote while the commit is still at it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attached_trees import attached, away
from live_trees import Work

from treering.store.packfile import PackInfo, pack_file_name, read_footer
from treering.store.remotes.sending_ahead import SendAhead
from treering.store.remotes.url import connect
from treering.store.repository import Repository

SIZE = 150 << 20


@pytest.fixture
def here(work: Work, tmp_path: Path) -> Work:
    """With a bare repository as its upstream, that has its first commit."""
    bare = tmp_path / "bare"
    work("init", "-q", "--bare", str(bare))
    work.write("first", "there")
    work.commit("first")
    work("remote", "add", "origin", str(bare))
    work("push", "-q", "-u", "origin", "main")
    return work


@contextmanager
def opened(path: Path) -> Iterator[Repository]:
    repository = Repository(path)
    try:
        yield repository
    finally:
        repository.close()


def large(work: Work) -> None:
    (work.top / "large").write_bytes(os.urandom(SIZE))


@pytest.mark.parametrize("how", [attached, None], ids=["attached", "scanned"])
def test_it_is_there_when_it_is_committed(
    here: Work, tmp_path: Path, how: Callable[[Work], object] | None
) -> None:
    large(here)
    if how is None:
        done = here("commit", "-m", "large", "--push")
    else:
        with attached(here):
            (here.top / "large").write_bytes(os.urandom(SIZE))
            done = away(here, "commit", "-m", "large", "--push")
    assert "Pushed 1 commit to origin" in done.out
    sent = next(line for line in done.lines if "Pushed" in line)
    assert "150.0 MiB sent" in sent or "150.1 MiB sent" in sent
    here("clone", "-q", str(tmp_path / "bare"), str(tmp_path / "clone"))
    assert (tmp_path / "clone" / "large").read_bytes() == (here.top / "large").read_bytes()
    assert "up to date" in here("push").out


def test_a_pack_is_taken_before_anything_is_finalized(here: Work, tmp_path: Path) -> None:
    large(here)
    here.commit("large")
    with opened(here.top / ".treering") as repository:
        remote = connect(str(tmp_path / "bare"))
        before = remote.refs()
        keys = {
            path: [entry.key for entry in read_footer(path)]
            for path in repository.store.packs.iterdir()
        }
        assert any(remote.missing(some) for some in keys.values())
        with SendAhead(repository, remote, jobs=2) as ahead:
            for path in keys:
                ahead.offer(PackInfo(bytes.fromhex(path.name.split(".")[0]), 0, 0, 0))
                assert pack_file_name(bytes.fromhex(path.name.split(".")[0])) == path.name
        assert [remote.missing(some) for some in keys.values()] == [[]] * len(keys)
        assert remote.refs() == before
        assert ahead.bytes > SIZE
        remote.close()
    said = here("push").out
    assert "Pushed 1 commit" in said
    assert "MiB" not in said, "it was sent twice"


def test_without_the_remote_the_commit_is_made(here: Work, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "bare")
    large(here)
    said = here("commit", "-m", "large", "--push", code=10)
    assert "large" in said.out
    assert "bare" in said.err
    assert here.root() != here.root("HEAD~1")
