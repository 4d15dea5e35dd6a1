"""An ordinary user attaches a tree of their own, by fusermount3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from live_trees import NOBODY, NobodyWork
from running import Done

from treering.tracker.fuse.surroundings import mounted_on

PYTHON_TESTS = ["test_os", "test_posix", "test_mmap", "test_shutil", "test_fcntl"]
STRESSORS = ["access", "chmod", "dir", "fallocate", "flock", "hdd", "link", "open", "rename"]
STRESSORS += ["symlink", "utime", "xattr"]


@pytest.fixture
def served(nobody: NobodyWork) -> Iterator[subprocess.Popen[bytes]]:
    """The service of a tree of the user nobody, attached."""
    os.chmod("/dev/fuse", 0o666)
    reading, writing = os.pipe()
    settings = {
        "top": str(nobody.top),
        "repository": str(nobody.top / ".treering"),
        "block_size": 65536,
        "socket": str(nobody.home / "run" / "tree.sock"),
        "ready": writing,
    }
    process = subprocess.Popen(
        [nobody.python, "-m", "treering.tracker.fuse.service", json.dumps(settings)],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(nobody.home),
            "LD_LIBRARY_PATH": f"{nobody.python.parents[2]}/python/lib",
        },
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        pass_fds=[writing],
        stderr=subprocess.PIPE,
        cwd="/",
    )
    os.close(writing)
    try:
        with open(reading, "rb") as pipe:
            said = pipe.readline()
        assert said == b"{}\n", said
        yield process
    finally:
        process.kill()
        process.communicate()
        subprocess.run(["umount", "-l", nobody.top], check=False, capture_output=True)


def as_nobody(command: Sequence[str | Path], **environment: str) -> str:
    """Run it as that user; what it printed."""
    done = subprocess.run(
        command,
        cwd="/",
        env={"PATH": os.environ["PATH"], **environment},
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shell(nobody: NobodyWork, script: str) -> str:
    return as_nobody(["sh", "-ec", script], TOP=str(nobody.top))


def ask(nobody: NobodyWork, what: str) -> str:
    """One request to the driver; the reply as Python prints it."""
    script = "import sys; from pathlib import Path; "
    script += "from treering.tracker.fuse.control import ask; "
    script += f"print(ask(Path({str(nobody.home / 'run' / 'tree.sock')!r}), {what!r}))"
    libraries = f"{nobody.python.parents[2]}/python/lib"
    return as_nobody([nobody.python, "-c", script], LD_LIBRARY_PATH=libraries)


@pytest.mark.usefixtures("served")
def test_work_in_it(nobody: NobodyWork) -> None:
    said = shell(
        nobody,
        """cd "$TOP"
        umask 027
        mkdir d
        echo content > d/f
        ln d/f hard
        ln -s d/f soft
        mv d e
        chmod 4755 e/f
        stat -c '%n %h %a %U' hard
        cat soft 2>/dev/null || cat e/f
        dd if=/dev/zero of=big bs=64k count=20 2>/dev/null
        truncate -s 100 big
        setfattr -n user.a -v b big
        rm hard
        ls -A""",
    )
    assert said.splitlines() == ["hard 2 4755 nobody", "content", ".treering", "big", "e", "soft"]
    assert "'dirty': 4" in ask(nobody, "status")


@pytest.mark.usefixtures("served")
def test_commits_go_through_it(nobody: NobodyWork) -> None:
    """The repository lies in the tree, so all that a commit writes goes by way of the mount."""

    def treering(*arguments: str) -> Done:
        # Not even root may look into the mount, and a process starts where it is told as root.
        return nobody("-C", str(nobody.top), *arguments, cwd=Path("/"))

    shell(nobody, 'cd "$TOP"; echo content > f; mkdir d; echo more > d/g')
    treering("commit", "-q", "-m", "one")
    treering("fsck", "-q", "--read-data")
    assert treering("ls", "-R", "HEAD").lines == ["d/", "d/g", "f"]
    shell(nobody, 'cd "$TOP"; echo changed > f; rm d/g')
    treering("restore", "-q", "--force")
    assert shell(nobody, 'cat "$TOP/f" "$TOP/d/g"') == "content\nmore\n"


def test_detached_it_is_gone(nobody: NobodyWork, served: subprocess.Popen[bytes]) -> None:
    shell(nobody, 'echo content > "$TOP/f"')
    ask(nobody, "detach")
    served.wait(timeout=20)
    assert mounted_on(nobody.top) is None
    assert (nobody.top / "f").read_text() == "content\n"


def on_the_mount(nobody: NobodyWork, command: Sequence[str | Path]) -> str:
    folder = str(nobody.top / "work")
    libraries = f"{nobody.python.parents[2]}/python/lib"
    given = [str(argument).replace("@", folder) for argument in command]
    return as_nobody(given, TMPDIR=folder, LC_ALL="C.UTF-8", LD_LIBRARY_PATH=libraries)


@pytest.mark.usefixtures("served")
def test_what_python_expects_of_a_file_system(nobody: NobodyWork) -> None:
    """Other things than it expects as root: here permissions count."""
    shell(nobody, 'mkdir "$TOP/work"')
    python = nobody.python.parents[2] / "python" / "bin" / f"python3.{sys.version_info.minor}"
    said = on_the_mount(nobody, [python, "-m", "test", "--tempdir", "@", *PYTHON_TESTS])
    assert "Result: SUCCESS" in said


@pytest.mark.usefixtures("served")
def test_stress_ng(nobody: NobodyWork) -> None:
    shell(nobody, 'mkdir "$TOP/work"')
    for name in STRESSORS if os.environ.get("TREERING_LONG") == "1" else STRESSORS[::3]:
        options = [f"--{name}", "1", f"--{name}-ops", "30", "--timeout", "5", "--verify"]
        on_the_mount(nobody, ["stress-ng", "--temp-path", "@", *options])
    assert shell(nobody, 'touch "$TOP/work/still"; ls "$TOP"') == "work\n"
