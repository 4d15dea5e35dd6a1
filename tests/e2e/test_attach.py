"""Attaching and detaching by the commands, what is in the way, and status by the maps."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from attached_trees import attached, away, driver, scanned, take_off, told
from faulting import seed
from live_trees import Work, build, make_home

from treering.tracker.fuse.surroundings import mounted_on

STOOD = """
import os, sys
os.chdir(sys.argv[1])
print(flush=True)
if sys.stdin.read():
    open("a", "ab").write(b"unseen")
"""
WRITES = """
import sys
f = open(sys.argv[1], "ab")
print(flush=True)
if sys.stdin.read():
    f.write(b"unseen")
"""

BOUND = "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])"


def outside(script: str, path: Path) -> subprocess.Popen[bytes]:
    """A process that was there before."""
    made = subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert made.stdout is not None
    made.stdout.readline()
    return made


@pytest.fixture
def here(work: Work) -> Work:
    """A committed tree. Commands run from elsewhere."""
    build(
        work.top,
        {
            "disk": bytes(range(256)) * 1024,
            "d/a": b"a",
            "d/e/b": b"b",
            "d/e/c": b"c",
            "gone/x": b"x",
            "n": b"n",
        },
    )
    os.symlink("d/a", work.top / "link")
    os.link(work.top / "n", work.top / "d" / "n2")
    work.commit("first")
    return Work(work.home, work.top)


def test_from_attach_to_detach(here: Work) -> None:
    try:
        said = away(here, "attach").out
        assert said == f"Attached {here.top}: 0 changes since the last commit\n"
        found = mounted_on(here.top)
        assert found is not None and found.kind == "fuse.treering"
        assert told(here) == ({}, 0)
        with (here.top / "disk").open("r+b") as file:
            file.seek(70_000)
            file.write(b"changed")
        (changed,) = away(here, "status", "--regions", "--json").json["changes"]
        assert changed["regions"] == [{"offset": 65536, "length": 65536}]
        assert away(here, "detach", str(here.top)).out == f"Detached {here.top}\n"
    finally:
        take_off(here.top)
    assert mounted_on(here.top) is None
    assert here.changes() == {"disk": "modified"}
    assert (here.top / "disk").read_bytes()[70_000:70_007] == b"changed"


def test_a_tree_without_a_commit(work: Work) -> None:
    with attached(work):
        assert (driver(work)["base"], told(work)) == ("", ({}, 0))
        work.write("d/f", "f")
        assert told(work)[0] == {"d/": "new"}


def change_all_sorts(top: Path) -> None:
    (top / "d" / "a").write_bytes(b"other")
    (top / "d" / "e" / "c").unlink()
    shutil.rmtree(top / "gone")
    (top / "gone").write_bytes(b"a file now")
    (top / "new" / "deep").mkdir(parents=True)
    (top / "new" / "deep" / "f").write_bytes(b"f")
    os.truncate(top / "disk", 100_000)
    (top / "link").unlink()
    os.symlink("elsewhere", top / "link")
    (top / "n").chmod(0o600)
    (top / "d" / "e").chmod(0o700)


ALL_SORTS = {
    "d/a": "modified",
    "d/e/": "modified",
    "d/e/c": "deleted",
    "d/n2": "modified",
    "disk": "modified",
    "gone": "modified",
    "link": "modified",
    "n": "modified",
    "new/": "new",
}


def test_what_changed_while_detached_is_known(here: Work) -> None:
    change_all_sorts(here.top)
    assert scanned(here)[0] == ALL_SORTS
    with attached(here) as said:
        assert (said["changes"], said["complete"]) == (len(ALL_SORTS), True)
        assert told(here) == scanned(here)
        assert told(here)[0] == ALL_SORTS


def test_what_changes_on_the_mount_is_known(here: Work) -> None:
    with attached(here):
        change_all_sorts(here.top)
        assert told(here) == scanned(here)
        assert told(here)[0] == ALL_SORTS


def test_what_changed_before_and_is_moved_after(here: Work) -> None:
    """The scan's findings follow an object to its new place."""
    (here.top / "d" / "e" / "b").write_bytes(b"changed")
    (here.top / "fresh").mkdir()
    with attached(here):
        (here.top / "d").rename(here.top / "moved")
        (here.top / "fresh").rename(here.top / "moved" / "fresh")
        assert told(here)[0] == scanned(here)[0] == {"d": "deleted", "moved/": "new"}
        (here.top / "moved").rename(here.top / "d")
        assert told(here)[0] == scanned(here)[0]


