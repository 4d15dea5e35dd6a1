"""Names, attributes and their marks, through a real mount."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_trees import as_somebody, fingerprint
from mounted import Mounted, mounted

RENAME_EXCHANGE = 2
LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def tree() -> Iterator[Mounted]:
    """Where every user may look."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="treering-test-"))
    folder.chmod(0o755)
    try:
        with mounted(folder) as found:
            yield found
    finally:
        shutil.rmtree(folder)


def rename_with(flags: int, old: Path, new: Path) -> None:
    if LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags) < 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def test_the_mount_shows_what_lies_below(tree: Mounted) -> None:
    (tree.top / "d").mkdir()
    (tree.top / "d" / "f").write_bytes(b"content")
    (tree.top / "l").symlink_to("d/f")
    os.mkfifo(tree.top / "p")
    os.mknod(tree.top / "dev", stat.S_IFCHR | 0o640, os.makedev(300, 70_000))
    os.link(tree.top / "d" / "f", tree.top / "hard")
    os.setxattr(tree.top / "d" / "f", "user.k", b"v")
    os.chmod(tree.top / "d" / "f", 0o4751)
    os.utime(tree.top / "l", ns=(5, 12345678901), follow_symlinks=False)
    os.utime(tree.top / "d" / "f", ns=(-5 * 10**9, -1))
    assert fingerprint(tree.top) == fingerprint(tree.backing)
    assert os.stat(tree.top / "hard").st_nlink == 2
    assert os.stat(tree.top / "dev").st_rdev == os.makedev(300, 70_000)


def test_names_are_marked_where_they_change(tree: Mounted) -> None:
    (tree.top / "a").mkdir()
    (tree.top / "b").mkdir()
    (tree.top / "a" / "f").write_bytes(b"1")
    (tree.top / "a" / "g").write_bytes(b"2")
    tree.commit()
    (tree.top / "a" / "f").rename(tree.top / "b" / "new")
    (tree.top / "a" / "g").unlink()
    os.link(tree.top / "b" / "new", tree.top / "linked")
    assert tree.ask("names") == {"a": ["f", "g"], "b": ["new"], "": ["linked"]}
    assert tree.blocks() == {}


def test_what_differs_is_known_without_a_look(tree: Mounted) -> None:
    """Also after the kernel forgot what it had looked up."""
    for name in ("kept", "written", "gone", "moved", "mode", "over", "target"):
        (tree.top / name).write_text(name)
    (tree.top / "d").mkdir()
    (tree.top / "d" / "f").write_text("f")
    tree.commit()
    Path("/proc/sys/vm/drop_caches").write_text("2")
    with (tree.top / "written").open("a") as file:
        file.write("more")
    (tree.top / "gone").unlink()
    (tree.top / "moved").rename(tree.top / "d" / "moved")
    os.chmod(tree.top / "mode", 0o700)
    (tree.top / "over").rename(tree.top / "target")
    (tree.top / "new").mkdir()
    (tree.top / "new" / "inside").touch()
    (tree.top / "d" / "f").rename(tree.top / "d" / "g")
    (tree.top / "d" / "g").rename(tree.top / "d" / "f")
    assert tree.ask("changes") == [
        ["d/moved", "new"],
        ["gone", "deleted"],
        ["mode", "modified"],
        ["moved", "deleted"],
        ["new", "new"],
        ["over", "deleted"],
        ["target", "modified"],
        ["written", "modified"],
    ]


def test_exchange_and_noreplace(tree: Mounted) -> None:
    for name in ("a", "b"):
        (tree.top / name).write_text(name)
    rename_with(2, tree.top / "a", tree.top / "b")
    assert (tree.top / "a").read_text() == "b"
    assert (tree.backing / "b").read_text() == "a"
    with pytest.raises(FileExistsError):
        rename_with(1, tree.top / "a", tree.top / "b")
    with pytest.raises(OSError, match="renameat2"):
        rename_with(4, tree.top / "a", tree.top / "c")


