"""Trees that no treering makes, though each object has its id: both ends refuse them, fsck names
them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conformance.sample import (
    BLOCK,
    MAIN,
    WHO,
    Carriers,
    commit,
    commit_root,
    fetch_main,
    noise,
    put_blocks,
    put_folder,
    records,
    send_history,
)

from treering.store.directories import Folder, branch_child, leaf_child
from treering.store.errors import Corrupt, RemoteError
from treering.store.fsck import fsck
from treering.store.history import Commit, RefUpdate
from treering.store.nodes import BranchNode, Entry, EntryKind, LeafNode, encode
from treering.store.object_writer import ObjectWriter
from treering.store.remotes.base import Remote
from treering.store.repository import Repository
from treering.store.trees import encode_root

Craft = Callable[[ObjectWriter, Repository], Sequence[Entry]]
HALF, WHOLE = noise(50, 1), noise(BLOCK, 2)


def file(name: bytes, size: int, content: bytes) -> Entry:
    return Entry(name, EntryKind.FILE, 0o644, 0, 0, 0, size, 0, content)


def short_block(writer: ObjectWriter, repository: Repository) -> list[Entry]:
    return [file(b"f", 100, put_blocks(writer, repository, [HALF]))]


def long_block(writer: ObjectWriter, repository: Repository) -> list[Entry]:
    return [file(b"f", 49, put_blocks(writer, repository, [HALF]))]


def short_in_the_middle(writer: ObjectWriter, repository: Repository) -> list[Entry]:
    return [file(b"f", BLOCK + 50, put_blocks(writer, repository, [HALF, noise(50, 3)]))]


def long_at_the_end(writer: ObjectWriter, repository: Repository) -> list[Entry]:
    return [file(b"f", BLOCK + 50, put_blocks(writer, repository, [WHOLE, noise(51, 3)]))]


def right_once(writer: ObjectWriter, repository: Repository) -> list[Entry]:
    content = put_blocks(writer, repository, [HALF])
    return [file(b"a right", 50, content), file(b"wrong", 51, content)]


def split_otherwise(writer: ObjectWriter, repository: Repository) -> list[Entry]:
    content = put_blocks(writer, repository, [HALF])
    entries = [file(b"%d" % number, 50, content) for number in range(4)]
    leaves = []
    for part in (entries[:2], entries[2:]):
        leaves.append(leaf_child(part, writer.put_node(encode(LeafNode(tuple(part))))))
    branch = BranchNode(1, tuple(leaves))
    folder = branch_child(branch, writer.put_node(encode(branch)))
    found = Folder(folder.node, folder.files, folder.size)
    return [Entry(b"d", EntryKind.FOLDER, 0o755, 0, 0, 0, found.size, found.files, found.node)]


WRONG: dict[Craft, str] = {
    short_block: "has 50 bytes where a file wants 100",
    long_block: "has 50 bytes where a file wants 49",
    short_in_the_middle: f"has 50 bytes where a file wants {BLOCK}",
    long_at_the_end: "has 51 bytes where a file wants 50",
    right_once: "has 50 bytes where a file wants 51",
    split_otherwise: "is split in a way of its own",
}


def craft(source: Repository, make: Craft) -> Commit:
    """A commit of such a tree, made without treering's checks."""
    writer = source.writer()
    top = put_folder(b"", make(writer, source), writer)
    root = writer.put_node(encode_root(top, BLOCK))
    writer.finish()
    return commit_root(source, root)


each = pytest.mark.parametrize("make", WRONG)


@each
def test_a_remote_refuses_it(source: Repository, remote: Remote, make: Craft) -> None:
    good = commit(source, {"f": b"before"})
    remote.store(records(source))
    send_history(source, remote, good.id)
    assert remote.finalize([RefUpdate(MAIN, None, good.id)], WHO) == []
    made = craft(source, make)
    remote.store(records(source))
    send_history(source, remote, made.id)
    with pytest.raises(Corrupt, match=WRONG[make]):
        remote.finalize([RefUpdate(MAIN, good.id, made.id)], WHO)
    assert remote.refs() == {MAIN: good.id}
    assert remote.held([made.root]) == ["none"]


@each
@pytest.mark.parametrize("known", [False, True])
def test_a_fetch_refuses_it(
    source: Repository, carriers: Carriers, target: Repository, make: Craft, known: bool
) -> None:
    """Whether or not the blocks are here already."""
    made = craft(source, make)
    if known:
        commit(target, {"a": HALF, "b": WHOLE + noise(51, 3), "c": noise(50, 3)})
    before = target.history.refs()
    source.close()
    with pytest.raises(RemoteError, match=WRONG[make]):
        fetch_main(target, carriers.open(source.path))
    assert target.history.refs() == before
    assert target.held(made.root) == "none"


@each
def test_fsck_names_it(source: Repository, make: Craft) -> None:
    commit(source, {"f": b"before"})
    assert fsck(source).problems == []
    made = craft(source, make)
    (problem,) = fsck(source).problems
    assert made.short in problem.what and WRONG[make] in problem.what
    assert problem.keys


def test_a_block_of_zeros_is_refused(source: Repository, remote: Remote, tmp_path: Path) -> None:
    """The null id stands for it: one content would have two roots."""
    writer = source.writer()
    put_blocks(writer, source, [bytes(BLOCK)])
    writer.finish()
    with pytest.raises(Corrupt, match="zeros"):
        remote.store(records(source))
