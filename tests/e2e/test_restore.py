"""Restore: whole, paths, other targets, deletions, dry runs, refusals and what it writes."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_trees import NobodyWork, Work, build, fingerprint, settle, touch

from treering.store.directories import DirectoryBuilder
from treering.store.history import Person
from treering.store.ids import NULL
from treering.store.nodes import Entry, EntryKind
from treering.store.repository import Repository
from treering.store.root_record import Change, RootRecord
from treering.store.trees import encode_root

MIB = 1 << 20


@pytest.fixture
def two(work: Work) -> Work:
    """Two commits: `a` and `d/b` change, `d/old` goes, `d/new` comes, `same` stays."""
    build(work.top, {"a": b"a1", "d/b": b"b1", "d/old": b"old", "same": b"same"})
    work.commit("one")
    (work.top / "d" / "old").unlink()
    work.write("a", "a2, longer")
    work.write("d/b", "b2")
    work.write("d/new", "new")
    work.commit("two")
    return work


def actions(work: Work, *arguments: str) -> list[tuple[str, str]]:
    """What a dry run says it would do."""
    found = work("restore", "--dry-run", "--json", *arguments).json
    assert found["dry_run"] is True
    return sorted((item["what"], item["path"]) for item in found["actions"])


def test_whole_and_back(two: Work, tmp_path: Path) -> None:
    second = fingerprint(two.top)
    first = fingerprint(two.restored(tmp_path / "first", "--source", "HEAD~1"))
    two("restore", "--source", "HEAD~1", "--delete")
    assert fingerprint(two.top) == first
    two("restore", "--delete", "--force")
    assert fingerprint(two.top) == second
    assert two.commit()["committed"] is False


def test_without_delete_new_files_stay(two: Work) -> None:
    done = two("restore", "--source", "HEAD~1")
    assert re.match(r"Restored 3 files from [0-9a-f]{10}: \d+ B written\n", done.out), done.out
    assert (two.top / "d" / "new").read_text() == "new"
    assert (two.top / "d" / "old").read_text() == "old"
    assert (two.top / "a").read_text() == "a1"


def test_paths_only(two: Work) -> None:
    two.write("a", "uncommitted")
    two.write("same", "uncommitted too")
    two("restore", "--source", "HEAD~1", "d")
    assert (two.top / "d" / "b").read_text() == "b1"
    assert (two.top / "a").read_text() == "uncommitted"
    # With paths, what is there is overwritten, as in Git; paths are relative to where we are.
    two("restore", "b", "../a", cwd=two.top / "d")
    assert (two.top / "d" / "b").read_text() == "b2"
    assert (two.top / "a").read_text() == "a2, longer"
    assert (two.top / "same").read_text() == "uncommitted too"


def test_paths_with_delete_touch_nothing_else(two: Work) -> None:
    two.write("stray", "x")
    two.write("d/stray", "x")
    two("restore", "--delete", "d")
    assert not (two.top / "d" / "stray").exists()
    assert (two.top / "stray").exists()


def test_a_deleted_folder_comes_back_with_its_times(two: Work) -> None:
    before = fingerprint(two.top)
    shutil.rmtree(two.top / "d")
    two("restore", "d")
    after = fingerprint(two.top)
    assert {path: seen for path, seen in after.items() if path} == {
        path: seen for path, seen in before.items() if path
    }


def test_an_unknown_path_is_refused_by_name(two: Work) -> None:
    done = two("restore", "nowhere/at all", code=1)
    assert done.err.startswith("treering: nowhere/at all is not in that commit\n")
    assert "hint: " in done.err


def test_another_target_leaves_the_work_tree_alone(two: Work, tmp_path: Path) -> None:
    before = fingerprint(two.top)
    target = tmp_path / "not" / "there" / "yet"
    two("restore", "--source", "HEAD~1", "--target", str(target), "d")
    assert sorted(os.listdir(target)) == ["d"]
    assert sorted(os.listdir(target / "d")) == ["b", "old"]
    assert fingerprint(two.top) == before
    (target / "stray").write_text("x")
    two.restored(target, "--delete")
    assert fingerprint(target) == before


def test_a_dry_run_says_all_and_changes_nothing(two: Work) -> None:
    two.write("stray", "x")
    settle(two.top)
    before = fingerprint(two.top)
    found = actions(two, "--source", "HEAD~1", "--delete", "--force")
    for action in (
        ("create", "d/old"),
        ("delete", "d/new"),
        ("delete", "stray"),
        ("update", "a"),
        ("update", "d/b"),
    ):
        assert action in found
    assert fingerprint(two.top) == before
    text = two("restore", "--dry-run", "--source", "HEAD~1", "--delete", "--force").lines
    assert "create    d/old" in text


def test_a_dry_run_into_a_new_folder_makes_none(two: Work, tmp_path: Path) -> None:
    found = actions(two, "--target", str(tmp_path / "out"))
    assert ("create", "d/new") in found
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_nothing_when_nothing_differs(two: Work) -> None:
    os.link(two.top / "a", two.top / "linked")
    os.symlink("a", two.top / "symlink")
    two.commit()
    assert actions(two) == []
    assert two("restore", "--dry-run").out == ""
    done = two("restore", "--json")
    assert done.json["bytes"] == 0


def test_a_dry_run_names_changes_of_metadata_only(two: Work) -> None:
    os.symlink("a", two.top / "symlink")
    settle(two.top)
    two.commit()
    (two.top / "same").chmod(0o600)
    touch(two.top / "symlink", 1)
    touch(two.top / "d", 1)
    found = actions(two, "--force")
    assert ("metadata", "symlink") in found
    assert ("metadata", "d/") in found
    assert any(path == "same" for _, path in found)
    assert len(found) == 3


def test_losses_are_refused_by_name(two: Work) -> None:
    two.write("a", "not committed")
    done = two("restore", code=11)
    assert done.err.startswith("treering: uncommitted changes would be lost: a\nhint: ")
    assert (two.top / "a").read_text() == "not committed"
    two("restore", "--force")
    assert (two.top / "a").read_text() == "a2, longer"
    for number in range(8):
        two.write(f"stray {number}", "x")
    two("restore")  # nothing of them is lost
    done = two("restore", "--delete", code=11)
    assert "stray 0, stray 1, stray 2, stray 3, stray 4 and 3 more" in done.err
    error = two("restore", "--delete", "--json", code=11).error
    assert error["error"] == "Conflict"
    assert "--force" in error["hint"]


def test_a_new_file_in_the_way_is_not_lost(two: Work) -> None:
    two.write("d/old", "a new one of the same name")
    done = two("restore", "--source", "HEAD~1", code=11)
    assert "d/old" in done.err
    assert (two.top / "d" / "old").read_text() == "a new one of the same name"


def test_new_files_in_a_folder_in_the_way_are_not_lost(two: Work) -> None:
    """Status shows a new folder as one line; what is in it counts all the same."""
    shutil.rmtree(two.top / "d")
    two.commit("no d")
    two.write("d/b", "mine")
    assert "d/" in two("restore", "--source", "HEAD~1", code=11).err
    assert (two.top / "d" / "b").read_text() == "mine"


def test_a_folder_in_place_of_a_file_is_not_lost(two: Work) -> None:
    (two.top / "a").unlink()
    two.write("a/precious", "mine")
    assert "a/" in two("restore", code=11).err
    assert (two.top / "a" / "precious").read_text() == "mine"
    two("restore", "--force")
    assert (two.top / "a").read_text() == "a2, longer"


def test_a_file_in_place_of_a_folder(two: Work) -> None:
    before = fingerprint(two.top)
    shutil.rmtree(two.top / "d")
    two.write("d", "now a file")
    assert "d" in two("restore", code=11).err
    two("restore", "--force")
    assert fingerprint(two.top) == before


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "in").write_text("in")


def test_kinds_change_between_commits(work: Work, tmp_path: Path) -> None:
    """Each kind of thing becomes each other one, and back."""
    makers: dict[str, Callable[[Path], object]] = {
        "file": lambda path: path.write_text("file"),
        "folder": make_folder,
        "symlink": lambda path: path.symlink_to("target"),
        "fifo": os.mkfifo,
        "device": lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 7)),
    }
    for old, make in makers.items():
        for new in makers:
            make(work.top / f"{old} to {new}")
    work.commit("old")
    for old in makers:
        for new, make in makers.items():
            subprocess.run(["rm", "-rf", work.top / f"{old} to {new}"], check=True)
            make(work.top / f"{old} to {new}")
    second = fingerprint(work.top)
    work.commit("new")
    first = fingerprint(work.restored(tmp_path / "first", "--source", "HEAD~1"))
    assert first != second
    work("restore", "--source", "HEAD~1", "--delete")
    assert fingerprint(work.top) == first
    work("restore", "--delete", "--force")
    assert fingerprint(work.top) == second


def written_bytes(lines: list[str], name: str) -> int:
    """Bytes that pwrite put into a file, by strace's log."""
    found = 0
    for line in lines:
        if "pwrite" in line and f"/{name}>" in line and (result := re.search(r"= (\d+)$", line)):
            found += int(result[1])
    return found


