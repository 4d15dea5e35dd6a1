"""blame of merges, commits made at the level of the history."""

from __future__ import annotations

from collections.abc import Mapping

from support import BLOCK, Memory, put_tree

from treering.cli.blame_bar import bar_lines
from treering.store.history import Person, RefUpdate
from treering.store.ids import NodeId
from treering.store.repository import Repository
from treering.store.root_record import RootRecord
from treering.tracker.blame import Blame


class Branches:
    """Commits of one file each, on branches."""

    def __init__(self, repository: Repository) -> None:
        self.memory = Memory()
        self.history = repository.history

    def commit(self, title: str, branch: str, parents: list[str], tree: Mapping[bytes, str]) -> str:
        """Blocks are written as letters."""
        files = {name: b"".join(map(block, letters)) for name, letters in tree.items()}
        root = NodeId(self.memory.put_root(put_tree(self.memory, files)))
        who = Person("A", "a@example.org", 1_000_000)
        ref = f"refs/heads/{branch}"
        if parents and self.history.ref(ref) is None:
            self.history.update_refs([RefUpdate(ref, None, parents[0])], who, "branch")
        made = self.history.create_commit(RootRecord(root), parents, who, who, f"{title}\n", ref)
        return made.id

    def blame(self, commit: str, path: bytes) -> list[tuple[int, int, str]]:
        """(first block, blocks, title) of each region."""
        found = Blame(self.memory, self.history, BLOCK)(self.history.commit(commit), path)
        return [(r.offset // BLOCK, r.length // BLOCK, r.commit.title) for r in found]


def block(letter: str) -> bytes:
    return letter.encode() * BLOCK


def test_a_merge_takes_each_block_from_the_side_that_has_it(repository: Repository) -> None:
    made = Branches(repository)
    base = made.commit("base", "main", [], {b"f": "aaaaaa"})
    ours = made.commit("ours", "main", [base], {b"f": "aXaaaa"})
    theirs = made.commit("theirs", "side", [base], {b"f": "aaaYaa"})
    merge = made.commit("merge", "main", [ours, theirs], {b"f": "aXaYaM"})
    assert made.blame(merge, b"f") == [
        (0, 1, "base"),
        (1, 1, "ours"),
        (2, 1, "base"),
        (3, 1, "theirs"),
        (4, 1, "base"),
        (5, 1, "merge"),
    ]


def test_what_both_sides_wrote_alike_is_of_the_first_parent(repository: Repository) -> None:
    made = Branches(repository)
    base = made.commit("base", "main", [], {b"f": "aa"})
    ours = made.commit("ours", "main", [base], {b"f": "aX"})
    theirs = made.commit("theirs", "side", [base], {b"f": "aX"})
    merged = {b"f": "aX"}
    assert made.blame(made.commit("m", "main", [ours, theirs], merged), b"f")[1][2] == "ours"
    assert made.blame(made.commit("m", "side", [theirs, ours], merged), b"f")[1][2] == "theirs"


def test_a_file_of_one_side_is_blamed_on_that_side(repository: Repository) -> None:
    made = Branches(repository)
    base = made.commit("base", "main", [], {b"f": "a"})
    ours = made.commit("ours", "main", [base], {b"f": "b"})
    theirs = made.commit("theirs", "side", [base], {b"f": "a", b"g": "cd"})
    longer = made.commit("longer", "side", [theirs], {b"f": "a", b"g": "cde"})
    merge = made.commit("merge", "main", [ours, longer], {b"f": "b", b"g": "cde"})
    assert made.blame(merge, b"g") == [(0, 2, "theirs"), (2, 1, "longer")]
    assert made.blame(merge, b"f") == [(0, 1, "ours")]


def test_a_rename_on_one_side_is_followed_through_the_merge(repository: Repository) -> None:
    made = Branches(repository)
    base = made.commit("base", "main", [], {b"f": "ab"})
    ours = made.commit("ours", "main", [base], {b"f": "ab", b"other": "z"})
    theirs = made.commit("theirs", "side", [base], {b"g": "ab"})
    merge = made.commit("merge", "main", [ours, theirs], {b"g": "ab", b"other": "z"})
    assert made.blame(merge, b"g") == [(0, 2, "base")]


def test_commits_of_one_second_are_ranked_by_their_order(repository: Repository) -> None:
    made = Branches(repository)
    first = made.commit("first", "main", [], {b"f": "abcdef"})
    second = made.commit("second", "main", [first], {b"f": "aBcdef"})
    third = made.commit("third", "main", [second], {b"f": "aBCDef"})
    found = Blame(made.memory, made.history, BLOCK)(made.history.commit(third), b"f")
    ranks = {region.commit.title: region.rank for region in found}
    assert ranks == {"third": 0, "second": 1, "first": 2}
    legend = [line for line in bar_lines(found) if line[0] == " "]
    assert [line.split()[-1] for line in legend] == ["third", "second", "first"]
