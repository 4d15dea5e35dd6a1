"""Where a remote is: URLs, and work trees whose repository is elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from conformance.sample import MAIN

from treering.store.errors import InvalidInput, NoRepository
from treering.store.remotes.local import open_local
from treering.store.remotes.url import connect, parse, resolve


def test_urls(tmp_path: Path, bare: Path) -> None:
    for url in (str(bare), f"file://{bare}", f"file://localhost{bare}"):
        remote = connect(url)
        assert remote.refs() == {}
        remote.close()
    assert resolve("../x", tmp_path / "y") == f"{tmp_path}/y/../x"
    assert resolve("host:x", tmp_path) == "host:x"
    assert parse("./a:b").carrier == "local"
    for url in ("ssh://h/x", "user@host:x", "https://h/x", "s3://b/p", "gs://b", "az://c"):
        with pytest.raises(InvalidInput, match="not in this version yet"):
            connect(url)
    for url in ("", "ftp://x/y", "file://host/x", "relative", "a\nb"):
        with pytest.raises(InvalidInput):
            connect(url)
    with pytest.raises(NoRepository):
        connect(str(tmp_path))


def test_a_work_tree_whose_repository_is_elsewhere(tmp_path: Path, bare: Path) -> None:
    top = tmp_path / "tree"
    (top / ".treering").mkdir(parents=True)
    (top / ".treering" / "repo").write_bytes(bytes(bare) + b"\n")
    remote = open_local(top)
    assert remote.describe().checked_out == MAIN
    remote.close()
    bare_remote = open_local(bare)
    assert bare_remote.describe().checked_out is None
    bare_remote.close()
