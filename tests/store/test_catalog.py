"""The catalog: made, migrated, and never the only copy of anything."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from treering.store import catalog as module
from treering.store.catalog import MIGRATIONS, Catalog
from treering.store.errors import Corrupt, StorageError, UnsupportedFormat
from treering.store.history import RefUpdate
from treering.store.ids import NodeId
from treering.store.marks import MarkLog
from treering.store.packfile import PackInfo
from treering.store.repository import Repository


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


def tables(catalog: Catalog) -> set[str]:
    rows = catalog.conn.execute("select name from sqlite_master where type='table'")
    return {row[0] for row in rows}


def version(path: Path) -> int:
    conn = sqlite3.connect(path)
    (found,) = conn.execute("pragma user_version").fetchone()
    conn.close()
    return int(found)


def set_version(path: Path, number: int) -> None:
    conn = sqlite3.connect(path)
    conn.execute(f"pragma user_version={number}")
    conn.close()


def test_migrated_from_empty(path: Path) -> None:
    catalog = Catalog(path)
    assert {"packs", "held", "finalized", "mirrored", "facts", "scan_state"} <= tables(catalog)
    assert catalog.conn.execute("pragma journal_mode").fetchone() == ("wal",)
    assert catalog.fact("nothing") is None
    catalog.close()
    assert version(path) == len(MIGRATIONS)
    assert path.stat().st_mode & 0o777 == 0o600
    Catalog(path).close()


def test_migrated_from_every_older_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a version holds is still there after the next, and each migration runs once."""
    catalog = Catalog(path)
    catalog.add_packs([PackInfo(b"p", 1, 2, 3)])
    catalog.close()

    def extra(db: object) -> None:
        db.execute("create table extra (x)")  # type: ignore[attr-defined]

    monkeypatch.setattr(module, "MIGRATIONS", (*MIGRATIONS, extra))
    for _ in range(2):
        catalog = Catalog(path)
        assert "extra" in tables(catalog)
        assert catalog.conn.execute("select * from packs").fetchall() == [(b"p", 1, 2, 3)]
        catalog.close()
    assert version(path) == len(MIGRATIONS) + 1


