"""What blame, find and log -- PATH share: revisions that name nothing or too much, a detached HEAD,
paths that never were, and damage on the way."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from itertools import count

import pytest
from live_trees import Work
from running import Done

from treering.store.ids import NODE_PREFIX
from treering.store.packfile import read_footer

COMMANDS = (["blame", "d/f"], ["find", "f"], ["log", "--oneline", "--", "d/f"])
WITH_REVISION: list[Callable[[str], list[str]]] = [
    lambda revision: ["blame", revision, "--", "d/f"],
    lambda revision: ["blame", f"{revision}:d/f"],
    lambda revision: ["find", "f", revision],
    lambda revision: ["log", "--oneline", revision, "--", "d/f"],
]


@pytest.fixture
def three(work: Work) -> Work:
    """Three commits of d/f; the last has a file `c` as well, of a name that could be an id."""
    work.write("d/f", "1")
    work.write("d/same", "0")
    work.commit("one")
    work.write("d/f", "22")
    work.commit("two")
    work.write("d/f", "333")
    work.write("c", "late")
    work.commit("three")
    return work


def one_line(done: Done, text: str) -> None:
    lines = done.err.splitlines()
    assert [line for line in lines if not line.startswith("hint: ")] == [f"treering: {text}"]


@pytest.mark.parametrize("arguments", COMMANDS)
def test_no_commits_yet(work: Work, arguments: list[str]) -> None:
    one_line(work(*arguments, code=1), "there are no commits yet")


@pytest.mark.parametrize("arguments", WITH_REVISION)
def test_a_revision_that_names_nothing(three: Work, arguments: Callable[[str], list[str]]) -> None:
    for revision in ("gone", "main~9", "c", "0123456789", "f" * 40):
        one_line(three(*arguments(revision), code=1), f"unknown revision '{revision}'")


@pytest.mark.parametrize("arguments", WITH_REVISION)
def test_a_revision_that_names_two_objects(
    three: Work, arguments: Callable[[str], list[str]]
) -> None:
    head = three("log", "--json").json[0]["commit"][:4]
    twin = next(text for text in map(b"%d".__mod__, count()) if blob_id(text).startswith(head))
    subprocess.run(
        ["git", "-C", str(three.top / ".treering" / "history"), "hash-object", "-w", "--stdin"],
        input=twin,
        capture_output=True,
        check=True,
    )
    done = three(*arguments(head), code=2)
    one_line(done, f"revision '{head}' is ambiguous")
    assert "hint: write more of its digits" in done.err


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%s" % (len(content), content)).hexdigest()


def test_a_path_that_never_was(three: Work) -> None:
    one_line(three("blame", "d/never", code=1), "no such file: d/never")
    one_line(three("find", "never", code=1), "nothing in history ever fitted 'never'")
    assert three("log", "--oneline", "--", "d/never").raw == b""
    assert three("log", "--json", "--", "d/never").json == []
    done = three("log", "d/never", code=1)
    one_line(done, "unknown revision 'd/never', and no such path in the work tree")


def test_on_a_detached_head(three: Work) -> None:
    three("switch", "-q", "--detach", "HEAD~1")
    assert three("blame", "d/f").out.endswith("two\n")
    assert three("blame", "main:d/f").out.endswith("three\n")
    titles = [line.split()[-1] for line in three("log", "--oneline", "--", "d/f").lines]
    assert titles == ["two", "one"]
    assert three("log", "--oneline", "--", "c").lines == []
    one_line(three("blame", "c", code=1), "no such file: c")
    assert len(three("find", "c").lines) == 1  # of main
    one_line(three("find", "c", "HEAD", code=1), "nothing in HEAD ever fitted 'c'")
    three.write("d/f", "4444")
    three.commit("of no branch")
    (row,) = three("find", "f", "--json").json
    assert row["last"] in {commit["commit"] for commit in three("log", "--json", "--all").json}
    assert three("blame", "d/f").out.endswith("of no branch\n")


@pytest.mark.parametrize("of_the_root", [True, False])
def test_a_damaged_node_on_the_way(three: Work, of_the_root: bool) -> None:
    """Of the first commit: what follows is whole. The bad object leaves the index when it is met:
    that is no less damage for the next command."""
    root = bytes.fromhex(three("log", "--json").json[-1]["root"].split(":")[-1])
    damage(three, root, of_the_root)
    said = []
    for arguments in (["blame", "d/same"], ["find", "f"], ["log", "--oneline", "--", "d/same"]):
        line, hint = three(*arguments, code=12).err.splitlines()
        assert hint.startswith("hint: see what")
        said.append(line)
    assert all(line.startswith("treering: node:") for line in said)
    assert "is damaged" in said[0]
    assert said[2].endswith("is not in this repository")
    assert three("blame", "c").out.endswith("three\n")


def damage(work: Work, root: bytes, of_the_root: bool) -> None:
    """Flip a bit in the root node, or in all other nodes, of the pack that has the root."""
    for pack in (work.top / ".treering" / "packs").iterdir():
        entries = read_footer(pack)
        if root not in {entry.key[1:] for entry in entries}:
            continue
        content = bytearray(pack.read_bytes())
        for entry in entries:
            if entry.key[:1] == NODE_PREFIX and (entry.key[1:] == root) == of_the_root:
                content[entry.offset + entry.stored // 2] ^= 4
        pack.chmod(0o600)
        pack.write_bytes(content)
