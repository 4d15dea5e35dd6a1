"""blame: which commit last wrote each region."""

from __future__ import annotations

import random

import pytest
from live_trees import Work

BLOCK = 65536


@pytest.fixture
def image(work: Work) -> Work:
    """A file of eight blocks - two of them a hole - written in three commits, and renamed."""
    data = bytearray(random.Random(5).randbytes(8 * BLOCK))
    data[2 * BLOCK : 4 * BLOCK] = bytes(2 * BLOCK)
    work.write("disk", bytes(data))
    work.commit("made")
    data[0:5] = b"begin"
    work.write("disk", bytes(data))
    work.commit("the beginning")
    data[6 * BLOCK] ^= 1
    work.write("disk", bytes(data) + b"more")
    work.commit("the end")
    (work.top / "disk").rename(work.top / "image")
    work.commit("renamed")
    return work


EXPECTED = [
    (0, BLOCK, "the beginning", False),
    (BLOCK, BLOCK, "made", False),
    (2 * BLOCK, 2 * BLOCK, "made", True),
    (4 * BLOCK, 2 * BLOCK, "made", False),
    (6 * BLOCK, BLOCK, "the end", False),
    (7 * BLOCK, BLOCK, "made", False),
    (8 * BLOCK, 4, "the end", False),
]


def regions(work: Work, *arguments: str) -> list[tuple[int, int, str, bool]]:
    document = work("blame", "--json", *arguments).json
    titles = {commit["commit"]: commit["message"].strip() for commit in document["commits"]}
    return [
        (found["offset"], found["length"], titles[found["commit"]], found["hole"])
        for found in document["regions"]
    ]


def test_each_region_has_the_commit_that_wrote_it(image: Work) -> None:
    assert regions(image, "image") == EXPECTED
    assert regions(image, "HEAD~1:disk") == EXPECTED
    assert regions(image, "HEAD~1", "--", "disk") == EXPECTED
    assert {title for _, _, title, _ in regions(image, "HEAD~3:disk")} == {"made"}


def test_table(image: Work) -> None:
    lines = image("blame", "image").lines
    assert [line.split()[0] for line in lines] == [f"{a}+{b}" for a, b, _, _ in EXPECTED]
    assert lines[0].endswith("Test Er  the beginning")
    assert lines[2].endswith("made  (hole)")


def test_bar_has_a_letter_for_each_commit(image: Work) -> None:
    lines = image("blame", "--bar", "image").lines
    assert len(lines[0]) == 80
    letters = [letter for number, letter in enumerate(lines[0][1:-1]) if number % 10 == 4]
    assert letters == ["B", "C", ".", ".", "C", "C", "A", "C"]
    assert [line.split()[0] for line in lines[1:]] == ["A", "B", "C", "."]
    assert lines[2].endswith("the beginning")


def test_an_empty_file_has_no_regions(image: Work) -> None:
    image.write("empty", "")
    image.commit("empty")
    assert image("blame", "empty").lines == []
    assert image("blame", "--bar", "empty").lines == []


def test_what_cannot_be_blamed(image: Work) -> None:
    assert "no such file: never" in image("blame", "never", code=1).err
    assert "unknown revision 'gone'" in image("blame", "gone:image", code=1).err
    assert ". is a folder" in image("blame", "HEAD:", code=2).err
    image("blame", code=2)
    image.write("d/file", "x")
    (image.top / "link").symlink_to("image")
    image.commit("more")
    for name, kind in (("d", "folder"), (".", "folder"), ("link", "symlink")):
        found = image("blame", name, code=2).err
        assert f"{name} is a {kind}, and blame takes a file" in found
        assert "hint: see which commits changed it with: treering log -- PATH" in found


def test_a_range_stops_at_what_is_left_out(image: Work) -> None:
    base = image("log", "--json", "HEAD~2").json[0]
    begun = base["message"].strip()
    assert begun == "the beginning"
    wanted = [
        (0, 2 * BLOCK, begun, False),
        (2 * BLOCK, 2 * BLOCK, begun, True),
        (4 * BLOCK, 2 * BLOCK, begun, False),
        (6 * BLOCK, BLOCK, "the end", False),
        (7 * BLOCK, BLOCK, begun, False),
        (8 * BLOCK, 4, "the end", False),
    ]
    for arguments in (["HEAD~2..", "image"], ["HEAD~2..HEAD", "--", "image"]):
        assert regions(image, *arguments) == wanted
    older = [
        found["older"] for found in image("blame", "--json", "HEAD~2..", "image").json["regions"]
    ]
    assert older == [title == begun for _, _, title, _ in wanted]
    lines = image("blame", "HEAD~2..", "image").lines
    assert [f" ^{base['commit'][:9]} " in line for line in lines] == older
    assert f" ^{base['commit'][:9]} " in image("blame", "--bar", "HEAD~2..", "image").out
    assert "write it as HEAD~2..HEAD" in image("blame", "HEAD~2...HEAD", "image", code=2).err
    assert {title for _, _, title, _ in regions(image, "HEAD..HEAD~1", "disk")} == {"the end"}


def test_no_commits(work: Work) -> None:
    assert "there are no commits yet" in work("blame", "x", code=1).err


def test_names_that_are_not_utf8(work: Work) -> None:
    name = b"na\xffme".decode("utf-8", "surrogateescape")
    work.write(name, "x")
    work.commit("odd")
    assert work("blame", "--json", name).json["path_b64"]
    assert work("blame", name).lines[0].endswith("odd")