def test_ignored_names(here: Work) -> None:
    here.write(".treeringignore", "*.tmp\n/cache/\n")
    here.commit("rules")
    with attached(here):
        for path in ("x.tmp", "cache/deep/y", "d/e/z.tmp", "d/e/z"):
            here.write(path, path)
        assert told(here) == scanned(here)
        assert told(here)[0] == {"d/e/z": "new"}
        here.write("d/.treeringignore", "z\n")  # other rules: the maps do not know what they left
        assert told(here) == scanned(here)
        assert told(here)[0] == {"d/.treeringignore": "new"}


def test_a_nested_repository_and_a_socket(here: Work) -> None:
    with attached(here):
        away(here, "init", "-q", str(here.top / "d" / "nested"))
        subprocess.run(
            [sys.executable, "-c", BOUND, here.top / "s"],
            check=True,
        )
        assert told(here) == scanned(here)
        assert told(here)[0] == {}


@pytest.mark.parametrize("number", range(4))
def test_maps_and_scan_say_the_same(work: Work, number: int) -> None:
    """Random changes, some before it is attached and some after; contents all differ."""
    chance = random.Random(seed() + number)
    names = [f"{folder}{name}" for folder in ("", "p/", "p/q/", "r/") for name in "abc"]
    build(work.top, {name: name.encode() * 50_000 for name in names})
    work.commit("first")
    for _ in range(chance.randrange(6)):
        _change(work.top, chance)
    with attached(work):
        for _ in range(30):
            _change(work.top, chance)
            told_now, scanned_now = told(work), scanned(work)
            assert told_now == scanned_now
    assert told(work) == scanned_now


def _change(top: Path, chance: random.Random) -> None:
    inside = [path for path in top.rglob("*") if ".treering" not in path.parts]
    files = sorted(path for path in inside if path.is_file())
    folders = [top, *sorted(path for path in inside if path.is_dir())]
    somewhere = chance.choice(folders) / chance.choice("abcdxyz")
    content = chance.randbytes(8)
    match chance.randrange(8):
        case 0 | 1 if files:
            with chance.choice(files).open("r+b") as file:
                file.seek(chance.randrange(60_000))
                file.write(content)
        case 2 if files:
            chance.choice(files).unlink()
        case 3 if not somewhere.exists():
            somewhere.write_bytes(content)
        case 4 if not somewhere.exists():
            somewhere.mkdir()
        case 5 if files:
            os.truncate(chance.choice(files), chance.randrange(100_000))
        case 6 if len(folders) > 1:
            moved = chance.choice(folders[1:])
            if not somewhere.exists() and moved not in somewhere.parents:
                moved.rename(somewhere)
        case 7 if files:
            source = chance.choice(files)
            if not somewhere.exists():
                source.rename(somewhere)


# -- what is in the way --------------------------------------------------------------------------


def test_twice(here: Work) -> None:
    with attached(here):
        done = away(here, "attach", code=11)
        assert "attached already" in done.err
        assert told(here) == ({}, 0)


def test_no_repository_and_a_bare_one(tmp_path: Path) -> None:
    work = Work(make_home(tmp_path), tmp_path)
    assert "no treering repository" in work("attach", code=10).err
    work("init", "--bare", "-q", "bare")
    assert "bare" in work("attach", "bare", code=2).err