@pytest.mark.parametrize("known", [True, False])
def test_only_differing_blocks_are_written(work: Work, tmp_path: Path, known: bool) -> None:
    content = os.urandom(64 * MIB)
    disk = work.write("disk.img", content, age=1000)
    work.commit("one")
    with disk.open("r+b") as file:
        for offset in (0, 10 * MIB + 7, 64 * MIB - 1):
            file.seek(offset)
            file.write(bytes([content[offset] ^ 1]))
    if known:
        work.commit("two")
    inode = disk.stat().st_ino
    lines = work.traced(
        "pwrite64,pwritev,pwritev2,write",
        *("restore", "--force", "--source", "HEAD~1" if known else "HEAD"),
        log=tmp_path / "log",
    )
    assert written_bytes(lines, "disk.img") == 3 * 65536
    assert disk.read_bytes() == content
    assert disk.stat().st_ino == inode


def test_files_grow_and_shrink_in_place(work: Work, tmp_path: Path) -> None:
    sizes = (0, 1, 65535, 65536, 65537, 4 * MIB + 65537)
    for old in sizes:
        for new in sizes:
            work.write(f"{old}-{new}", os.urandom(old))
    first = fingerprint(work.top)
    work.commit("one")
    for old in sizes:
        for new in sizes:
            with (work.top / f"{old}-{new}").open("r+b") as file:
                file.truncate(new)
                if new > 3:
                    file.seek(new // 2)
                    file.write(b"x")
    second = fingerprint(work.top)
    work.commit("two")
    work("restore", "--source", "HEAD~1")
    assert fingerprint(work.top) == first
    work("restore", "--force")
    assert fingerprint(work.top) == second


def test_hard_links_that_were_tied_otherwise(work: Work, tmp_path: Path) -> None:
    """a=b and c=d in the first commit, a=c and b=d in the second, b, c=x in the third."""
    top = work.top
    for one, other in (("a", "b"), ("c", "d")):
        work.write(one, one * 100)
        os.link(top / one, top / other)
    work.commit("first")
    for name in "abcd":
        (top / name).unlink()
    for one, other in (("a", "c"), ("b", "d")):
        work.write(one, one * 50)
        os.link(top / one, top / other)
    work.commit("second")
    for name in "acd":
        (top / name).unlink()
    work.write("a", "alone")
    work.write("c", "cx")
    os.link(top / "c", top / "x")
    work.commit("third")
    commits = ["HEAD~2", "HEAD~1", "HEAD"]
    wanted = {rev: fingerprint(work.restored(tmp_path / rev, "--source", rev)) for rev in commits}
    assert len({wanted[rev][b"b"].same_as + wanted[rev][b"c"].same_as for rev in commits}) == 3
    for rev in ("HEAD~2", "HEAD~1", "HEAD~2", "HEAD", "HEAD~1"):
        work("restore", "--delete", "--force", "--source", rev)
        assert fingerprint(top) == wanted[rev], rev
        assert work("restore", "--dry-run", "--delete", "--force", "--source", rev).out == ""


def test_a_name_outside_of_the_tree_is_not_written_through(work: Work, tmp_path: Path) -> None:
    work.write("a", "one")
    work.commit()
    work.write("a", "two")
    os.link(work.top / "a", tmp_path / "outside")
    work.commit()
    work("restore", "--source", "HEAD~1")
    assert (work.top / "a").read_text() == "one"
    assert (tmp_path / "outside").read_text() == "two"


def test_a_planted_symlink_leads_nowhere(two: Work, tmp_path: Path) -> None:
    before = fingerprint(two.top)
    victim = tmp_path / "victim"
    build(victim, {"b": b"outside", "keep": b"outside"})
    outside = fingerprint(victim)
    shutil.rmtree(two.top / "d")
    os.symlink(victim, two.top / "d")
    (two.top / "a").unlink()
    os.symlink(victim / "keep", two.top / "a")
    two("restore", "--delete", "--force")
    assert fingerprint(victim) == outside
    assert fingerprint(two.top) == before
    # And in another target, which may be anything.
    target = tmp_path / "target"
    target.mkdir()
    os.symlink(victim, target / "d")
    two.restored(target, "--delete")
    assert fingerprint(victim) == outside
    assert fingerprint(target) == before


def test_read_only_files_and_folders_of_an_ordinary_user(nobody: NobodyWork) -> None:
    build(nobody.top, {"locked/file": b"one", "file": b"one", "gone/deep/er": b"x"})
    subprocess.run(["chown", "-R", "nobody:nogroup", nobody.top], check=True)
    for name in ("locked/file", "file", "gone/deep/er"):
        (nobody.top / name).chmod(0o444)
    nobody.commit("one")
    first = fingerprint(nobody.top)
    for name in ("locked/file", "file"):
        (nobody.top / name).write_text("two, and longer")
    (nobody.top / "locked").chmod(0o555)
    shutil.rmtree(nobody.top / "gone")
    nobody.commit("two")
    second = fingerprint(nobody.top)
    nobody("restore", "--source", "HEAD~1")
    assert fingerprint(nobody.top) == first
    for name in ("gone", "gone/deep"):
        (nobody.top / name).chmod(0o555)
    nobody("restore", "--delete", "--force")
    assert fingerprint(nobody.top) == second


def test_a_running_program_is_replaced(work: Work) -> None:
    program = work.top / "program"
    shutil.copy("/bin/sleep", program)
    work.commit("one")
    with program.open("ab") as file:
        file.write(b"more")
    work.commit("two")
    running = subprocess.Popen([program, "100"])
    try:
        work("restore", "--source", "HEAD~1")
        assert program.read_bytes() == Path("/bin/sleep").read_bytes()
    finally:
        running.kill()
        running.wait()


def craft(work: Work, names: list[bytes]) -> None:
    """A commit whose tree has files of these names, made past all checks of the scan."""
    repository = Repository(work.top / ".treering")
    writer = repository.writer()
    builder = DirectoryBuilder(writer.put_node)
    for name in sorted(names):
        builder.add(Entry(name, int(EntryKind.FILE), 0o644, 0, 0, 0, 0, 0, NULL))
    folder = builder.finish()
    top = Entry(b"", int(EntryKind.FOLDER), 0o755, 0, 0, 0, folder.size, folder.files, folder.node)
    root = writer.put_node(encode_root(top, repository.block_size))
    writer.finish()
    repository.record_packs(writer.packs)
    who = Person("Mallory", "m@example.org", 1)
    record = RootRecord(root, (), Change(), {}, {})
    head = repository.history.head()
    parents = [head] if head else []
    repository.history.create_commit(record, parents, who, who, "crafted\n", "refs/heads/main")
    repository.close()


@pytest.mark.parametrize("name", [b".treering", b".TREERING", b".TreeRing"])
def test_reserved_names_are_refused(work: Work, tmp_path: Path, name: bytes) -> None:
    work.write("file", "x")
    work.commit()
    craft(work, [name, b"harmless"])
    done = work("restore", "--target", str(tmp_path / "out"), code=3)
    assert f"{name.decode()}: not restored: the name is reserved" in done.err
    assert os.listdir(tmp_path / "out") == ["harmless"]
    work("restore", "--delete", "--force", code=3)
    assert sorted(os.listdir(work.top)) == [".treering", "harmless"]
    work("fsck")


# -- what --delete must leave -----------------------------------------------------


def test_ignored_files_are_never_deleted(work: Work) -> None:
    work.write(".treeringignore", "*.log\n/cache/\n")
    work.write("keep", "x")
    work.commit()
    work.write("top.log", "1")
    work.write("cache/deep/file", "2")
    work.write("new/inner.log", "3")
    work.write("new/sub/inner.log", "4")
    work.write("new/sub/plain", "5")
    work.write("own/.treeringignore", "mine\n")
    work.write("own/mine", "6")
    work.write("plain/folder/file", "7")
    assert set(work.changes()) == {"new/", "own/", "plain/"}
    work("restore", "--delete", "--force")
    for name in ("top.log", "cache/deep/file", "new/inner.log", "new/sub/inner.log", "own/mine"):
        assert (work.top / name).exists(), name
    assert not (work.top / "new" / "sub" / "plain").exists()
    assert not (work.top / "plain").exists()


def test_ignored_files_survive_a_change_of_kind(work: Work) -> None:
    work.write(".treeringignore", "*.log\n")
    work.write("thing", "a file")
    work.commit()
    (work.top / "thing").unlink()
    work.write("thing/precious.log", "x")
    done = work("restore", "--force", code=3)
    assert "thing" in done.err
    assert (work.top / "thing" / "precious.log").read_text() == "x"


def test_nested_repositories_are_never_deleted(work: Work) -> None:
    work.write("keep", "x")
    work.commit()
    work.write("new/file", "x")
    work("init", "-q", "new/nested")
    work.write("new/nested/precious", "x")
    work("init", "-q", "bare-neighbour")
    work("restore", "--delete", "--force")
    assert (work.top / "new" / "nested" / "precious").exists()
    assert (work.top / "bare-neighbour" / ".treering" / "format").exists()
    assert not (work.top / "new" / "file").exists()


@pytest.fixture
def mounted(work: Work) -> Iterator[Path]:
    """A tmpfs with a file in it, two folders deep in the work tree."""
    where = work.top / "new" / "mounted"
    where.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", where], check=True)
    try:
        (where / "precious").write_text("on another file system")
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def test_mount_points_are_never_emptied(work: Work, mounted: Path) -> None:
    work.write("keep", "x")
    work.commit("with the mount point")
    assert work.ls()["new/mounted"]["files"] == 0
    assert set(work.ls()) == {"keep", "new", "new/mounted"}
    craft(work, [b"keep"])
    work.write("new/other", "x")
    work("restore", "--delete", "--force")
    assert (mounted / "precious").read_text() == "on another file system"
    assert not (work.top / "new" / "other").exists()
    # Nor when a file is to stand where the folder is.
    craft(work, [b"keep", b"new"])
    work("restore", "--delete", "--force", code=3)
    assert (mounted / "precious").read_text() == "on another file system"
