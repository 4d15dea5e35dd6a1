"""Status agrees with what a commit would do, and changes nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from live_trees import Work, build, fingerprint, settle, touch


@pytest.fixture
def clean(work: Work) -> Work:
    build(work.top, {"a": b"aaaa", "d/b": b"b", "d/e/c": b"c", "gone": b"g"})
    os.symlink("a", work.top / "link")
    os.mkfifo(work.top / "fifo")
    settle(work.top)
    work.commit()
    return work


def test_before_the_first_commit(work: Work) -> None:
    assert work("status").lines[:2] == ["On branch main", "No commits yet"]
    work.write("a", "x")
    assert "        new:        a" in work("status").lines
    assert work("status", "--json").json["head"] is None


def test_clean_after_a_commit(clean: Work) -> None:
    assert clean("status").out == "On branch main\nnothing to commit, work tree clean\n"
    found = clean("status", "--json").json
    assert (found["changes"], found["touched_folders"]) == ([], 0)
    assert found["head"] == clean("log", "--json").json[0]["commit"]


def test_each_kind_of_change_is_one_line(clean: Work) -> None:
    top = clean.top
    clean.write("a", "bbbb")
    (top / "gone").unlink()
    clean.write("new", "x")
    clean.write("new folder/with/much", "x")
    clean.write("new folder/inside", "x")
    (top / "d").chmod(0o700)
    touch(top / "d" / "b", 5)
    (top / "link").unlink()
    os.symlink("b", top / "link")
    (top / "fifo").chmod(0o600)
    (top / "d" / "e" / "c").unlink()
    (top / "d" / "e" / "c").mkdir()
    assert clean("status").lines == [
        "On branch main",
        "Changes since the last commit:",
        "        modified:   a",
        "        modified:   d/",
        "        modified:   d/b",
        "        modified:   d/e/c/",
        "        modified:   fifo",
        "        deleted:    gone",
        "        modified:   link",
        "        new:        new",
        "        new:        new folder/",
        "2 folders with a new modification time",
    ]
    clean.commit()
    assert clean.changes() == {}


def test_owner_xattr_and_content_behind_the_same_stat(clean: Work) -> None:
    os.setxattr(clean.top / "a", "user.x", b"1")
    os.chown(clean.top / "gone", 5, 6)
    info = (clean.top / "d" / "b").stat()
    (clean.top / "d" / "b").write_text("B")
    touch(clean.top / "d" / "b", info.st_mtime_ns)
    shutil.copy2(clean.top / "d" / "e" / "c", clean.top / "c2")
    os.replace(clean.top / "c2", clean.top / "d" / "e" / "c")  # an equal file, another inode
    touch(clean.top / "d" / "e", info.st_mtime_ns)
    assert clean.changes() == {"a": "modified", "gone": "modified", "d/b": "modified"}


def test_a_touched_folder_is_counted(clean: Work) -> None:
    touch(clean.top / "d", 77)
    assert clean("status").lines == ["On branch main", "1 folder with a new modification time"]
    assert clean.commit()["committed"] is True
    assert clean("status").lines[-1] == "nothing to commit, work tree clean"


def test_regions(work: Work) -> None:
    content = os.urandom(10 * 65536 + 100)
    path = work.write("disk", content)
    work.write("same", content)
    work.commit()
    with path.open("r+b") as file:
        for offset in (5, 3 * 65536, 4 * 65536 + 9, len(content) - 1):
            file.seek(offset)
            file.write(bytes([content[offset] ^ 255]))
    lines = work("status", "--regions").lines
    assert lines[2:] == [
        "        modified:   disk",
        "            0+65536 disk",
        "            196608+131072 disk",
        "            655360+100 disk",
    ]
    (item,) = work("status", "--regions", "--json").json["changes"]
    assert item["regions"] == [
        {"offset": 0, "length": 65536},
        {"offset": 196608, "length": 131072},
        {"offset": 655360, "length": 100},
    ]
    assert work.commit()["change"]["regions"] == 3


def test_odd_names_are_quoted_as_git_does(work: Work) -> None:
    for name in (b"new\nline", b"\xff", "ü".encode(), b'"'):
        work.write(os.fsdecode(name), "x")
    lines = work("status").lines
    assert '        new:        "new\\nline"' in lines
    assert '        new:        "\\377"' in lines
    assert "        new:        ü" in lines
    assert '        new:        "\\""' in lines
    assert b"new:        \xff\n" in work("status", "-z").raw
    found = {item["path"]: item for item in work("status", "--json").json["changes"]}
    assert found["\ufffd"]["path_b64"] == "/w=="
    assert "path_b64" not in found["ü"]


def test_status_changes_nothing(clean: Work, tmp_path: Path) -> None:
    clean.write("a", "changed")
    before = fingerprint(clean.top)
    refs = clean("log", "--json").out
    packs = sorted((clean.top / ".treering" / "packs").iterdir())
    clean("status", "--regions")
    assert fingerprint(clean.top) == before
    assert clean("log", "--json").out == refs
    assert sorted((clean.top / ".treering" / "packs").iterdir()) == packs
