"""Damage to every kind of file of a repository: it is noticed and named, nothing crashes, and what
is still in the work tree, or mirrored elsewhere, heals."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from faulting import (
    Done,
    check_error,
    check_snapshot,
    check_whole,
    commits,
    copy,
    first_tree,
    read_tree,
    run,
    second_tree,
    succeed,
    third_tree,
    treering,
)

from treering.store.packfile import FOOTER_ENTRY, TRAILER, read_footer

Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with two commits."""
    top = tmp_path_factory.mktemp("template") / "tree"
    top.mkdir()
    succeed(top, "init")
    first_tree(top)
    succeed(top, "commit", "-m", "first")
    second_tree(top)
    succeed(top, "commit", "-m", "second")
    return top


@pytest.fixture
def top(template: Path, tmp_path: Path) -> Path:
    copy(template, tmp_path / "tree")
    return tmp_path / "tree"


def flip(path: Path, offset: int, mask: int = 0x10) -> None:
    """Flip a bit; the offset counts from the end if negative. The file may be read-only."""
    content = bytearray(path.read_bytes())
    content[offset] ^= mask
    rewrite(path, bytes(content))


def rewrite(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


def cut(path: Path) -> None:
    rewrite(path, path.read_bytes()[: path.stat().st_size * 2 // 3])


def empty(path: Path) -> None:
    rewrite(path, b"")


def garbage(path: Path) -> None:
    rewrite(path, random.Random(6).randbytes(path.stat().st_size))


def remove(path: Path) -> None:
    path.unlink()


WAYS: list[Damage] = [cut, empty, garbage, remove]


def repository(top: Path) -> Path:
    return top / ".treering"


def packs(top: Path) -> list[Path]:
    """The largest first."""
    found = (repository(top) / "packs").iterdir()
    return sorted(found, key=lambda path: -path.stat().st_size)


def nothing_crashes(top: Path) -> None:
    """Reading commands end with a line and a code, whatever lies on disk."""
    for arguments in (
        ["log"],
        ["status"],
        ["ls", "-R", "HEAD"],
        ["cat", "HEAD:large"],
        ["cat", "HEAD~1:text"],
        ["fsck"],
    ):
        done = treering(top, *arguments)
        assert done.code in (0, 1, 10, 12, 13), (arguments, done)
        if done.code and arguments[0] != "fsck":
            check_error(done)
        assert "Traceback" not in done.err, (arguments, done)


def noticed(top: Path, *names: str) -> Done:
    """fsck ends with 12 and names what is damaged."""
    done = treering(top, "fsck", "--read-data")
    assert done.code == 12, done
    assert "Traceback" not in done.err
    assert any(name in done.out + done.err for name in names), done
    return done


def heals_by_commit(top: Path, target: Path) -> None:
    """The first commit's content is put back, so that the tree has all that was ever stored."""
    third_tree(top)
    succeed(top, "commit", "-m", "healing")
    check_snapshot(top, target)


# -- packs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.01, 0.5, 0.95])
def test_a_flipped_bit_in_a_pack_is_found_and_healed(
    top: Path, tmp_path: Path, share: float
) -> None:
    """Of the first commit: the second holds all of it but one region and a few files."""
    for pack in packs(top):
        entries = sorted(read_footer(pack), key=lambda entry: entry.offset)
        entry = entries[int(len(entries) * share)]
        flip(pack, entry.offset + entry.stored // 2)
        done = noticed(top, pack.name[:12])
        assert entry.key[1:].hex()[:12] in done.out
    # What only the first commit had is brought back from there by hand.
    now = read_tree(top)
    heals_by_commit(top, tmp_path / "out")
    assert now.keys() <= read_tree(top).keys()
    head = commits(top)[0]
    left = treering(top, "fsck", "--read-data")
    assert head[:10] not in left.out
    nothing_crashes(top)


def test_a_damaged_block_is_never_restored(top: Path, tmp_path: Path) -> None:
    pack = packs(top)[0]
    entry = max(read_footer(pack), key=lambda entry: entry.stored)
    flip(pack, entry.offset + 10)
    done = treering(top, "restore", "--target", str(tmp_path / "out"))
    assert done.code == 12, done
    check_error(done)
    assert entry.key[1:].hex()[:12] in done.err
    succeed(top, "commit", "--allow-empty", "-m", "healing")
    check_snapshot(top, tmp_path / "again")


@pytest.mark.parametrize("part", ["footer", "trailer", "header"])
def test_a_damaged_frame_of_a_pack_is_found_and_rescued(
    top: Path, tmp_path: Path, part: str
) -> None:
    """The records themselves are good: a rebuild of the index takes them over."""
    history = commits(top)
    for pack in packs(top)[:1]:
        count = len(read_footer(pack))
        inside = -TRAILER.size - FOOTER_ENTRY.size * (count // 2 + 1) + 7
        flip(pack, {"footer": inside, "trailer": -5, "header": 1}[part])
        noticed(top, pack.name[:12])
    nothing_crashes(top)
    rebuilt = treering(top, "fsck", "--rebuild-index")
    assert rebuilt.code in (0, 12), rebuilt
    heals_by_commit(top, tmp_path / "out")
    if part != "header":
        assert rebuilt.code == 0, rebuilt
        check_whole(top)
        assert commits(top)[1:] == history


@pytest.mark.parametrize("way", [cut, empty, lambda path: flip(path, -5)])
def test_a_damaged_pack_that_is_not_indexed_stops_nothing(
    top: Path, tmp_path: Path, way: Damage
) -> None:
    """One that came back from a bad disk, or whose index was lost as well."""
    stray = packs(top)[0]
    content = stray.read_bytes()
    remove(stray)
    third_tree(top)
    succeed(top, "commit", "-m", "without it")
    stray.write_bytes(content)
    way(stray)
    done = succeed(top, "commit", "--allow-empty", "-m", "beside it")
    assert done.err.count(stray.name[:12]) == done.err.count("run treering fsck") == 1
    noticed(top, stray.name[:12])
    rebuilt = treering(top, "fsck", "--rebuild-index")
    assert rebuilt.code in (0, 12) and stray.name[:12] not in rebuilt.out, rebuilt
    assert (repository(top) / "tmp" / f"damaged-{stray.name}").exists()
    assert "left out" not in succeed(top, "commit", "--allow-empty", "-m", "after").err
    check_snapshot(top, tmp_path / "out")


@pytest.mark.parametrize("way", WAYS)
def test_a_lost_pack_is_found_and_healed(top: Path, tmp_path: Path, way: Damage) -> None:
    pack = packs(top)[0]
    way(pack)
    noticed(top, pack.name[:12])
    nothing_crashes(top)
    heals_by_commit(top, tmp_path / "out")
    assert treering(top, "fsck", "--rebuild-index").code in (0, 12)
    check_snapshot(top, tmp_path / "again")
    after = treering(top, "fsck", "--read-data")
    assert commits(top)[0][:10] not in after.out
    nothing_crashes(top)


def test_a_pack_of_a_newer_version_is_refused_by_name(top: Path) -> None:
    flip(packs(top)[0], 4, 2)
    done = treering(top, "fsck", "--read-data")
    assert done.code in (12, 13), done
    assert packs(top)[0].name[:12] in done.out + done.err
    nothing_crashes(top)


# -- mirrors: the index and the catalog ----------------------------------------------------------


def data(top: Path) -> Path:
    return repository(top) / "index" / "data.mdb"


def heals_by_rebuild(top: Path, target: Path) -> None:
    succeed(top, "fsck", "--rebuild-index")
    check_whole(top)
    third_tree(top)
    succeed(top, "commit", "-m", "next")
    check_whole(top)
    check_snapshot(top, target)


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_index_is_found_and_rebuilt(top: Path, tmp_path: Path, way: Damage) -> None:
    way(data(top))
    nothing_crashes(top)
    done = treering(top, "fsck", "--read-data")
    assert done.code in (0, 12), done
    if done.code:
        assert "--rebuild-index" in done.err + done.out, done
    heals_by_rebuild(top, tmp_path / "out")


@pytest.mark.parametrize("way", [empty, remove])
def test_an_empty_index_is_filled_by_whoever_comes_first(
    top: Path, tmp_path: Path, way: Damage
) -> None:
    way(data(top))
    assert "work tree clean" in succeed(top, "status").out
    check_snapshot(top, tmp_path / "out")
    check_whole(top)


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bits_in_the_index_never_crash(top: Path, tmp_path: Path, seed: int) -> None:
    """LMDB has no checksums: what matters is that nothing wrong is believed and nothing dies."""
    source = random.Random(seed)
    size = data(top).stat().st_size
    for _ in range(3):
        flip(data(top), source.randrange(size), 1 << source.randrange(8))
    nothing_crashes(top)
    done = treering(top, "fsck", "--read-data")
    assert done.code in (0, 12, 13), done
    heals_by_rebuild(top, tmp_path / "out")


@pytest.mark.parametrize("way", [*WAYS, lambda path: flip(path, 30), lambda path: flip(path, 5000)])
def test_a_damaged_catalog_can_be_deleted(top: Path, tmp_path: Path, way: Damage) -> None:
    way(repository(top) / "catalog.db")
    nothing_crashes(top)
    done = treering(top, "fsck", "--read-data")
    assert done.code in (0, 1, 12, 13), done
    if done.code:
        assert "catalog" in done.err + done.out, done
    for path in repository(top).glob("catalog.db*"):
        path.unlink()
    check_whole(top)
    third_tree(top)
    succeed(top, "commit", "-m", "next")
    check_whole(top)
    check_snapshot(top, tmp_path / "out")


def test_without_index_and_catalog_nothing_is_lost(top: Path, tmp_path: Path) -> None:
    shutil.rmtree(repository(top) / "index")
    for path in repository(top).glob("catalog.db*"):
        path.unlink()
    check_whole(top)
    check_snapshot(top, tmp_path / "out")
    assert "nothing to commit" in succeed(top, "commit", "-m", "nothing").out


# -- marks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["held", "finalized"])
def test_damaged_marks_are_found(top: Path, tmp_path: Path, name: str) -> None:
    flip(repository(top) / "marks" / name, 20)
    noticed(top, "marks")
    nothing_crashes(top)
    third_tree(top)
    succeed(top, "commit", "-m", "next")
    check_snapshot(top, tmp_path / "out")


@pytest.mark.parametrize("name", ["held", "finalized"])
@pytest.mark.parametrize("way", WAYS)
def test_lost_marks_do_no_harm(top: Path, tmp_path: Path, name: str, way: Damage) -> None:
    way(repository(top) / "marks" / name)
    nothing_crashes(top)
    third_tree(top)
    succeed(top, "commit", "-m", "next")
    check_snapshot(top, tmp_path / "out")


# -- history -------------------------------------------------------------------------------------


def loose(top: Path, revision: str) -> Path:
    found = run(["git", "rev-parse", revision], repository(top) / "history").out.strip()
    return repository(top) / "history" / "objects" / found[:2] / found[2:]


@pytest.mark.parametrize("what", ["HEAD", "HEAD^{tree}", "HEAD:root", "HEAD~1", "HEAD~1:root"])
@pytest.mark.parametrize("way", [cut, empty, garbage, remove, lambda path: flip(path, 10)])
def test_a_damaged_history_object_is_found(top: Path, what: str, way: Damage) -> None:
    way(loose(top, what))
    noticed(top, "commit", "history", "main")
    nothing_crashes(top)


READERS = ["log", "status", "show", "push", "diff HEAD~1 HEAD", "switch -c other", "ls HEAD"]
READERS += ["commit -m new", "restore text", "log -- text"]


@pytest.mark.parametrize("what", ["HEAD", "HEAD^{tree}", "HEAD:root"])
@pytest.mark.parametrize("way", [cut, empty, garbage])
def test_a_damaged_history_object_ends_every_command(top: Path, what: str, way: Damage) -> None:
    """With 12 and a hint. libgit2 would wait for ever for the rest of one that is cut short."""
    succeed(top, "init", "--bare", str(top.parent / "remote"))
    succeed(top, "remote", "add", "origin", str(top.parent / "remote"))
    way(loose(top, what))
    for command in READERS:
        done = treering(top, *command.split())
        assert done.code == 12, (command, done)
        assert way is garbage or "is cut short" in done.err
        assert "hint: see what else is damaged with: treering fsck" in done.err
        check_error(done)


def test_a_damaged_history_object_of_the_remote_ends_a_push(top: Path) -> None:
    remote = top.parent / "remote"
    succeed(top, "init", "--bare", str(remote))
    succeed(top, "remote", "add", "origin", str(remote))
    succeed(top, "push")
    third_tree(top)
    succeed(top, "commit", "-m", "third")
    name = run(["git", "rev-parse", "main"], remote / "history").out.strip()
    cut(remote / "history" / "objects" / name[:2] / name[2:])
    done = treering(top, "push")
    assert done.code == 12 and "is cut short" in done.err, done
    check_error(done)


@pytest.mark.parametrize("name", ["HEAD", "refs/heads/main"])
@pytest.mark.parametrize("way", [*WAYS, lambda path: flip(path, 3)])
def test_a_damaged_ref_is_found(top: Path, name: str, way: Damage) -> None:
    path = repository(top) / "history" / name
    before = path.read_bytes()
    way(path)
    noticed(top, "HEAD", "main", "history")
    nothing_crashes(top)
    done = treering(top, "commit", "-m", "must not start anew")
    assert done.code in (11, 12), done
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(before)
    check_whole(top)
    assert len(commits(top)) == 2


def test_an_altered_parent_is_found(top: Path) -> None:
    """Integrity never rests on SHA-1 alone: a commit names the BLAKE3 of its parents."""
    history = repository(top) / "history"
    old, tip = loose(top, "HEAD~1"), loose(top, "HEAD")
    rewrite(old, tip.read_bytes())
    assert history.is_dir()
    noticed(top, "commit")
    nothing_crashes(top)


# -- format and config ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"version 1", b"version 2", 13),
        (b"ids plain", b"ids keyed", 13),
        (b"cipher none", b"cipher some", 13),
        (b"features", b"features sorcery", 13),
        (b"block-size 65536", b"block-size 65537", 12),
        (b"treering", b"treerung", 12),
    ],
)
def test_another_format_is_refused(top: Path, old: bytes, new: bytes, code: int) -> None:
    path = repository(top) / "format"
    before = path.read_bytes()
    path.write_bytes(before.replace(old, new, 1))
    for command in (["fsck"], ["log"], ["status"], ["commit", "-m", "no"]):
        done = treering(top, *command)
        assert done.code == code, done
        check_error(done)
    path.write_bytes(before)
    check_whole(top)


@pytest.mark.parametrize("way", [*WAYS, lambda path: flip(path, 3)])
def test_a_damaged_format_file_is_refused(top: Path, way: Damage) -> None:
    way(repository(top) / "format")
    done = treering(top, "fsck")
    assert done.code in (10, 12, 13), done
    check_error(done)
    nothing_crashes(top)


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_config_does_not_crash(top: Path, way: Damage) -> None:
    succeed(top, "config", "user.name", "Ann of the config, to have something in it")
    way(repository(top) / "config")
    nothing_crashes(top)
    done = treering(top, "config", "user.name")
    assert done.code in (0, 1, 12), done
    if done.code == 12:
        assert "config" in done.err
    empty(repository(top) / "config") if (repository(top) / "config").exists() else None
    check_whole(top)
