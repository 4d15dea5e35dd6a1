"""`make bench`: first commits beside restic's, on the same data in the same run; and a switch.

Makes a 4 GiB ext4 image and a tree of 100,000 files from real folders of this machine (once, in
WORK), then runs both tools in turns and prints medians, ratios and peak anonymous memory. restic is
installed from Debian when it can be. *switch* takes the image back and forth between two commits
that are 64 regions apart; the figure is the whole process, beside `treering --version`.
Usage: run.py [--work DIR] [--rounds N] [start|tree|image|switch ...]
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterable
from pathlib import Path

TREERING = Path(sys.executable).parent / "treering"
IMAGE_SIZE = 4 << 30
IMAGE_FILL = 3_500 << 20
TREE_FILES = 100_000
MAX_FILE = 64 << 20
REGION, REGIONS = 64 << 10, 64
STDLIB = sysconfig.get_path("stdlib")
IMAGE_SOURCES = ("/usr/lib", "/usr/share", "/usr/include", STDLIB, "/root", "/opt")
TREE_SOURCES = ("/usr/share", "/usr/include", str(Path(STDLIB).parents[2]), "/usr/lib")


def run(command: list[str], **environment: str) -> tuple[float, float, float]:
    """(wall seconds, CPU seconds, peak anonymous MiB of the process and its children)."""
    before = os.times()
    started = time.monotonic()
    child = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    peak = [0.0]
    watcher = threading.Thread(target=watch, args=(child, peak), daemon=True)
    watcher.start()
    if child.wait():
        sys.exit(f"{' '.join(command)}: exit {child.returncode}")
    wall = time.monotonic() - started
    watcher.join()
    after = os.times()
    cpu = sum(after[2:4]) - sum(before[2:4])
    return wall, cpu, peak[0]


def watch(child: subprocess.Popen[bytes], peak: list[float]) -> None:
    while child.poll() is None:
        peak[0] = max(peak[0], sum(map(anonymous, family(child.pid))) / 1024)
        time.sleep(0.05)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for process in found:
        try:
            for task in Path(f"/proc/{process}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def anonymous(pid: int) -> int:
    """Anonymous memory in KiB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def real_files(sources: Iterable[str]) -> Iterable[Path]:
    for source in sources:
        for folder, _, names in os.walk(source):
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink() and path.stat().st_size < MAX_FILE:
                    yield path


def copy_until(
    target: Path, sources: Iterable[str], *, size: int | None = None, count: int | None = None
) -> None:
    done = 0
    for files, path in enumerate(real_files(sources)):
        if (size and done >= size) or (count and files >= count):
            return
        copy = target / path.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
        done += copy.stat().st_size