def test_attributes_are_marked(tree: Mounted) -> None:
    for name in ("mode", "owner", "time", "xattr", "none"):
        (tree.top / name).write_bytes(b"x")
    tree.commit()
    os.chmod(tree.top / "mode", 0o600)
    os.chown(tree.top / "owner", 1234, 77)
    os.utime(tree.top / "time", ns=(1, 2))
    os.setxattr(tree.top / "xattr", "user.a", b"b")
    (tree.top / "none").read_bytes()
    assert tree.ask("attributes") == ["mode", "owner", "time", "xattr"]
    assert tree.blocks() == {}


@pytest.mark.parametrize("name", [b"\xff\xfe", b"new\nline", b"n" * 255, "ä".encode()])
def test_names_of_any_bytes(tree: Mounted, name: bytes) -> None:
    path = os.path.join(os.fsencode(tree.top), name)  # noqa: PTH118 - bytes
    with open(path, "wb") as file:
        file.write(b"x")
    assert os.listdir(os.fsencode(tree.backing)) == [name]
    os.rename(path, path[:-1] + b"z")
    assert tree.ask("names") == {"": [os.fsdecode(name[:-1] + b"z")]}


def test_a_name_that_is_too_long(tree: Mounted) -> None:
    with pytest.raises(OSError, match="File name too long"):
        (tree.top / ("n" * 256)).write_bytes(b"")


