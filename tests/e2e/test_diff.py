"""diff and show say what a commit changed, in forms that other tools agree with."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_trees import Work, build, make_home, settle

BLOCK = 65536
NAMES = ["a", "b", "d/c", "d/e/f", "g"]
lines = st.lists(st.sampled_from([b"one", b"two", b"three", b"", b"\xff\xfe"]), max_size=12)
texts = st.builds(lambda found, end: b"\n".join(found) + end, lines, st.sampled_from([b"", b"\n"]))
blobs = st.builds(
    lambda seed, blocks: random.Random(seed).randbytes(blocks * BLOCK + seed),
    st.integers(0, 9),
    st.integers(0, 20),
)
trees = st.dictionaries(st.sampled_from(NAMES), texts | blobs, max_size=5)


def put(work: Work, files: dict[str, bytes]) -> None:
    for path in work.top.iterdir():
        if path.name != ".treering":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, content in files.items():
        work.write(name, content)


@settings(max_examples=8)
@given(before=st.dictionaries(st.sampled_from(NAMES), texts, max_size=5), after=trees)
def test_git_applies_the_patch(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    after = {name: content for name, content in after.items() if b"\0" not in content}
    work = new_work(tmp_path_factory.mktemp("diff"))
    put(work, before)
    work.commit("one", "--allow-empty")
    copy = work.home / "copy"
    shutil.copytree(work.top, copy, ignore=shutil.ignore_patterns(".treering"))
    put(work, after)
    work.commit("two", "--allow-empty")
    found = work("diff", "--json", "HEAD~1", "HEAD").json["changes"]
    for change in found:
        if change["what"] == "renamed":
            target = copy / change["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            (copy / change["old_path"]).rename(target)
    with work.start("diff", "HEAD~1", "HEAD") as process:
        patch = process.communicate()[0]
    subprocess.run(
        ["git", "apply", "--allow-empty", "--whitespace=nowarn", "-"],
        cwd=copy,
        input=patch,
        check=True,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(work.home)},
    )
    left = {name: (copy / name).read_bytes() for name in NAMES if (copy / name).is_file()}
    # A patch has no form for a new file that is empty, nor for one that goes and was empty.
    assert {name: content for name, content in left.items() if content} == {
        name: content for name, content in after.items() if content
    }


@settings(max_examples=8)
@given(before=trees, after=trees)
def test_of_the_work_tree_it_says_what_the_commit_will_change(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    work = new_work(tmp_path_factory.mktemp("diff"))
    put(work, before)
    work.commit("one", "--allow-empty")
    put(work, after)
    live = [shown(change) for change in work("diff", "--json").json["changes"]]
    text = work("diff", "--regions").out
    work.commit("two", "--allow-empty")
    assert live == [shown(change) for change in work("show", "--json").json["changes"]]
    assert text == work("diff", "HEAD~1", "HEAD", "--regions").out
    assert work("diff").out == ""


def shown(change: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in change.items() if not key.endswith("size")}


def new_work(folder: Path) -> Work:
    top = folder / "tree"
    top.mkdir()
    work = Work(make_home(folder), top)
    work("init", "-q", "--repo", str(folder / "repository"))
    return work


@pytest.fixture
def edited(work: Work) -> Work:
    """Two commits with each kind of change between them."""
    top = work.top
    build(top, {"text": b"a\nb\nc\n", "disk": bytes(range(256)) * 4096, "old/name": b"same\n"})
    build(top, {"gone": b"gone\n", "becomes a folder": b"x\n", "kept": b"kept\n"})
    os.symlink("text", top / "link")
    os.symlink("text", top / "becomes empty")
    (top / "empty").mkdir()
    settle(top)
    work.commit("one")
    work.write("text", b"a\nB\nc\nd\n")
    with (top / "disk").open("r+b") as disk:
        for offset in (0, 3 * BLOCK + 5, 4 * BLOCK):
            disk.seek(offset)
            disk.write(b"written")
    (top / "old" / "name").rename(top / "new name")
    (top / "old").rmdir()
    (top / "gone").unlink()
    (top / "becomes a folder").unlink()
    (top / "becomes a folder").mkdir()
    work.write("becomes a folder/inside", b"y\n")
    (top / "link").unlink()
    os.symlink("disk", top / "link")
    (top / "becomes empty").unlink()
    (top / "becomes empty").mkdir()
    (top / "empty").chmod(0o700)
    (top / "kept").chmod(0o600)
    work.commit("two")
    return work


def test_name_status(edited: Work) -> None:
    assert edited("show", "--name-status").lines[-11:] == [
        "D\tbecomes a folder",
        "A\tbecomes a folder/inside",
        "D\tbecomes empty",
        "A\tbecomes empty/",
        "M\tdisk",
        "M\tempty/",
        "D\tgone",
        "M\tkept",
        "M\tlink",
        "R\told/name\tnew name",
        "M\ttext",
    ]


def test_patch_of_each_kind(edited: Work) -> None:
    out = edited("diff", "HEAD~1..HEAD").out
    assert "diff a/disk b/disk\n0+65536 disk\n196608+131072 disk\n" in out
    assert "diff a/empty b/empty/\nmode 0755 -> 0700\n" in out
    assert "diff a/kept b/kept\nmode 0644 -> 0600\ndiff" in out
    assert "target text -> disk\n" in out
    assert "rename from old/name\nrename to new name\n" in out
    assert "--- a/text\n+++ b/text\n@@ -1,3 +1,4 @@\n a\n-b\n+B\n c\n+d\n" in out
    assert "--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n" in out


def test_stat_sums_regions_and_bytes(edited: Work) -> None:
    found = edited("diff", "HEAD~1", "HEAD", "--stat").lines
    assert [line.split("|")[0].strip() for line in found[:-1]] == [
        "becomes a folder",
        "becomes a folder/inside",
        "becomes empty",
        "becomes empty/",
        "disk",
        "empty/",
        "gone",
        "kept",
        "link",
        "old/name => new name",
        "text",
    ]
    assert "| 2 regions, 192.0 KiB +" in found[4]
    assert found[-1] == " 11 files changed, 4 regions, 192.0 KiB (2 added, 3 deleted, 1 renamed)"


def test_only_what_lies_at_paths(edited: Work) -> None:
    names = ["diff", "HEAD~1", "HEAD", "--name-status"]
    assert edited(*names, "--", "text", "gone").lines == ["D\tgone", "M\ttext"]
    assert edited(*names, "--", "becomes a folder").lines == [
        "D\tbecomes a folder",
        "A\tbecomes a folder/inside",
    ]
    assert edited(*names, "kept").lines == ["M\tkept"]
    folder = edited.top / "becomes a folder"
    assert edited(*names, "--", "inside", cwd=folder).lines == ["A\tbecomes a folder/inside"]
    assert edited(*names, "--", "never").out == ""


def test_what_is_neither_a_revision_nor_a_path(edited: Work) -> None:
    found = edited("diff", "HEAD", "nonsense", code=1).err
    assert found.startswith("treering: unknown revision 'nonsense', and no such path")
    assert "hint: put -- before" in found
    edited("diff", "HEAD", "HEAD", "HEAD", code=2)


def test_show_a_path(edited: Work) -> None:
    assert edited("show", "HEAD~1:text").out == "a\nb\nc\n"
    assert edited("show", "HEAD:becomes a folder").lines == ["becomes a folder/inside"]


def test_show_the_first_commit(edited: Work) -> None:
    document = edited("show", "--json", "HEAD~1").json
    assert {change["what"] for change in document["changes"]} == {"added"}
    assert document["message"] == "one\n"


def test_work_tree_of_a_bare_repository(work: Work, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    work("init", "--bare", str(bare))
    assert "is bare" in work("diff", cwd=bare, code=2).err


def test_what_is_in_a_new_folder(edited: Work) -> None:
    for name in ("new/skip.tmp", "new/only/skip.tmp", "new/inner/x", "new.txt"):
        edited.write(name, b"beside\n")
    edited.write("new/deep/text", b"words\n")
    edited.write("new/disk", bytes(range(256)) * 4096)
    edited.write("new/.treeringignore", b"*.tmp\n")
    edited("init", "-q", cwd=edited.top / "new" / "inner")
    os.symlink("/etc", edited.top / "new" / "link")
    (edited.top / "kept").unlink()
    edited.write("kept/moved", b"kept\n")
    names = [
        "R\tkept\tkept/moved",
        "A\tnew/.treeringignore",
        "A\tnew/deep/text",
        "A\tnew/disk",
        "A\tnew/link",
        "A\tnew/only/",
        "A\tnew.txt",
    ]
    found = edited("diff", "--name-status")
    assert found.lines == names
    assert "new/inner: left out: a repository of its own" in found.err
    assert edited("diff", "--name-status", "--", "new/deep").lines == ["A\tnew/deep/text"]
    patch = edited("diff", "--", "new/deep", "new/disk").out
    assert "--- /dev/null\n+++ b/new/deep/text\n@@ -0,0 +1 @@\n+words\n" in patch
    assert "0+1048576 new/disk\n" in patch
    assert "A\tnew/deep/text" in edited("diff", "HEAD~1", "--name-status").lines
    edited.commit("three")
    assert edited("diff", "HEAD~1", "HEAD", "--name-status").lines == names
    assert "A\tnew/deep/text" in edited("diff", "HEAD~1", "--name-status").lines


def test_a_mount_point_in_a_new_folder_is_empty(edited: Work) -> None:
    assert os.geteuid() == 0, "this test needs root, to mount"
    inside = edited.top / "new" / "mounted"
    inside.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", inside], check=True)
    try:
        edited.write("new/mounted/file", b"x")
        found = edited("diff", "--name-status")
    finally:
        subprocess.run(["umount", inside], check=True)
    assert found.lines == ["A\tnew/mounted/"]
    assert "new/mounted: left empty: a mount point" in found.err


def test_nothing_that_is_equal_is_read(edited: Work, tmp_path: Path) -> None:
    """The blocks of `disk` are in the only data pack: a diff of it opens none."""
    log = tmp_path / "log"
    edited.traced("openat", "diff", "HEAD~1", "HEAD", "--stat", log=log)
    opened = sum(".pack" in line for line in log.read_text().splitlines())
    edited.traced("pread64", "diff", "HEAD~1", "HEAD", "--stat", log=log)
    read = sum(
        int(line.rsplit("=", 1)[1]) for line in log.read_text().splitlines() if ".pack" in line
    )
    assert opened
    assert read < 20_000