def make_image(work: Path) -> Path:
    folder = work / "image"
    if not folder.exists():
        content = work / "content"
        copy_until(content, IMAGE_SOURCES, size=IMAGE_FILL)
        folder.mkdir(parents=True)
        image = folder / "disk.img"
        with image.open("wb") as file:
            file.truncate(IMAGE_SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-d", str(content), str(image)], check=True)
        shutil.rmtree(content)
    return folder


def make_tree(work: Path) -> Path:
    folder = work / "tree"
    if not folder.exists():
        copy_until(folder, TREE_SOURCES, count=TREE_FILES)
    return folder


def warm(data: Path) -> None:
    """Read all of it: what a kernel keeps of it from the last round differs from machine to
    machine, and from tool to tool."""
    os.sync()
    subprocess.run(["tar", "-cf", "/dev/zero", "-C", str(data), "."], check=True)


def first_commit(work: Path, data: Path) -> tuple[float, float, float]:
    """A first commit by treering, the repository beside the data."""
    repository = work / "treering"
    shutil.rmtree(repository, ignore_errors=True)
    shutil.rmtree(data / ".treering", ignore_errors=True)
    start = ["-C", str(data)]
    subprocess.run([str(TREERING), *start, "init", "-q", "--repo", str(repository)], check=True)
    warm(data)
    figures = run([str(TREERING), *start, "commit", "-q", "-m", "first"])
    print(
        f"  treering  {figures[0]:6.2f} s  cpu {figures[1]:6.2f}  {figures[2]:5.0f} MiB", flush=True
    )
    return figures


def first_backup(work: Path, data: Path) -> tuple[float, float, float]:
    """The same by restic."""
    repository = work / "restic"
    shutil.rmtree(repository, ignore_errors=True)
    environment = {
        "RESTIC_PASSWORD": "x",
        "RESTIC_REPOSITORY": str(repository),
        "RESTIC_CACHE_DIR": str(work / "cache"),
    }
    subprocess.run(["restic", "init", "-q"], env={**os.environ, **environment}, check=True)
    excluded = ["--exclude", str(data / ".treering")]
    warm(data)
    figures = run(["restic", "backup", "-q", *excluded, str(data)], **environment)
    print(
        f"  restic    {figures[0]:6.2f} s  cpu {figures[1]:6.2f}  {figures[2]:5.0f} MiB", flush=True
    )
    return figures


def compare(name: str, work: Path, data: Path, rounds: int) -> None:
    print(f"{name}: first commit, {rounds} rounds in turns", flush=True)
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(first_backup(work, data))
        ours.append(first_commit(work, data))
    a, b = (statistics.median(figure[0] for figure in each) for each in (ours, theirs))
    memory = max(figure[2] for figure in ours)
    print(f"{name}: {a:.2f} s, restic {b:.2f} s: {a / b:.2f} x; {memory:.0f} MiB anonymous")


def make_switch(work: Path) -> Path:
    """A work tree with an image of 4 GiB without holes, and two commits that are 64 regions apart.
    What these regions hold does not compress; the others are there for the size of the tree."""
    folder = work / "switch"
    if not folder.exists():
        unfinished = work / f"switch-{time.time_ns()}"
        unfinished.mkdir()
        image = unfinished / "disk.img"
        with image.open("wb") as file:
            for number in range(IMAGE_SIZE // REGION):
                file.write((b"%08d" % number) * (REGION // 8))
        treering(unfinished, "init", "-q")
        for number in range(2):
            write_regions(image, random.Random(3), random.Random(number))
            treering(unfinished, "commit", "-q", "-m", f"commit {number}")
        unfinished.rename(folder)
    return folder


def write_regions(image: Path, places: random.Random, content: random.Random) -> None:
    with image.open("r+b") as file:
        for place in places.sample(range(0, IMAGE_SIZE // REGION, 2), REGIONS):
            file.seek(place * REGION)
            file.write(content.randbytes(REGION))


def treering(top: Path, *arguments: str) -> None:
    subprocess.run([str(TREERING), "-C", str(top), *arguments], check=True)


def switches(work: Path, rounds: int) -> None:
    """Back and forth, each after a sync: what others have written is not to be waited for."""
    folder = make_switch(work)
    targets = (["--detach", "main~1"], ["main"])
    times = []
    for number in range(2 * rounds):
        os.sync()
        target = targets[number % 2]
        times.append(run([str(TREERING), "-C", str(folder), "switch", "-q", *target])[0])
    print(f"switch, {REGIONS} regions of 4 GiB: {shown(times)}; goal 0.5 s")


def shown(times: list[float]) -> str:
    low, high = min(times), max(times)
    return f"median {statistics.median(times):.2f} s ({low:.2f} - {high:.2f})"


def start_up(rounds: int) -> None:
    times = [run([str(TREERING), "--version"])[0] for _ in range(max(rounds, 10))]
    print(f"treering --version: median {statistics.median(times) * 1000:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/treering-bench"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("what", nargs="*", default=["start", "tree", "image", "switch"])
    arguments = parser.parse_args()
    if {"tree", "image"} & set(arguments.what):
        if shutil.which("restic") is None:
            subprocess.run(["apt-get", "install", "-y", "-qq", "restic"], check=True)
        subprocess.run(["restic", "version"], check=True)
    arguments.work.mkdir(parents=True, exist_ok=True)
    for what in arguments.what:
        if what == "start":
            start_up(arguments.rounds)
        elif what == "tree":
            compare("tree", arguments.work, make_tree(arguments.work), arguments.rounds)
        elif what == "switch":
            switches(arguments.work, arguments.rounds)
        else:
            compare("image", arguments.work, make_image(arguments.work), arguments.rounds)


if __name__ == "__main__":
    main()