def test_a_file_without_a_name(tree: Mounted) -> None:
    descriptor = os.open(tree.top, os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(descriptor, b"content")
    os.link(f"/proc/self/fd/{descriptor}", tree.top / "named", src_dir_fd=descriptor)
    os.close(descriptor)
    assert (tree.backing / "named").read_bytes() == b"content"
    assert tree.ask("names") == {"": ["named"]}


def test_a_deleted_open_file_lives_on(tree: Mounted) -> None:
    path = tree.top / "f"
    with path.open("w+b") as file:
        path.unlink()
        file.write(b"content")
        file.flush()
        os.ftruncate(file.fileno(), 3)
        os.fchmod(file.fileno(), 0o600)
        assert os.fstat(file.fileno()).st_nlink == 0
        assert os.pread(file.fileno(), 10, 0) == b"con"
    for _ in range(100):  # the kernel says at leisure that it was closed, and forgotten
        if tree.ask("state")["files"] == 0 and tree.blocks() == {}:
            return
        time.sleep(0.05)
    raise AssertionError("it stays open, or marked")


def test_a_folder_of_many_names(tree: Mounted) -> None:
    names = {f"file number {number}" for number in range(3000)}
    for name in names:
        (tree.backing / name).touch()
    assert set(os.listdir(tree.top)) == names
    with os.scandir(tree.top) as found:
        assert {each.name for each in found if each.stat().st_size == 0} == names


def requests_when_quiet(tree: Mounted) -> int:
    """So many were answered: the end of what was opened comes when the kernel likes."""
    found, before = tree.ask("state")["requests"], -1
    while found != before:
        time.sleep(0.05)
        found, before = tree.ask("state")["requests"], found
    return int(found)


def test_a_folder_that_did_not_change_is_not_read_again(tree: Mounted) -> None:
    """The kernel remembers its names, and asks again after each change of one."""
    folder = tree.top / "d"
    folder.mkdir()
    for number in range(300):
        (folder / f"f{number}").touch()

    def listed() -> set[str]:
        return {path.name for path in folder.iterdir()}

    def below() -> set[str]:
        return {path.name for path in (tree.backing / "d").iterdir()}

    listed()
    listed()
    before = requests_when_quiet(tree)
    assert listed() == below()
    assert tree.ask("state")["requests"] - before <= 2, "opened and closed"
    changes: tuple[Callable[[], object], ...] = (
        (folder / "new").touch,
        (folder / "f7").unlink,
        lambda: (folder / "f8").rename(folder / "moved"),
        lambda: (folder / "f9").rename(tree.top / "out"),
        lambda: (tree.top / "out").rename(folder / "in"),
        (folder / "sub").mkdir,
        (folder / "sub").rmdir,
        lambda: os.link(folder / "f1", folder / "linked"),
        lambda: os.symlink("f1", folder / "symbolic"),
        lambda: rename_with(RENAME_EXCHANGE, folder / "f2", tree.top / "d2"),
    )
    (tree.top / "d2").mkdir()
    for change in changes:
        change()
        assert listed() == below()
        assert listed() == below()


def test_who_makes_a_file_owns_it(tree: Mounted) -> None:
    os.chmod(tree.top, 0o777)
    (tree.top / "group").mkdir()
    os.chown(tree.top / "group", 0, 50)
    os.chmod(tree.top / "group", 0o2777)

    def make() -> None:
        os.umask(0o027)
        for folder in (tree.top, tree.top / "group"):
            os.close(os.open(folder / "f", os.O_CREAT | os.O_WRONLY, 0o666))
            (folder / "d").mkdir()
            (folder / "l").symlink_to("x")
            os.mkfifo(folder / "p")

    as_somebody(make)
    seen = {
        str(path.relative_to(tree.top)): (path.lstat().st_uid, path.lstat().st_gid)
        for path in sorted(tree.top.rglob("*"))
    }
    assert seen == {
        "group": (0, 50),
        **dict.fromkeys(("f", "d", "l", "p"), (1233, 1234)),
        **{f"group/{name}": (1233, 50) for name in ("f", "d", "l", "p")},
    }
    assert stat.S_IMODE((tree.top / "f").stat().st_mode) == 0o640
    assert stat.S_IMODE((tree.top / "group" / "d").stat().st_mode) == 0o2750


def test_a_write_takes_set_id_bits_away(tree: Mounted) -> None:
    path = tree.top / "f"
    path.write_bytes(b"x")
    os.chmod(path, 0o6777)
    os.chmod(tree.top, 0o777)
    as_somebody(lambda: path.open("r+b").write(b"y"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o777


def test_also_those_that_came_after_other_writes(tree: Mounted) -> None:
    """The file stays open, and is known to have none until it is given some."""
    path = tree.top / "f"
    path.write_bytes(b"x" * 10)
    os.chmod(path, 0o777)
    os.chmod(tree.top, 0o777)
    capability = bytes.fromhex("0100000200040000000000000000000000000000")

    def write_and_ask() -> None:
        with path.open("r+b", buffering=0) as file:
            for _ in range(3):
                file.write(b"y")
            for step in (b"m", b"c"):
                os.write(1, step)
                os.read(0, 1)
                file.write(b"z")

    asked, answered = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        try:
            os.dup2(asked[1], 1)
            os.dup2(answered[0], 0)
            os.closerange(3, 1000)
            os.setgid(1234)
            os.setuid(1233)
            write_and_ask()
        except BaseException:
            os._exit(1)
        os._exit(0)
    try:
        assert os.read(asked[0], 1) == b"m"
        os.chmod(path, 0o6777)
        os.write(answered[1], b".")
        assert os.read(asked[0], 1) == b"c"
        assert stat.S_IMODE(path.stat().st_mode) == 0o777
        os.setxattr(path, "security.capability", capability)
        os.write(answered[1], b".")
    finally:
        for descriptor in (*asked, *answered):
            os.close(descriptor)  # so that the child ends, come what may
        assert os.waitpid(child, 0)[1] == 0
    assert "security.capability" not in os.listxattr(tree.backing / "f")


def test_permissions_hold(tree: Mounted) -> None:
    (tree.top / "secret").write_bytes(b"x")
    os.chmod(tree.top / "secret", 0o600)

    def read() -> None:
        with pytest.raises(PermissionError):
            (tree.top / "secret").read_bytes()

    as_somebody(read)


def test_the_repository_in_it_is_apart(tree: Mounted) -> None:
    (tree.backing / ".treering" / "in").mkdir(parents=True)
    (tree.top / "f").write_bytes(b"x")
    tree.commit()
    (tree.top / ".treering" / "in" / "pack").write_bytes(b"p" * 100_000)
    (tree.top / ".treering" / "in" / "pack").rename(tree.top / ".treering" / "pack")
    assert tree.ask("names") == {}
    assert tree.blocks() == {}
    with pytest.raises(OSError, match="cross-device"):
        (tree.top / "f").rename(tree.top / ".treering" / "f")
    with pytest.raises(OSError, match="cross-device"):
        os.link(tree.top / ".treering" / "pack", tree.top / "pack")
    with pytest.raises(OSError, match="busy"):
        (tree.top / ".treering").rename(tree.top / "elsewhere")
