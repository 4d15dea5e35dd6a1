"""stats: how much commits hold, and how much is stored for them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from blake3 import blake3
from live_trees import Work

BLOCK = 64 << 10
"""The block size unless another was asked for."""


PACK, RECORD = 8 + 48, 48 + 50
"""Bytes of a pack without its payloads (docs/format.md): for each, and for each record."""


def noise(size: int) -> bytes:
    return blake3(b"noise").digest(length=size)


@pytest.fixture
def filled(work: Work) -> Work:
    """Two commits: the second changes one block of five, and one of two small files."""
    work.write("d/large", noise(5 * BLOCK))
    work.write("d/e/small", "small\n")
    work.write("hole", bytes(3 * BLOCK))
    work.write("copy", "small\n")
    work.commit("one")
    work.write("d/large", b"changed".ljust(BLOCK, b"!") + noise(5 * BLOCK)[BLOCK:])
    work.write("copy", "large\n")
    work.commit("two")
    return work


def test_a_commit(filled: Work) -> None:
    found = filled("stats", "HEAD", "--json").json
    assert (found["files"], found["folders"]) == (4, 2)
    assert (found["size"], found["holes"]) == (8 * BLOCK + 12, 3 * BLOCK)
    assert (found["blocks"]["objects"], found["blocks"]["plain"]) == (7, 5 * BLOCK + 12)
    assert found["alone"]["plain"] > BLOCK
    lines = filled("stats", "HEAD").lines
    assert lines[0].endswith(" two")
    assert "  size           512.0 KiB, 192.0 KiB of it in holes" in lines
    first = filled("stats", "HEAD~1", "--json").json
    assert (first["blocks"]["objects"], first["blocks"]["plain"]) == (6, 5 * BLOCK + 6)
    assert first["deduplication"] == (5 * BLOCK + 12) / (5 * BLOCK + 6)


def test_a_path(filled: Work) -> None:
    large = filled("stats", "HEAD~1:d/large", "--json").json
    assert (large["path"], large["files"], large["folders"]) == ("d/large", 1, 0)
    assert large["alone"]["objects"] == 2  # one block, and the index node
    assert large["compression"] == pytest.approx(1)
    copy = filled("stats", "HEAD:copy", "--json").json
    assert copy["alone"] == {"objects": 1, "plain": 6, "stored": 6}
    assert filled("stats", "HEAD~1:copy", "--json").json["alone"]["objects"] == 0
    hole = filled("stats", "HEAD:hole", "--json").json
    assert (hole["holes"], hole["blocks"]["objects"]) == (3 * BLOCK, 0)
    assert hole["deduplication"] is None
    text = filled("stats", "HEAD:hole").out
    assert "deduplication  -" in text and "alone holds: 0 objects" in text
    assert filled("stats", "HEAD:./small", cwd=filled.top / "d" / "e").out.startswith(
        filled("log", "--oneline", "-n", "1").out[:10] + ":d/e/small\n"
    )


def test_the_whole_repository(filled: Work) -> None:
    found = filled("stats", "--json").json
    packs = list((filled.top / ".treering" / "packs").iterdir())
    assert found["packs"] == {"packs": 2, "bytes": sum(path.stat().st_size for path in packs)}
    assert (found["commits"], found["files"], found["size"]) == (2, 8, 2 * (8 * BLOCK + 12))
    assert found["blocks"]["objects"] == 8
    assert found["garbage"] == {"objects": 0, "stored": 0}
    filled("switch", "-q", "-c", "tried")
    filled.write("tried", noise(6 * BLOCK)[5 * BLOCK :])
    filled.commit("tried")
    filled("switch", "-q", "main")
    filled("branch", "-d", "--force", "tried")
    found = filled("stats", "--json").json
    assert (found["commits"], found["reflogs"]["commits"]) == (2, 1)
    assert BLOCK < found["reflogs"]["stored"] < BLOCK + 4096
    assert "Only reflogs keep: 1 commit, " in filled("stats").out
    shutil.rmtree(filled.top / ".treering" / "history" / "logs")
    found = filled("stats", "--json").json
    assert (found["reflogs"]["commits"], found["reflogs"]["objects"]) == (0, 0)
    assert BLOCK < found["garbage"]["stored"] < BLOCK + 4096
    # Nobody's object is counted twice, and none is forgotten.
    together = found["blocks"]["stored"] + found["nodes"]["stored"] + found["garbage"]["stored"]
    objects = sum(found[name]["objects"] for name in ("blocks", "nodes", "garbage"))
    assert found["packs"]["bytes"] == together + 3 * PACK + objects * RECORD


def test_no_block_is_read(work: Work) -> None:
    work.write("large", noise(6 << 20))
    work.commit()
    before = work("stats", "HEAD", "--json").raw, work("stats", "--json").raw
    pack = max((work.top / ".treering" / "packs").iterdir(), key=lambda path: path.stat().st_size)
    with pack.open("r+b") as file:
        file.seek(100)
        file.write(bytes(6 << 20))
    assert (work("stats", "HEAD", "--json").raw, work("stats", "--json").raw) == before


def test_bad_input(work: Work, tmp_path: Path) -> None:
    assert "there are no commits yet" in work("stats", "HEAD", code=1).err
    assert "0 commits, 0 packs, 0 B on disk" in work("stats").lines
    work.write("a", "1")
    work.commit()
    assert "no such path: never" in work("stats", "HEAD:never", code=1).err
    assert "unknown revision" in work("stats", "never", code=1).err
    work("stats", code=10, cwd=tmp_path)


def test_a_lost_object_is_damage(filled: Work) -> None:
    packs = sorted((filled.top / ".treering" / "packs").iterdir(), key=lambda p: p.stat().st_size)
    packs[0].unlink()
    for arguments in (["stats"], ["stats", "HEAD~1"]):
        found = filled(*arguments, code=12).err
        assert "node:" in found and "treering fsck" in found


def test_an_interrupted_one_leaves_nothing(filled: Work, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    reads = [
        line for line in filled.traced("pread64", "stats", log=tmp_path / "log") if ".pack>" in line
    ]
    packs = [f"-P{path}" for path in (filled.top / ".treering" / "packs").iterdir()]
    only = [f"-o{tmp_path / 'log'}", *packs, "-e", "trace=pread64"]
    inject = ["-e", f"inject=pread64:signal=SIGINT:when={len(reads)}"]
    # A run in the background has SIGINT ignored, which children inherit.
    heeding = ["env", "--default-signal=INT", f"TMPDIR={temporary}", "strace", "-f", "-qq"]
    before = names(filled.top)
    done = Work(filled.home, filled.top, [*heeding, *only, *inject])("stats", code=130)
    assert done.err.endswith("treering: interrupted\n")
    assert "SIGINT" in (tmp_path / "log").read_text()
    assert names(filled.top) == before
    assert list(temporary.iterdir()) == []


def names(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}