def test_a_mount_point_inside(here: Work) -> None:
    (here.top / "d" / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", here.top / "d" / "disk"], check=True)
    try:
        done = away(here, "attach", code=11)
        assert "something is mounted in the tree: d/disk" in done.err
    finally:
        subprocess.run(["umount", here.top / "d" / "disk"], check=True)


@pytest.mark.parametrize(("script", "path"), [(STOOD, "d"), (WRITES, "d/a")])
def test_who_would_go_on_past_it_is_named(here: Work, script: str, path: str) -> None:
    stranger = outside(script, here.top / path)
    try:
        done = away(here, "attach", code=11)
        assert f"({stranger.pid})" in done.err
        assert mounted_on(here.top) is None
        with attached(here, "--force") as said:
            assert said["complete"] is False
            (here.top / "n").write_bytes(b"by the mount")
            stranger.communicate(b"go on")  # and writes
            assert told(here) == scanned(here)
            assert set(told(here)[0]) >= {"n", "d/a"}
    finally:
        stranger.communicate()


def test_the_callers_own_shell_has_to_leave(here: Work) -> None:
    """What it wrote would pass the driver by, and nobody would know."""
    program = Path(sys.executable).parent / "treering"
    script = f"cd {here.top}/d; {program} attach; cd ../..; {program} attach tree"
    try:
        done = subprocess.run(
            ["sh", "-c", script], env=os.environ, capture_output=True, text=True, check=False
        )
        assert "is in use by sh (" in done.stderr
        assert f"hint: leave the tree, and: treering attach {here.top}" in done.stderr
        assert done.stdout.startswith("Attached ")
    finally:
        take_off(here.top)


def test_detaching_a_tree_that_is_not_attached(here: Work) -> None:
    assert "is not attached" in away(here, "detach", code=2).err


def test_detaching_a_busy_tree(here: Work) -> None:
    with attached(here):
        stranger = outside(STOOD, here.top / "d")
        try:
            done = away(here, "detach", str(here.top), "--wait", "0.2", code=11)
            assert f"({stranger.pid})" in done.err
            assert told(here) == ({}, 0)
            away(here, "detach", str(here.top / "d"), "--force")
            assert mounted_on(here.top) is None
        finally:
            stranger.communicate()


def test_without_a_journal(here: Work) -> None:
    with attached(here, "--journal", "off"):
        here.write("d/a", "other")
        assert driver(here)["journal"] is False
        assert told(here)[0] == {"d/a": "modified"}


# -- its end -------------------------------------------------------------------------------------


def wait_until_off(top: Path) -> None:
    for _ in range(200):
        if mounted_on(top) is None:
            return
        time.sleep(0.05)
    raise AssertionError("still mounted")


def test_in_the_foreground_a_signal_detaches(here: Work) -> None:
    process = here.start("-C", str(here.top), "attach", "--foreground", cwd=here.home)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"Attached ")
        here.write("d/a", "other")
        assert told(here)[0] == {"d/a": "modified"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert mounted_on(here.top) is None
    finally:
        take_off(here.top)
        process.communicate()


def test_a_killed_driver_leaves_a_tree_that_is_scanned(here: Work) -> None:
    with attached(here):
        here.write("d/a", "other")
        os.kill(driver(here)["pid"], signal.SIGKILL)
        wait_until_off(here.top)
        here.write("n", "more")
        assert told(here)[0] == {"d/a": "modified", "d/n2": "modified", "n": "modified"}
        with attached(here):
            assert told(here)[0] == {"d/a": "modified", "d/n2": "modified", "n": "modified"}
        here.commit("after")
        assert told(here) == ({}, 0)
        here("fsck", "-q", "--read-data")


def test_driver_and_holder_killed(here: Work) -> None:
    """Nobody is left to take the mount off but the command."""
    with attached(here):
        pid = driver(here)["pid"]
        holders = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for number in (*holders, pid):
            os.kill(int(number), signal.SIGKILL)
        with pytest.raises(OSError, match=r"not connected|connection abort"):
            (here.top / "d" / "a").read_bytes()
        assert "hint: its driver has died: treering detach" in away(here, "status", code=1).err
        away(here, "detach", str(here.top))
        assert mounted_on(here.top) is None
        assert (here.top / "d" / "a").read_bytes() == b"a"


def test_after_a_commit_the_maps_are_not_those_of_head(here: Work) -> None:
    """Until commits take from the maps, status scans."""
    with attached(here):
        here.write("d/a", "other")
        away(here, "commit", "-q", "-m", "second")
        assert told(here) == ({}, 0)
        here.write("d/a", "third")
        assert told(here)[0] == {"d/a": "modified"}


# -- what it shows -------------------------------------------------------------------------------


def diffs(work: Work) -> Any:
    return away(work, "diff", "--regions", "--json").json


def test_diff_by_the_maps(here: Work) -> None:
    with attached(here):
        with (here.top / "disk").open("r+b") as file:
            file.seek(130_000)
            file.write(b"changed")
        (here.top / "d" / "a").write_bytes(b"other")
        (here.top / "d" / "e" / "b").unlink()
        on_the_mount = diffs(here)
        text = away(here, "diff").out
        assert "+other" in text
        away(here, "fsck", "-q", "--read-data")
        away(here, "detach")
    assert diffs(here) == on_the_mount
    here("fsck", "-q", "--read-data")
    assert away(here, "diff").out == text


def test_diff_with_a_new_folder(here: Work) -> None:
    with attached(here):
        here.write("new/deep/f", "f")
        found = diffs(here)["changes"]
        assert [change["path"] for change in found if not change.get("folder")] == ["new/deep/f"]


def test_the_maps_as_a_table(here: Work) -> None:
    """What is committed, in packs; a hole; what is new."""
    with (here.top / "disk").open("r+b") as file:
        file.truncate(65536 * 8)
    here.commit("longer")
    with attached(here):
        with (here.top / "disk").open("r+b") as file:
            for block in (1, 5, 6, 9):
                file.seek(block * 65536)
                file.write(b"changed")
        here.write("fresh", bytes(100_000))
        (here.top / "disk").rename(here.top / "moved")
        found = away(here, "maps", "--json").json
        assert found["base"] == here.root()
        rows = [(each["path"], each["block"], each["count"]) for each in found["blocks"]]
        # Beyond its end the file had none: 8, where it ended, and 9.
        assert rows == [("moved", 1, 1), ("moved", 5, 2), ("moved", 8, 2), ("fresh", 0, 2)]
        addresses = {each["block"]: each["address"] for each in found["blocks"][:-1]}
        assert (addresses[5], addresses[8]) == ("hole", "new")
        pack = here.top / ".treering" / "packs" / addresses[1]["pack"]
        assert list(pack.parent.glob(pack.name + "*"))
        assert addresses[1]["offset"] > 0
        text = away(here, "maps", "moved").out.splitlines()
        assert text[0].split() == ["block", "index", "block", "address", "status", "file", "index"]
        assert text[2].split() == ["5-6", "hole", "active", "moved"]
    assert "is not attached" in away(here, "maps", code=1).err


def test_what_the_driver_says_of_itself(here: Work) -> None:
    with attached(here):
        here.write("d/a", "other")
        found = away(here, "driver", "status", "--json").json
        assert (found["top"], found["era"]) == (str(here.top), 1)
        assert found["dirty"] == 1
        assert found["base"] == here.root()
        text = away(here, "driver", "status").out
        assert "1 path changed, 64.0 KiB of blocks" in text
    assert "is not attached" in away(here, "driver", "status", code=1).err


def calls_on_the_tree(work: Work, log: Path) -> int:
    """System calls of `status` that name a file of the tree, or are on one that it has open, when
    no worker runs it."""
    how = ["strace", "-f", "-y", "-s", "4096", "-E", "TREERING_NO_WORKER=1", "-o", str(log)]
    traced = Work(work.home, work.home, [*how, "-e", "trace=%file,getdents64"])
    traced("-C", str(work.top), "status")
    lines = log.read_text("utf-8", "surrogateescape").splitlines()
    inside = [line for line in lines if f"{work.top}/" in line]
    return sum(".treering" not in line for line in inside)


def test_status_looks_at_what_changed_alone(work: Work, tmp_path: Path) -> None:
    """As many calls on the tree whatever its size."""
    counts = []
    for files in (50, 500):
        for number in range(files):
            work.write(f"d{number % 10}/f{number}", f"{number}")
        work.commit(f"{files}")
        with attached(work):
            work.write("d3/f3", f"changed {files}")
            counts.append(calls_on_the_tree(work, tmp_path / "log"))
            away(work, "detach", "--force")
        work.commit("changed")
    assert 0 < counts[0] == counts[1] < 20
