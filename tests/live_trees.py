"""Live trees for tests: what stands on disk, seen without treering's own code.

`fingerprint` walks by lstat, read and xattrs; `rsync_differences` asks rsync. `Work` runs the real
command on one work tree, as a subprocess with a home folder of its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from running import Done, run_forked

from treering.store.repository import Repository
from treering.tracker import restore_log

PROGRAM = Path(sys.executable).parent / "treering"
NOBODY = 65534
SECOND = 10**9


class Seen(NamedTuple):
    """One path on disk. `content` is a file's digest or a link's target; `same_as` the first path
    of the same inode, for files with several names in the tree."""

    kind: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    content: bytes
    device: int
    xattrs: tuple[tuple[str, bytes], ...]
    same_as: bytes


def fingerprint(top: Path) -> dict[bytes, Seen]:
    """Everything at and below `top`, by path; the top is b"", and its `.treering` is left out."""
    found: dict[bytes, Seen] = {}
    inodes: dict[int, bytes] = {}
    base = os.fsencode(top)
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        full = os.path.join(base, path) if path else base  # noqa: PTH118 - bytes
        found[path] = _look(full, path, inodes)
        if found[path].kind == stat.S_IFDIR:
            names = sorted(name for name in os.listdir(full) if path or name != b".treering")
            waiting += [path + b"/" + name if path else name for name in reversed(names)]
    return found


def _look(full: bytes, path: bytes, inodes: dict[int, bytes]) -> Seen:
    info = os.lstat(full)
    kind = stat.S_IFMT(info.st_mode)
    content, size = b"", 0
    if kind == stat.S_IFREG:
        size = info.st_size
        content = digest(full)
    elif kind == stat.S_IFLNK:
        content = os.readlink(full)
    device = info.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
    names = sorted(os.listxattr(full, follow_symlinks=False))
    xattrs = tuple((name, os.getxattr(full, name, follow_symlinks=False)) for name in names)
    same = path
    if kind != stat.S_IFDIR and info.st_nlink > 1:
        same = inodes.setdefault(info.st_ino, path)
    mode = stat.S_IMODE(info.st_mode)
    times = info.st_mtime_ns
    return Seen(kind, mode, info.st_uid, info.st_gid, times, size, content, device, xattrs, same)


def digest(path: bytes | Path) -> bytes:
    hasher = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while piece := file.read(1 << 22):
            hasher.update(piece)
    return hasher.digest()


def rsync_differences(a: Path, b: Path) -> str:
    """What rsync would do to make `b` equal to `a`: one line a path, empty when they are equal."""
    command = ["rsync", "-aHAXnci", "--modify-window=-1", "--delete", "--exclude=/.treering"]
    done = subprocess.run(
        [*command, f"{a}/", f"{b}/"], capture_output=True, check=True, timeout=120
    )
    return done.stdout.decode("utf-8", "surrogateescape")


IDENTITY = "[user]\n\tname = Test Er\n\temail = test@example.org\n"


def make_home(folder: Path) -> Path:
    home = folder / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(IDENTITY)
    return home


def environment(home: Path) -> dict[str, str]:
    """An environment without anything of the user who runs the tests."""
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }


@dataclass
class Work:
    """A work tree and the command on it. `home` is the user's, `top` the tree."""

    home: Path
    top: Path
    wrapper: list[str] = field(default_factory=list)
    """What the command runs under: strace, say."""

    def start(self, *arguments: str | bytes, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """Start the command, its output in pipes."""
        return subprocess.Popen(
            [*self.wrapper, str(PROGRAM), *arguments],
            cwd=cwd or self.top,
            env=environment(self.home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(
        self, *arguments: str | bytes, code: int | tuple[int, ...] = 0, cwd: Path | None = None
    ) -> Done:
        """Run the command; it must end with `code`, and never with a traceback."""
        return expect(self.run(*arguments, cwd=cwd), code, arguments)

    def run(self, *arguments: str | bytes, cwd: Path | None = None) -> Done:
        """Run the command, forked if nothing wraps it."""
        if self.wrapper:
            return ended(self.start(*arguments, cwd=cwd))
        return run_forked(cwd or self.top, environment(self.home), arguments)

    def commit(self, message: str = "a commit", *arguments: str, code: int = 0) -> Any:
        """Commit; the JSON document."""
        return self("commit", "--json", "-m", message, *arguments, code=code).json

    def root(self, revision: str = "HEAD") -> str:
        """The root id of a commit."""
        (found,) = self("log", "--json", "-n", "1", revision).json
        return str(found["root"])

    def ls(self, where: str = "HEAD") -> dict[str, Any]:
        """The entries of a commit by path."""
        return {entry["path"]: entry for entry in self("ls", "-R", "--json", where).json}

    def changes(self) -> dict[str, str]:
        """Status: what differs, by path."""
        return {item["path"]: item["what"] for item in self("status", "--json").json["changes"]}

    def restored(self, target: Path, *arguments: str) -> Path:
        """Restore into another folder."""
        self("restore", "--target", str(target), *arguments)
        return target

    def write(self, path: str, content: bytes | str = b"", *, age: float | None = None) -> Path:
        """Write a file, and its folders; `age` seconds old, if given."""
        where = self.top / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(content.encode() if isinstance(content, str) else content)
        if age is not None:
            past = os.stat(where).st_mtime_ns - int(age * SECOND)
            os.utime(where, ns=(past, past))
        return where

    def traced(self, calls: str, *arguments: str, log: Path) -> list[str]:
        """Run the command under strace; its lines for these system calls, paths spelled out."""
        wrapper = ["strace", "-f", "-y", "-s", "4096", "-o", str(log), "-e", f"trace={calls}"]
        Work(self.home, self.top, wrapper)(*arguments)
        return log.read_text("utf-8", "surrogateescape").splitlines()


def parents(work: Work, revision: str = "HEAD") -> list[str]:
    (found,) = work("log", "--json", "-n1", revision).json
    return list(found["parents"])


def commit_id(work: Work, revision: str) -> str:
    (found,) = work("log", "--json", "-n1", revision).json
    return str(found["commit"])


def timeless(top: Path) -> dict[bytes, Seen]:
    """Everything below a folder, but for times."""
    return {path: seen._replace(mtime_ns=0) for path, seen in fingerprint(top).items()}


def written_bytes(lines: list[str], name: str) -> int:
    """Bytes that pwrite put into a file, by strace's log."""
    found = 0
    for line in lines:
        if "pwrite" in line and f"/{name}>" in line and (result := re.search(r"= (\d+)$", line)):
            found += int(result[1])
    return found


def finished(
    process: subprocess.Popen[bytes], code: int | tuple[int, ...], what: object = ""
) -> Done:
    """What a started command printed and said at its end, as `expect` wants it."""
    return expect(ended(process), code, what)


def ended(process: subprocess.Popen[bytes]) -> Done:
    """How a started command ends."""
    try:
        out, err = process.communicate(timeout=200)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return Done(process.returncode, out, err.decode("utf-8", "surrogateescape"))


def expect(done: Done, code: int | tuple[int, ...], what: object = "") -> Done:
    """It must have ended with `code`, and never with a traceback."""
    codes = (code,) if isinstance(code, int) else code
    assert done.code in codes, f"{what}: exit {done.code}\n{done.raw!r}\n{done.err}"
    assert "Traceback" not in done.err, done.err
    return done


@contextmanager
def python_for_all(folder: Path) -> Iterator[Path]:
    """This interpreter and its packages, in `folder`, where every user can run them: the
    interpreter itself may lie where only root may look. Needs root, for a bind mount."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base, venv = folder / "python", folder / "venv"
    for path in (base, venv / "bin", venv / "lib" / version):
        path.mkdir(parents=True)
    subprocess.run(["mount", "--bind", sys.base_prefix, base], check=True)
    try:
        (venv / "pyvenv.cfg").write_text(f"home = {base}/bin\n")
        (venv / "bin" / "python").symlink_to(base / "bin" / version)
        packages = Path(sys.prefix) / "lib" / version / "site-packages"
        (venv / "lib" / version / "site-packages").symlink_to(packages)
        yield venv / "bin" / "python"
    finally:
        subprocess.run(["umount", "-l", base], check=True)


@dataclass
class NobodyWork(Work):
    """A work tree of the user `nobody`, who runs the command with `python`."""

    python: Path = Path(sys.executable)

    def run(self, *arguments: str | bytes, cwd: Path | None = None) -> Done:
        return ended(self.start(*arguments, cwd=cwd))

    def start(self, *arguments: str | bytes, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        script = "from treering.cli.main import main; main()"
        return subprocess.Popen(
            [self.python, "-c", script, *arguments],
            cwd=cwd or self.top,
            env={
                **environment(self.home),
                "LD_LIBRARY_PATH": f"{self.python.parents[2]}/python/lib",
                "XDG_RUNTIME_DIR": str(self.home),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )


def as_somebody(action: Callable[[], object]) -> None:
    """Run it as user 1233 of group 1234; it must not fail."""
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(1234)
            os.setuid(1233)
            action()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@contextmanager
def meanwhile(step: Callable[[], None]) -> Iterator[None]:
    """Runs `step` over and over in a thread; an error in it fails the test."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def loop() -> None:
        try:
            while not stop.is_set():
                step()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]


def touch(path: Path, mtime_ns: int) -> None:
    os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)


def build(top: Path, files: Mapping[str, bytes], mtime_ns: int = 1_600_000_000 * SECOND) -> None:
    """Make files in the given order, then give everything below `top` the same time."""
    for name, content in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    settle(top, mtime_ns)


def settle(top: Path, mtime_ns: int = 1_600_000_000 * SECOND) -> None:
    """Give everything at and below `top`, but `.treering`, the same time."""
    for folder, folders, names in os.walk(top, topdown=True):
        folders[:] = [name for name in folders if name != ".treering"]
        for name in (*folders, *names):
            touch(Path(folder, name), mtime_ns)
    touch(top, mtime_ns)


def begin_restore(repository: Path, commit: str) -> None:
    """As if a restore of all of a commit had been killed when it began."""
    opened = Repository(repository)
    restore_log.begin(opened, restore_log.Restore(commit, (), False))
    opened.close()
