"""`make demo`: the main job on real files of this machine, in a dozen lines.

Copies real files to a temporary folder, versions them, changes some, looks back, replicates to a
second repository and gets all of it back; then deletes everything. Usage: demo.py TREERING
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TREERING = Path(sys.argv[1]).resolve()
ENOUGH = 200 << 20
SOURCES = (Path("/usr/share"), Path("/usr/include"), Path(sysconfig.get_path("stdlib")))


def treering(folder: Path, *arguments: str) -> tuple[Any, float]:
    """Run a command with --json: its document and its time in seconds."""
    command = [str(TREERING), "-C", str(folder), *arguments, "--json"]
    environment = {**os.environ, "TREERING_AUTHOR_NAME": "Demo", "TREERING_AUTHOR_EMAIL": "demo@x"}
    started = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}exit {done.returncode}")
    return json.loads(done.stdout or "null"), time.monotonic() - started


def mib(size: float) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def real_files() -> Iterator[Path]:
    for source in SOURCES:
        for folder, _, names in os.walk(source):
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
                    yield path


def copy_real_files(target: Path) -> tuple[int, int]:
    """Copy files until there is enough: (files, bytes)."""
    files = size = 0
    for path in real_files():
        if size >= ENOUGH:
            break
        copy = target / path.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
        files += 1
        size += copy.stat().st_size
    return files, size


def change(tree: Path) -> None:
    """Append to ten files, delete ten, and write 64 KiB into the middle of the largest."""
    everything = sorted(tree.rglob("*"))
    files = [path for path in everything if path.is_file() and ".treering" not in path.parts]
    for path in files[100:110]:
        with path.open("ab") as file:
            file.write(b"one more line\n")
    for path in files[200:210]:
        path.unlink()
    largest = max(files[300:], key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        file.seek(largest.stat().st_size // 2)
        file.write(os.urandom(64 << 10))


def same(a: Path, b: Path) -> bool:
    """Whether two trees have the same files with the same bytes and times."""

    def listing(top: Path) -> dict[str, tuple[int, bytes]]:
        return {
            str(path.relative_to(top)): (path.lstat().st_mtime_ns, path.read_bytes())
            for path in top.rglob("*")
            if path.is_file() and ".treering" not in path.parts
        }

    return listing(a) == listing(b)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="treering-demo-") as folder:
        run(Path(folder))


def run(work: Path) -> None:
    tree, backup, clone = work / "tree", work / "backup", work / "clone"
    tree.mkdir()
    files, size = copy_real_files(tree)
    print(f"the tree    {files:,} real files of this machine, {mib(size)}")
    treering(tree, "init")
    first, seconds = treering(tree, "commit", "-m", "as found")
    stored = first["change"]["stored"]
    print(f"commit      {first['commit'][:10]}: {mib(stored)} stored, {seconds:.2f} s")
    change(tree)
    status, seconds = treering(tree, "status")
    print(f"change      status sees {len(status['changes'])} changes, {seconds:.2f} s")
    second, seconds = treering(tree, "commit", "-m", "after some work")
    found = second["change"]
    print(
        f"commit      {second['commit'][:10]}: {found['files']} files, {found['regions']} regions,"
        f" {mib(found['stored'])} stored, {seconds:.2f} s"
    )
    history, seconds = treering(tree, "log")
    print(f"log         {' <- '.join(entry['message'].strip() for entry in history)}")
    old = work / "old"
    result, seconds = treering(tree, "restore", "--source", "HEAD~1", "--target", str(old))
    print(f"restore     the first commit elsewhere: {result['files']:,} files, {seconds:.2f} s")
    treering(work, "init", "--bare", str(backup))
    treering(tree, "remote", "add", "origin", str(backup))
    sent, seconds = treering(tree, "push")
    print(f"push        {sent['commits']} commits, {mib(sent['bytes'])} sent, {seconds:.2f} s")
    change(tree)
    treering(tree, "commit", "-m", "a little more")
    sent, seconds = treering(tree, "push")
    print(f"push again  {sent['commits']} commit, {mib(sent['bytes'])} sent, {seconds:.2f} s")
    got, seconds = treering(work, "clone", str(backup), str(clone))
    print(f"clone       {got['files']:,} files back from the second repository, {seconds:.2f} s")
    print(f"compare     the clone {'equals' if same(tree, clone) else 'DIFFERS FROM'} the tree")
    checked, seconds = treering(backup, "fsck", "--read-data")
    print(
        f"fsck        {checked['objects']:,} objects read and verified,"
        f" {'whole' if checked['whole'] else 'DAMAGED'}, {seconds:.2f} s"
    )
    if not (same(tree, clone) and checked["whole"]):
        sys.exit("the demo failed")


if __name__ == "__main__":
    main()
