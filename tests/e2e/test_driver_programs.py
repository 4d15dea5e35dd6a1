"""Programs on the mount: they find what they would find on the file system below."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from live_trees import fingerprint, rsync_differences
from mounted import Mounted, mounted

PYTHON_TESTS = ["test_os", "test_posix", "test_mmap", "test_shutil", "test_fcntl"]
STRESSORS = "access chmod chown dentry dir fallocate fcntl fiemap file-ioctl filename flock getdent"
STRESSORS += " hdd io link lockf locka mknod open readahead rename seek symlink utime xattr"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Mounted]:
    with mounted(tmp_path) as found:
        yield found


def run(command: Sequence[str | Path], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder), "LC_ALL": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_what_python_expects_of_a_file_system(tree: Mounted) -> None:
    python = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    said = run([python, "-m", "test", "--tempdir", tree.top, *PYTHON_TESTS], tree.top)
    assert "Result: SUCCESS" in said


def test_git(tree: Mounted) -> None:
    """A clone, some commits, everything packed anew, all checked."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    run([*git, "init", "-q", "-b", "main", "one"], tree.top)
    for number in range(20):
        for name in ("a", f"file {number}"):
            (tree.top / "one" / name).write_text(f"{number}\n" * 1000)
        run([*git, "add", "."], tree.top / "one")
        run([*git, "commit", "-q", "-m", f"commit {number}"], tree.top / "one")
    run([*git, "clone", "-q", "--no-hardlinks", "one", "two"], tree.top)
    for name in ("one", "two"):
        run([*git, "gc", "-q"], tree.top / name)
        run([*git, "fsck", "--strict"], tree.top / name)
        assert run([*git, "status", "--porcelain"], tree.top / name) == ""


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_sqlite(tree: Mounted, mode: str) -> None:
    connection = sqlite3.connect(tree.top / "db", isolation_level=None)
    connection.execute(f"pragma journal_mode={mode}")
    connection.execute("pragma mmap_size=1000000000")
    connection.execute("create table t (a integer primary key, b text)")
    for number in range(100):
        connection.execute("begin")
        rows = [(number * 50 + row, "x" * row * 10) for row in range(50)]
        connection.executemany("insert into t values (?, ?)", rows)
        connection.execute("rollback" if number % 10 == 9 else "commit")
        if number % 7 == 0:
            connection.execute("delete from t where a % 3 = 0")
    other = sqlite3.connect(tree.top / "db")
    assert other.execute("pragma integrity_check").fetchone() == ("ok",)
    count = connection.execute("select count(*) from t").fetchone()
    assert other.execute("select count(*) from t").fetchone() == count
    other.close()
    connection.close()
    below = sqlite3.connect(f"file:{tree.backing}/db?mode=ro", uri=True)
    assert below.execute("select count(*) from t").fetchone() == count
    below.close()


def test_tar_and_rsync(tree: Mounted, tmp_path: Path) -> None:
    source = Path("/usr/share/perl5")
    source = source if source.is_dir() else Path(sys.base_prefix, "include")
    archive = tmp_path / "x.tar"
    run(["tar", "--format=posix", "-cf", archive, "-C", source.parent, source.name], tmp_path)
    run(["tar", "-xpf", archive], tree.top)
    run(["rsync", "-aHAX", f"{source}/", "copy/"], tree.top)
    assert rsync_differences(source, tree.top / source.name) == ""
    assert rsync_differences(source, tree.top / "copy") == ""
    assert fingerprint(tree.top) == fingerprint(tree.backing)


@pytest.mark.parametrize("engine", ["psync", "mmap", "libaio"])
def test_fio_reads_what_it_wrote(tree: Mounted, engine: str) -> None:
    options = ["--name=x", "--size=24m", "--rw=randrw", "--verify=crc32c", "--verify_fatal=1"]
    options += ["--bsrange=4k-128k", "--numjobs=2", "--direct=" + str(int(engine == "libaio"))]
    options += ["--iodepth=8", "--do_verify=1", "--randrepeat=0", f"--ioengine={engine}"]
    run(["fio", *options], tree.top)
    marked = tree.blocks()
    for path in tree.backing.glob("x.*"):
        assert marked[path.name] >= set(range(path.stat().st_size // 65536))


def test_stress_ng(tree: Mounted) -> None:
    """Its file stressors, one after the other, for a moment each; in a short run every fifth."""
    listed = run(["stress-ng", "--stressors"], tree.top).split()
    chosen = [name for name in STRESSORS.split() if name in listed]
    assert len(chosen) > 20
    for name in chosen if os.environ.get("TREERING_LONG") == "1" else chosen[::5]:
        options = [f"--{name}", "1", f"--{name}-ops", "30", "--timeout", "5", "--verify"]
        run(["stress-ng", "--temp-path", tree.top, *options], tree.top)
    (tree.top / "still").write_text("there")
    assert (tree.backing / "still").read_text() == "there"


def test_xfs_io(tree: Mounted) -> None:
    script = ["pwrite -S 0x61 0 300k", "fpunch 64k 64k", "fzero -k 128k 4k", "truncate 250k"]
    script += ["mmap 0 200k", "mwrite -S 0x62 10k 20k", "msync -s", "munmap", "falloc -k 1m 1m"]
    script += ["copy_range -s 0 -d 400k -l 50k " + str(tree.top / "f"), "fsync"]
    for top in (tree.top, tree.backing.parent):
        for command in script:
            line = command.replace(str(tree.top / "f"), str(top / "f"))
            run(["xfs_io", "-f", "-c", line, top / "f"], top)
    assert (tree.top / "f").read_bytes() == (tree.backing.parent / "f").read_bytes()
    seeks = ["xfs_io", "-r", "-c", "seek -a -r 0"]
    here = run([*seeks, tree.top / "f"], tree.top)
    assert here == run([*seeks, tree.backing.parent / "f"], tree.top)
    assert "HOLE\t65536" in here
