"""The command line itself: exit codes, errors, listings, and bad repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from live_trees import PROGRAM, NobodyWork, Work, build, environment


@pytest.fixture
def three(work: Work) -> Work:
    """Three commits of one growing file."""
    for number, name in enumerate(("one", "two", "three")):
        build(work.top, {"notes": b"line\n" * (number + 1), "d/e/f": b"f"})
        work.commit(name)
    return work


# -- errors ----------------------------------------------------------------------------------------


def test_usage_errors(work: Work) -> None:
    for arguments in (["nonsense"], ["log", "-n", "-1"], ["commit", "--nonsense"], ["cat"]):
        assert work(*arguments, code=2).out == ""
    assert work("cat", "HEAD", code=2).err.splitlines() == [
        "treering: 'HEAD' names no path",
        "hint: write it as REV:PATH, like HEAD:notes",
    ]
    assert "not a size" in work("init", "--block-size", "huge", "x", code=2).err
    assert "power of two" in work("init", "--block-size", "5000", "x", code=2).err


def test_no_repository(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    work = Work(tmp_path / "home", tmp_path)
    for command in ("status", "log", "ls", "restore", "commit", "fsck", "config"):
        done = work(command, code=10)
        assert done.err.startswith("treering: no treering repository here or above: ")
        assert done.err.splitlines()[1] == "hint: make one with: treering init"
    error = work("status", "--json", code=10).error
    assert error["error"] == "NoRepository"
    assert error["hint"] == "make one with: treering init"


def test_unknown_revisions_and_paths(three: Work) -> None:
    assert three("log", "nonsense", code=1).err.startswith("treering: unknown revision 'nonsense'")
    assert three("ls", "HEAD:nowhere", code=1).err == "treering: no such path: nowhere\n"
    assert three("cat", "HEAD~7:notes", code=1).err.startswith("treering: ")
    assert "is not a file" in three("cat", "HEAD:d", code=2).err
    error = three("cat", "--json", "HEAD:nowhere", code=1).error
    assert set(error) == {"error", "message", "hint"}
    assert error["error"] == "NotFound"


def test_init_in_a_folder_that_one_may_write_but_not_read(nobody: NobodyWork) -> None:
    folder = nobody.top.parent / "drop"
    folder.mkdir()
    try:
        folder.chmod(0o733)
        nobody("init", "--bare", str(folder / "repository"))
        assert (folder / "repository" / "format").exists()
    finally:
        shutil.rmtree(folder)


def test_init_twice(work: Work) -> None:
    assert "already" in work("init", code=11).err
    assert "already" in work("init", "--json", code=11).error["message"]


# -- where and how loud ----------------------------------------------------------------------------


def test_another_folder(three: Work, tmp_path: Path) -> None:
    here = three("log", "--oneline").out
    assert three("-C", str(three.top), "log", "--oneline", cwd=tmp_path).out == here
    assert three("-C", "d", "-C", "e", "log", "--oneline").out == here
    assert three("log", "--oneline", cwd=three.top / "d" / "e").out == here
    assert three("cat", "HEAD:./f", cwd=three.top / "d" / "e").out == "f"
    assert "not a folder" in three("-C", "nowhere", "log", code=2).err


def test_quiet(work: Work) -> None:
    work.write("a", "x")
    done = work("-q", "commit", "-m", "m")
    assert (done.out, done.err) == ("", "")
    work.write("a", "y")
    done = work("restore", "--force", "-q")
    assert (done.out, done.err) == ("", "")
    assert work("log", "-q", "--oneline").out != ""


def test_what_needs_no_history_does_not_wait_for_its_library() -> None:
    for arguments in (["--version"], ["--help"]):
        script = f"from treering.cli.main import run; import sys; run({arguments})"
        script += "; sys.exit('pygit2' in sys.modules)"
        subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_version_and_help(work: Work) -> None:
    assert work("--version").out.startswith("treering ")
    listed = work("--help").out
    for command in ("commit", "fsck", "restore", "status"):
        assert command in listed
        text = work(command, "--help").out
        assert f"Usage: treering {command}" in text
    assert "Example:" in text


def test_repository_elsewhere(tmp_path: Path, work: Work) -> None:
    top, elsewhere = tmp_path / "data", tmp_path / "disk two" / "repo"
    top.mkdir()
    other = Work(work.home, top)
    other("init", "--repo", str(elsewhere))
    other.write("a", "x")
    other.commit()
    assert (elsewhere / "format").exists()
    assert not (top / ".treering" / "packs").exists()
    assert other("cat", "HEAD:a").out == "x"
    assert other("log", "--oneline", cwd=elsewhere).out == other("log", "--oneline").out
    assert "bare" in other("commit", code=2, cwd=elsewhere).err
    (top / "a").unlink()
    other("restore")
    assert (top / "a").read_text() == "x"


# -- log, ls, cat, config --------------------------------------------------------------------------


def titles(work: Work, *arguments: str) -> list[str]:
    return [line.split(") ")[-1].split(" ")[-1] for line in work("log", *arguments).lines]


def test_log(three: Work) -> None:
    assert titles(three, "--oneline") == ["three", "two", "one"]
    assert titles(three, "--oneline", "-n", "2") == ["three", "two"]
    assert titles(three, "--oneline", "-n", "0") == []
    assert titles(three, "--oneline", "HEAD~1") == ["two", "one"]
    assert titles(three, "--oneline", "HEAD~2..HEAD") == ["three", "two"]
    assert titles(three, "--oneline", "HEAD~1..") == ["three"]
    assert titles(three, "--oneline", "HEAD..HEAD~1") == []
    assert titles(three, "--oneline", "^HEAD~2", "main") == ["three", "two"]
    commits = three("log", "--json").json
    assert [commit["message"] for commit in commits] == ["three\n", "two\n", "one\n"]
    assert commits[0]["parents"] == [commits[1]["commit"]]
    lines = three("log", "-n", "1").lines
    assert lines[0] == f"commit {commits[0]['commit']} (HEAD -> main)"
    assert lines[1] == f"Root:   {commits[0]['root']}"
    assert lines[2] == "Author: Test Er <test@example.org>"
    assert "    three" in lines
    assert three("log", "--json", commits[1]["commit"][:8]).json[0] == commits[1]


def test_stock_git_reads_the_history(three: Work) -> None:
    history = three.top / ".treering" / "history"
    command: list[str | Path] = ["git", "--git-dir", history, "-c", f"safe.directory={history}"]
    found = subprocess.run(
        [*command, "log", "--format=%s %H"], capture_output=True, check=True, text=True
    ).stdout
    wanted = [f"{c['message'].strip()} {c['commit']}" for c in three("log", "--json").json]
    assert found.splitlines() == wanted
    subprocess.run([*command, "fsck", "--strict"], check=True, capture_output=True)


def test_a_reader_that_leaves(work: Work) -> None:
    for number in range(3000):
        work.write(f"{number:04}-{'x' * 100}", "")
    work.commit()
    log = work.home / "stderr"
    command = f"'{PROGRAM}' ls -lR 2>'{log}' | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=work.top,
        env=environment(work.home),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert log.read_text() == ""


def test_ls(work: Work) -> None:
    work.write("d/file", "12345")
    work.write("new\nline", "")
    os.symlink("d/file", work.top / "link")
    (work.top / "d" / "file").chmod(0o4750)
    os.chown(work.top / "d" / "file", 7, 8)
    (work.top / "d" / "file").chmod(0o4750)
    os.utime(work.top / "d" / "file", (0, 86400))
    work.commit()
    assert work("ls").lines == ["d/", "link", '"new\\nline"']
    assert work("ls", "HEAD:d").lines == ["d/file"]
    assert work("ls", "-R").lines == ["d/", "d/file", "link", '"new\\nline"']
    assert work("ls", "-z").raw == b"d/\0link\0new\nline\0"
    long = work("ls", "-lR").lines
    assert long[1].split() == ["-rwsr-x---", "7", "8", "5", "1970-01-02", "00:00:00", "d/file"]
    assert long[2].startswith("lrwxrwxrwx") and long[2].endswith("link -> d/file")
    entries = work.ls()
    assert entries["d/file"]["mode"] == "4750"
    assert entries["d/file"]["mtime_ns"] == 86400 * 10**9
    assert entries["link"]["target"] == "d/file"
    assert (entries["d"]["files"], entries["d"]["size"]) == (1, 5)


def test_cat(work: Work) -> None:
    content = os.urandom(200_000) + bytes(300_000) + os.urandom(7)
    work.write("data", content)
    work.commit()
    assert work("cat", "HEAD:data").raw == content
    assert work("cat", ":data").raw == content


def test_config(work: Work) -> None:
    work("config", "user.name", "Somebody Else")
    assert work("config", "user.name").out == "Somebody Else\n"
    assert "user.name=Somebody Else" in work("config").lines
    assert work("config", "--json").json["user.name"] == "Somebody Else"
    work.write("a", "x")
    assert work.commit()["author"]["name"] == "Somebody Else"
    work("config", "--unset", "user.name")
    assert work("config", "user.name", code=1).err == "treering: user.name is not set\n"
    assert "config key" in work("config", "nonsense", code=2).err


# -- bad repositories ------------------------------------------------------------------------------

GARBAGE = b"\0garbage\xff" * 1000
Damage = Callable[[Path], object]


def overwrite(name: str, content: bytes = GARBAGE) -> Damage:
    return lambda repository: (repository / name).write_bytes(content)


def edit(name: str, old: str, new: str) -> Damage:
    def change(repository: Path) -> None:
        path = repository / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("damage", "code", "says"),
    [
        (edit("format", "version 1", "version 2"), 13, "version 2"),
        (edit("format", "cipher none", "cipher rot13"), 13, "cipher 'rot13'"),
        (edit("format", "ids plain", "ids keyed"), 13, "ids 'keyed'"),
        (edit("format", "features", "features time-travel"), 13, "feature 'time-travel'"),
        (edit("format", "block-size 65536", "block-size 7"), 12, "block-size '7'"),
        (overwrite("format"), 12, "format"),
        (overwrite("format", b""), 12, "format"),
        (overwrite("catalog.db"), 12, "catalog"),
        (overwrite("history/HEAD"), 12, "HEAD"),
        (overwrite("history/HEAD", b""), 12, "HEAD"),
        (overwrite("history/refs/heads/main"), 12, ""),
        (overwrite("history/refs/heads/main", b"1" * 40 + b"\n"), 12, ""),
        (overwrite("config", b"[half a section\n"), 12, "config"),
        (overwrite("index/data.mdb"), 12, "index"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
@pytest.mark.parametrize("command", ["status", "commit"])
def test_damaged_repositories(
    work: Work, command: str, damage: Damage, code: int, says: str
) -> None:
    work.write("a", "x")
    work.commit()
    work.write("a", "longer than before")
    damage(work.top / ".treering")
    done = work(command, code=code)
    assert done.err.startswith("treering: ")
    assert says in done.err
    others = done.err.splitlines()[1:]
    assert all(line.startswith("hint: ") for line in others), done.err
    assert work(command, "--json", code=code).error["message"]


def test_what_may_be_lost_costs_only_time(work: Work) -> None:
    work.write("a", os.urandom(100_000))
    root = work.commit()["root"]
    repository = work.top / ".treering"
    shutil.rmtree(repository / "index")
    for path in repository.glob("catalog.db*"):
        path.unlink()
    assert work.changes() == {}
    assert work.commit()["committed"] is False
    assert work.commit("again", "--allow-empty")["root"] == root
    work("fsck", "--read-data")


def test_leftover_lock_files_are_in_nobodys_way(work: Work) -> None:
    work.write("a", "x")
    history = work.top / ".treering" / "history"
    for name in ("HEAD.lock", "refs/heads/main.lock", "config.lock"):
        (history / name).touch()
    assert work.commit()["committed"] is True
