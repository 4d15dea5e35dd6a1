"""root:HEX, node:HEX and block:HEX name objects by the beginning of their ids."""

from __future__ import annotations

import hashlib
from itertools import count
from pathlib import Path

import pytest
from blake3 import blake3
from live_trees import Work, rsync_differences


@pytest.fixture
def ids(work: Work) -> dict[str, str]:
    """The ids of a root, of a folder in it and of the one block of a file in that."""
    work.write("d/small", b"small\n")
    work.write("d/large", hashlib.shake_128(b"").digest(200_000))
    work.commit("one")
    (folder,) = work("ls", "--json").json
    large, small = work("ls", "--json", "HEAD:d").json
    root = work("log", "--json").json[0]["root"]
    return {
        "root": root,
        "node": folder["content"],
        "block": small["content"],
        "index": large["content"],
    }


@pytest.mark.parametrize("digits", [7, 12, 64])
def test_each_is_found(work: Work, ids: dict[str, str], digits: int) -> None:
    root, node, block = (f"{kind}:{ids[kind][:digits]}" for kind in ("root", "node", "block"))
    assert ids["block"] == blake3(b"small\n").hexdigest()
    assert work("ls", root).lines == ["d/"]
    assert work("ls", f"{root}:d").lines == ["d/large", "d/small"]
    assert work("cat", f"{root}:d/small").out == "small\n"
    assert work("ls", node.replace(ids["node"][:digits], ids["node"][:digits].upper())).lines == [
        "large",
        "small",
    ]
    assert work("cat", f"{node}:small").out == "small\n"
    assert work("cat", block).out == "small\n"
    assert work("cat", "--offset", "1", "--length", "2", block).out == "ma"
    assert work("show", root).lines == ["d/"]


def test_what_names_none(work: Work, ids: dict[str, str]) -> None:
    other = "0" if ids["block"][0] != "0" else "1"
    assert "there is no block:" in work("cat", f"block:{other * 64}", code=1).err
    for wrong in (ids["block"][:6], ids["block"] + "0"):
        assert "7 to 64 hex digits" in work("cat", f"block:{wrong}", code=2).err
    assert "is not a root" in work("ls", f"root:{ids['node']}", code=2).err
    assert "is not a folder" in work("ls", f"node:{ids['index']}", code=2).err
    assert "has no paths" in work("cat", f"block:{ids['block']}:x", code=2).err
    assert "is not a file" in work("cat", f"node:{ids['node']}", code=2).err
    assert "no such path" in work("ls", f"root:{ids['root']}:never", code=1).err


def test_ambiguous_digits(work: Work) -> None:
    """Two small files whose ids begin alike, found by trying."""
    seen: dict[str, bytes] = {}
    for number in count():
        content = b"%d" % number
        start = blake3(content).hexdigest()[:7]
        if start in seen:
            break
        seen[start] = content
    work.write("a", seen[start])
    work.write("b", content)
    work.commit("one")
    found = work("cat", f"block:{start}", code=2).err
    assert f"'block:{start}' is ambiguous" in found
    assert "hint: give more digits" in found
    assert work("cat", f"block:{blake3(content).hexdigest()[:12]}").out == content.decode()


@pytest.fixture
def roots(work: Work) -> tuple[str, str]:
    """root:HEX of the two commits of a tree."""
    work.write("a", "1\n")
    work.write("d/b", "1\n")
    work.commit("one")
    work.write("a", "2\n")
    work.write("d/b", "2\n")
    work.write("d/c", "2\n")
    work.commit("two")
    one, two = (f"root:{work.root(name)[:9]}" for name in ("HEAD~1", "HEAD"))
    return one, two


def test_diff_compares_what_any_names_stand_for(work: Work, roots: tuple[str, str]) -> None:
    one, two = roots
    wanted = work("diff", "HEAD~1", "HEAD").out
    assert "+2" in wanted
    for arguments in ([one, two], ["HEAD~1", two], [one, "HEAD"], [f"{one}..{two}"]):
        assert work("diff", *arguments).out == wanted
    assert work("diff", two, two).out == ""
    for paths in (["--", "d"], ["d"]):
        found = work("diff", one, two, "--name-status", *paths)
        assert found.lines == ["M\td/b", "A\td/c"]
    node = f"node:{work.ls()['d']['content'][:12]}"
    for folder in (f"{one}:d", "HEAD~1:d"):
        assert work("diff", folder, node, "--name-status").lines == ["M\tb", "A\tc"]
    found = work("diff", one, two, "--json", "--", "a").json
    assert [change["path"] for change in found["changes"]] == ["a"]


def test_diff_of_a_root_and_the_work_tree(work: Work, roots: tuple[str, str]) -> None:
    one, two = roots
    work.write("d/c", "3\n")
    assert work("diff", "--name-status", two).lines == ["M\td/c"]
    assert work("diff", "--name-status", one).lines == ["M\ta", "M\td/b", "A\td/c"]
    assert work("diff", one).out == work("diff", "HEAD~1").out


def test_what_diff_cannot_compare(work: Work, roots: tuple[str, str]) -> None:
    one, two = roots
    assert "'HEAD:a' is not a folder" in work("diff", "HEAD:a", two, code=2).err
    assert "'HEAD:d' does not name a whole tree" in work("diff", "HEAD:d", code=2).err
    assert "there is no root:0000000" in work("diff", "root:0000000", two, code=1).err
    assert "takes one commit, or two" in work("diff", one, two, "HEAD", code=2).err
    # A file of such a name is a path, as long as nothing else is called so.
    work.write("odd:name", "x")
    assert work("diff", "--name-status", "odd:name").lines == ["A\todd:name"]


def test_restore_of_a_root(work: Work, roots: tuple[str, str], tmp_path: Path) -> None:
    one, _ = roots
    found = work("restore", "--source", one, "a").out
    assert found.startswith(f"Restored 1 file from root:{work.root('HEAD~1')[:10]}: 2 B written")
    assert (work.top / "a").read_text() == "1\n"
    work("restore", "--source", one, "--force", "--delete")
    assert work.commit("back")["root"] == work.root("HEAD~2")
    document = work("restore", "--json", "--source", one, "--target", str(tmp_path / "x")).json
    assert (document["source"], document["commit"]) == (f"root:{work.root('HEAD')}", None)
    assert not rsync_differences(tmp_path / "x", work.top)
    document = work("restore", "--json", "--source", "HEAD", "a").json
    assert document["source"] == document["commit"] == work("log", "--json").json[0]["commit"]


def test_what_restore_cannot_take(work: Work, roots: tuple[str, str]) -> None:
    one, _ = roots
    node = f"node:{work.ls()['d']['content']}"
    for text in (node, f"{one}:d", "HEAD:d"):
        found = work("restore", "--source", text, code=2).err
        assert f"'{text}' does not name a whole tree" in found
        assert "hint: give a commit or root:HEX, and paths behind it" in found
    assert "never is not in that root" in work("restore", "--source", one, "never", code=1).err


def test_a_date_in_a_revision_is_no_path(work: Work, ids: dict[str, str]) -> None:
    late = "main@{2036-11-25 10:30:00}"
    assert work("cat", f"{late}:d/small").out == "small\n"
    assert work("show", "--stat", late).out == work("show", "--stat", "HEAD").out
    assert work("ls", f"{late}:d").lines == ["d/large", "d/small"]
    assert work("blame", f"{late}:d/small").out == work("blame", "d/small").out
    assert work("stats", f"{late}:d", "--json").json["files"] == 2
    assert "names no path" in work("cat", late, code=2).err
