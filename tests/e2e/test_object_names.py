"""root:HEX, node:HEX and block:HEX name objects by the beginning of their ids."""

from __future__ import annotations

import hashlib
from itertools import count

import pytest
from blake3 import blake3
from live_trees import Work


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
