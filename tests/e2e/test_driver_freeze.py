"""The maps swap at one instant while programs work: each change is in one era or the other."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounted import Mounted, mounted
from programs import check_alive, working

BLOCK = 65536
FREEZES = 40
NUMBERS = """
import os, sys, time
folder, name = sys.argv[1:]
told = os.open(f"{folder}-{name}", os.O_CREAT | os.O_RDWR)
file = os.open(f"{folder}/{name}", os.O_CREAT | os.O_RDWR)
os.ftruncate(file, 65536 * 20000)
for number in range(20000):
    os.pwrite(told, b"%08d" % number, 0)
    os.pwrite(file, b"x", 65536 * number + 5)
    os.pwrite(told, b"%08d" % number, 8)
    if number % 50 == 0:
        time.sleep(0.001)
"""
"""Each write is told, outside of the mount, before it begins and after it is done."""
NAMES = """
import os, sys
folder, _ = sys.argv[1:]
number = 0
while True:
    number += 1
    open(f"{folder}/made", "x").close()
    os.rename(f"{folder}/made", f"{folder}/n{number % 100}")
"""
MAPS = """
import mmap, os, sys
path = f"{sys.argv[1]}/mapped"
file = os.open(path, os.O_CREAT | os.O_RDWR)
os.ftruncate(file, 64 << 20)
memory = mmap.mmap(file, 64 << 20)
number = 0
while True:
    number += 1
    memory[number * 4096 % (64 << 20)] = number % 256
"""
CUTS = """
import os, sys
path = f"{sys.argv[1]}/mapped"
file = os.open(path, os.O_CREAT | os.O_RDWR)
while True:
    os.ftruncate(file, (64 << 20) + 1)
    os.ftruncate(file, 64 << 20)
"""
WAITS = ["fio", "--name=waiting", "--size=16m", "--rw=randwrite", "--bs=4k", "--direct=1"]
WAITS += ["--thread", "--ioengine=libaio", "--iodepth=100", "--time_based", "--runtime=300"]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Mounted]:
    with mounted(tmp_path) as found:
        yield found


def commands(tree: Mounted, *scripts: tuple[str, str]) -> list[list[str]]:
    """Of programs that work on the mount."""
    return [[sys.executable, "-c", script, str(tree.top), name] for script, name in scripts]


def told(tree: Mounted, name: str) -> tuple[int, int]:
    """The numbers of the last write that began, and of the last that was done."""
    content = Path(f"{tree.top}-{name}").read_bytes()
    return int(content[:8]), int(content[8:16] or b"-1")


def test_each_write_is_before_a_swap_or_after_it(tree: Mounted) -> None:
    names = ["a", "b", "c"]
    found: dict[str, list[int]] = {name: [] for name in names}
    with working(commands(tree, (NAMES, ""), *((NUMBERS, name) for name in names))) as programs:
        while not all(Path(f"{tree.top}-{name}").exists() for name in names):
            time.sleep(0.01)
        time.sleep(0.2)
        for _ in range(FREEZES):
            done = {name: told(tree, name)[1] for name in names}
            frozen = tree.ask("freeze")
            begun = {name: told(tree, name)[0] for name in names}
            assert "error" not in frozen
            for name in names:
                found[name] += [n for n in frozen["blocks"].get(name, []) if n < 20000]
                last = len(found[name]) - 1
                assert done[name] <= last <= begun[name]
                # What is marked was written by then, and no more: each has a page of its own.
                assert frozen["data"][name] == last * BLOCK + 4096
            time.sleep(0.02)
        check_alive(programs[:1])
    for name in names:
        # One after the other, none twice and none left out: what a swap cut, it cut between two.
        assert found[name] == list(range(len(found[name])))
        assert len(found[name]) > FREEZES


@pytest.mark.parametrize("others", [[CUTS], []], ids=["size changes", "asynchronous writes"])
def test_pages_of_mappings_do_not_hang_it(tree: Mounted, others: list[str]) -> None:
    """Nor beside parked requests of which the kernel holds back pages."""
    found = []
    with working(commands(tree, (MAPS, ""), *((script, "") for script in others))) as programs:
        if not others:
            command = [*WAITS, f"--directory={tree.top}"]
            waiting = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(1)
        for _ in range(FREEZES // 4):
            begun = time.monotonic()
            found.append("error" in tree.ask("freeze"))
            assert time.monotonic() - begun < 20, "it hung"
            time.sleep(0.01)
        check_alive(programs)
        if not others:
            waiting.kill()
            waiting.wait()
    assert found == [False] * (FREEZES // 4)
    (tree.top / "still").write_bytes(b"there")
    assert "still" in tree.ask("freeze")["names"][""]


def test_what_is_parked_is_done_later(tree: Mounted) -> None:
    """Whoever waited at the gate is answered, with the right result."""
    path = tree.top / "f"
    path.write_bytes(b"")
    script = (
        "import os, sys\n"
        "file = os.open(sys.argv[1] + '/f', os.O_RDWR | os.O_APPEND)\n"
        "for number in range(3000): os.write(file, b'%07d\\n' % number)\n"
    )
    programs = [subprocess.Popen([sys.executable, "-c", script, str(tree.top)]) for _ in range(4)]
    while any(program.poll() is None for program in programs):
        assert "error" not in tree.ask("freeze")
    assert [program.returncode for program in programs] == [0] * 4
    lines = path.read_bytes().splitlines()
    assert sorted(map(int, lines)) == sorted([*range(3000)] * 4)
    assert os.stat(tree.backing / "f").st_size == 4 * 3000 * 8
