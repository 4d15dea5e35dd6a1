"""What `status`, `diff`, `maps` and `driver status` say of an attached tree, beside a scan."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from attached_trees import attached, away, scanned, some_files, told
from faulting import seed
from live_trees import Work, build

BOUND = "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])"
LIBC = ctypes.CDLL(None, use_errno=True)
EXCHANGE = 2


@pytest.fixture
def here(work: Work) -> Work:
    return some_files(work)


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


def test_what_is_as_it_was_is_not_named(here: Work) -> None:
    """Files that were written, and ended as they were, times included."""
    with attached(here):
        for name in ("disk", "d/a"):
            path = here.top / name
            content, info = path.read_bytes(), path.stat()
            path.write_bytes(b"other")
            path.write_bytes(content)
            os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
        (here.top / "n").chmod(0o600)
        (here.top / "n").chmod(0o644)
        here.write("d/e/b", "x")
        os.utime(here.top / "d" / "e" / "b", ns=(1, 1))
        assert told(here) == scanned(here)
        assert told(here)[0] == {"d/e/b": "modified"}


def test_a_symlink_in_the_place_of_a_folder(here: Work) -> None:
    """It leads to a folder with the same names, which are not those of the tree."""
    with attached(here):
        (here.top / "d" / "e").rename(here.top / "moved")
        (here.top / "moved" / "b").write_bytes(b"other")
        os.symlink("../moved", here.top / "d" / "e")
        assert told(here) == scanned(here)
        assert told(here)[0] == {"d/e": "modified", "moved/": "new"}


def regions(work: Work, path: str) -> list[dict[str, int]]:
    found = away(work, "status", "--json", "--regions").json["changes"]
    (item,) = (each for each in found if each["path"] == path)
    regions: list[dict[str, int]] = item["regions"]
    return regions


def test_regions_are_those_that_differ(work: Work) -> None:
    """Not those that were written with what they held, and also those that became holes."""
    block = 65536
    content = bytes(range(1, 251)) * (block * 6 // 250 + 1)
    work.write("disk", content[: block * 6])
    work.commit("first")
    with attached(work), (work.top / "disk").open("r+b") as file:
        os.truncate(file.fileno(), 4 * block)
        os.truncate(file.fileno(), 6 * block)
        os.pwrite(file.fileno(), content[:block], 0)
        os.pwrite(file.fileno(), b"other", 2 * block)
        expected = [(2 * block, block), (4 * block, 2 * block)]
        assert [(each["offset"], each["length"]) for each in regions(work, "disk")] == expected
        away(work, "detach", "--force")
    assert [(each["offset"], each["length"]) for each in regions(work, "disk")] == expected


def exchange(one: Path, other: Path) -> None:
    done = LIBC.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), EXCHANGE)
    assert not done, os.strerror(ctypes.get_errno())


def test_a_folder_in_the_place_of_another(here: Work) -> None:
    """Nothing in either of them is marked, and all of it differs from what was there."""
    with attached(here):
        exchange(here.top / "d", here.top / "gone")
        assert told(here) == scanned(here)
        assert told(here)[0] == {
            "d/a": "deleted",
            "d/e": "deleted",
            "d/n2": "deleted",
            "d/x": "new",
            "gone/a": "new",
            "gone/e/": "new",
            "gone/n2": "new",
            "gone/x": "deleted",
        }


@pytest.mark.parametrize("number", [0, 1])
def test_a_file_in_the_place_of_another(here: Work, number: int) -> None:
    """An unchanged one, and one with marks of its own."""
    other = os.urandom(65536) + (here.top / "disk").read_bytes()[65536:]
    here.write("other", other)
    here.commit("other")
    with attached(here):
        if number:
            with (here.top / "other").open("r+b") as file:
                file.seek(70_000)
                file.write(b"changed")
        os.replace(here.top / "other", here.top / "disk")
        found = {each["path"]: each for each in regions_of(here)}
        assert found["other"]["what"] == "deleted"
        assert found["disk"]["regions"] == [{"offset": 0, "length": 65536 * (1 + number)}]
        away(here, "detach")
    assert {each["path"]: each for each in regions_of(here)} == found


def regions_of(work: Work) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = away(work, "status", "--regions", "--json").json["changes"]
    return found


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


def test_a_store_through_a_mapping_before_it_was_attached(work: Work) -> None:
    """It moved no time stamp, as a page that was writable already: a scan takes the file's stat at
    its word, but who attaches a tree does not. Where the kernel wrote the page back meanwhile,
    another file is tried."""
    for number in range(50):
        path = work.write(f"mapped {number}", bytes(8192))
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            mapped[:5] = b"first"
            time.sleep(0.05)
            work.commit()
            before = path.stat()
            mapped[:6] = b"second"
            unmoved = path.stat().st_ctime_ns == before.st_ctime_ns
        if unmoved:
            with attached(work):
                assert told(work)[0] == {path.name: "modified"}
            return
    pytest.fail("all stores moved a time stamp: no test of anything")


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
    match chance.randrange(10):
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
        case 8 if len(files) > 1:
            os.replace(*chance.sample(files, 2))
        case 9 if len(folders) > 2:
            one, other = chance.sample(folders[1:], 2)
            if one not in other.parents and other not in one.parents:
                exchange(one, other)


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