def test_failed_migration_leaves_the_old_version(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Catalog(path).close()

    def broken(db: object) -> None:
        db.execute("create table half (x)")  # type: ignore[attr-defined]
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", (*MIGRATIONS, broken))
        with pytest.raises(ZeroDivisionError):
            Catalog(path)
    catalog = Catalog(path)
    assert "half" not in tables(catalog)
    catalog.close()


def test_newer_schema_is_refused(path: Path) -> None:
    Catalog(path).close()
    set_version(path, len(MIGRATIONS) + 1)
    for writable in (True, False):
        with pytest.raises(UnsupportedFormat, match=f"schema {len(MIGRATIONS) + 1}"):
            Catalog(path, writable=writable)


@pytest.mark.parametrize("keep", [0, 16, 100, 4096])
def test_damaged_file_is_corrupt(path: Path, keep: int) -> None:
    catalog = Catalog(path)
    catalog.add_packs([PackInfo(b"%d" % n, 1, 2, 3) for n in range(1000)])
    catalog.close()
    content = path.read_bytes()
    path.write_bytes(content[:keep] + b"\xa5" * (len(content) - keep))
    with pytest.raises(Corrupt, match="catalog") as caught:
        catalog = Catalog(path)
        try:
            catalog.add_packs([PackInfo(b"x", 1, 2, 3)])
        finally:
            catalog.close()
    assert caught.value.hint is not None and "delete catalog.db" in caught.value.hint


def test_opened_for_reading_only(path: Path) -> None:
    with pytest.raises(StorageError):
        Catalog(path, writable=False)
    assert not path.exists()
    catalog = Catalog(path)
    catalog.add_packs([PackInfo(b"p", 1, 2, 3)])
    catalog.close()
    reader = Catalog(path, writable=False)
    assert reader.conn.execute("select count(*) from packs").fetchone() == (1,)
    with pytest.raises(StorageError):
        reader.add_packs([PackInfo(b"q", 1, 2, 3)])
    reader.close()


def test_transaction_is_all_or_nothing(path: Path) -> None:
    catalog = Catalog(path)
    with pytest.raises(ZeroDivisionError), catalog.transaction() as conn:
        conn.execute("insert into packs values (?, 1, 1, 1)", (b"p",))
        _ = 1 // 0
    assert catalog.conn.execute("select count(*) from packs").fetchone() == (0,)
    catalog.add_packs([PackInfo(b"p", 1, 2, 3), PackInfo(b"q", 1, 2, 3)])
    catalog.add_packs([PackInfo(b"p", 9, 9, 9)])
    catalog.drop_packs([b"q", b"absent"])
    assert catalog.conn.execute("select * from packs").fetchall() == [(b"p", 1, 2, 3)]
    catalog.close()


def remember(conn: sqlite3.Connection, fields: list[str]) -> None:
    conn.execute("insert into finalized (ref) values (?)", (fields[0],))


def seen(catalog: Catalog) -> list[str]:
    return [row[0] for row in catalog.conn.execute("select ref from finalized order by seq")]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[MarkLog]:
    yield MarkLog(tmp_path / "log")


def test_mirror_applies_each_record_once(path: Path, log: MarkLog) -> None:
    catalog = Catalog(path)
    catalog.mirror("finalized", log, remember)
    for step in range(3):
        log.append([[f"a{step}"], [f"b{step}"]])
        for _ in range(2):
            catalog.mirror("finalized", log, remember)
    assert seen(catalog) == [f"{letter}{step}" for step in range(3) for letter in "ab"]
    catalog.close()


def test_mirror_beside_another_process(path: Path, tmp_path: Path) -> None:
    """Another one mirrors between our look and our transaction: nothing comes twice."""
    catalog, other = Catalog(path), Catalog(path)

    class Raced(MarkLog):
        def read(self, offset: int = 0) -> Iterator[tuple[list[str], int]]:
            found = list(super().read(offset))
            if not seen(other):
                other.mirror("finalized", MarkLog(tmp_path / "log"), remember)
            yield from found

    log = Raced(tmp_path / "log")
    log.append([["a"], ["b"]])
    catalog.mirror("finalized", log, remember)
    assert seen(catalog) == ["a", "b"]
    other.close()
    catalog.close()


def test_failed_mirror_is_done_again(path: Path, log: MarkLog) -> None:
    catalog = Catalog(path)
    log.append([["a"], ["b"]])

    def broken(conn: sqlite3.Connection, fields: list[str]) -> None:
        remember(conn, fields)
        if fields == ["b"]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        catalog.mirror("finalized", log, broken)
    assert seen(catalog) == []
    catalog.mirror("finalized", log, remember)
    assert seen(catalog) == ["a", "b"]
    catalog.close()


def test_losing_the_catalog_loses_nothing(repository: Repository) -> None:
    roots = [NodeId(b"%032d" % number) for number in range(4)]
    repository.mark_held(roots[:3], "whole")
    repository.mark_held(roots[1:2], "nodes")
    repository.doubt()
    repository.mark_held(roots[2:3], "whole")
    repository.mark_finalized([RefUpdate("refs/heads/main", None, "1" * 40)])
    expected = ["none", "none", "whole", "none"]
    assert [repository.held(root) for root in roots] == expected
    finalized = repository.catalog.conn.execute("select * from finalized").fetchall()
    assert finalized == [(1, 1_700_000_000, "refs/heads/main", "-", "1" * 40)]
    repository.close()
    for path in repository.path.glob("catalog.db*"):
        path.unlink()
    assert [repository.held(root) for root in roots] == expected
    repository.mark_finalized([RefUpdate("refs/heads/main", "1" * 40, None)])
    rows = repository.catalog.conn.execute("select ref, old, new from finalized").fetchall()
    assert rows == [
        ("refs/heads/main", "-", "1" * 40),
        ("refs/heads/main", "1" * 40, "-"),
    ]
