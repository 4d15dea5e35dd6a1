"""The documents say what the program does: their `console` blocks are run, their links followed.

A `console` block is a session. Lines that start with `$ ` are run by one bash for each file, all
blocks in order, in an empty home folder that the document calls /home/ada; what follows a command
is what it printed. `...` stands for anything within a line; ids, sizes, ratios, durations and
dates may be others than those written down. A command that fails is followed by `$ echo $?`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import click
import pytest
from attached_trees import take_off

from treering.cli.main import COMMANDS, cli
from treering.tracker.fuse.mount import KIND
from treering.tracker.fuse.surroundings import mounts

TOP: Final = Path(__file__).resolve().parent.parent
GUIDES: Final = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
PAGES: Final = [*GUIDES, TOP / "CHANGELOG.md"]
HOME: Final = "/home/ada"
MARK: Final = "--- end of command"
FENCE: Final = re.compile(r"```(\w*)\s*")
LINK: Final = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(#[^)\s]*)?\)")
VARYING: Final = (
    (re.compile(r"\b\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4} [+-]\d{4}"), "DATE"),
    (re.compile(r"\b\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?\b"), "DATE"),
    (re.compile(r"\b\d[\d.,]* ?(?:B|[KMGT]iB|s|min|h|x)\b"), "N"),
    (re.compile(r"\b[0-9a-f]{7,64}\b"), "HEX"),
)
"""What differs from run to run, and what it is compared as."""
GENERATED: Final = frozenset({"build", "__pycache__"})
REGISTRIES: Final = tuple(
    name + "." + end
    for name, end in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("crates", "io"),
        ("proxy.golang", "org"),
        ("rubygems", "org"),
        ("anaconda", "org"),
        ("docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
    )
)


class Step(NamedTuple):
    """A command of a document, at a line, and what should follow it."""

    line: int
    command: str
    expected: list[str]


class Ran(NamedTuple):
    """What a command printed, and its exit code."""

    printed: list[str]
    status: int


def blocks(path: Path, kind: str) -> Iterator[tuple[int, list[str]]]:
    """(number of the first line, lines) of the fenced blocks of one kind."""
    fence = None
    start = 0
    lines: list[str] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = FENCE.fullmatch(line)
        if fence is None and found:
            fence, start, lines = found[1], number + 1, []
        elif fence is not None and found:
            if fence == kind:
                yield start, lines
            fence = None
        else:
            lines.append(line)
    assert fence is None, f"{path.name}: a block is not closed"


def steps(path: Path) -> list[Step]:
    found: list[Step] = []
    for start, lines in blocks(path, "console"):
        assert lines and lines[0].startswith("$ "), f"{path.name}:{start}: no command"
        for number, line in enumerate(lines, start):
            if line.startswith("$ "):
                found.append(Step(number, line[2:], []))
            else:
                found[-1].expected.append(line)
    return found


COMMITS: Final = re.compile(r"treering (-C \S+ )?(commit|merge)\b")
NEXT_SECOND: Final = "__now=$EPOCHSECONDS; while [ $EPOCHSECONDS = $__now ]; do sleep 0.05; done\n"
"""Commits of one second have no order among branches, and a log could print either one first."""


def run(session: list[Step], home: Path) -> list[Ran]:
    """Run the commands in one shell. Each sees the exit code of the one before it as $?."""
    script = "exec 2>&1\n" + "".join(
        f"{step.command}\n__status=$?\nprintf '\\n{MARK} %s\\n' $__status\n"
        f"{NEXT_SECOND if COMMITS.match(step.command) else ''}(exit $__status)\n"
        for step in session
    )
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "GIT_CONFIG_NOSYSTEM": "1",
        "TREERING_AUTHOR_NAME": "Ada Lovelace",
        "TREERING_AUTHOR_EMAIL": "ada@example.org",
    }
    done = subprocess.run(
        ["bash", "-s"],
        input=script,
        env=environment,
        cwd=home,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=240,
    )
    pieces = re.split(rf"^{MARK} (\d+)\n", done.stdout, flags=re.MULTILINE)
    printed, codes = pieces[:-1:2], pieces[1::2]
    return [
        Ran(text.replace(str(home), HOME).rstrip("\n").splitlines(), int(code))
        for text, code in zip(printed, codes, strict=True)
    ]


def settled(line: str) -> str:
    """A line with what differs from run to run replaced."""
    for pattern, name in VARYING:
        line = pattern.sub(name, line)
    return line.rstrip()


def fits(expected: str, printed: str) -> bool:
    pattern = ".*".join(map(re.escape, settled(expected).split("...")))
    return re.fullmatch(pattern, settled(printed)) is not None


def slug(heading: str) -> str:
    """The anchor that forges give a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return "#" + kept.replace(" ", "-")


def prose(path: Path) -> list[str]:
    """The lines of a page outside of its fenced blocks."""
    inside = False
    found = []
    for line in path.read_text().splitlines():
        if FENCE.fullmatch(line):
            inside = not inside
        elif not inside:
            found.append(line)
    return found


def anchors(path: Path) -> set[str]:
    return {slug(line.lstrip("#")) for line in prose(path) if line.startswith("#")}


@pytest.mark.parametrize(
    "path", [path for path in GUIDES if steps(path)], ids=lambda path: path.stem
)
def test_console_blocks_print_what_they_say(path: Path, tmp_path: Path) -> None:
    session = steps(path)
    try:
        results = run(session, tmp_path)
    finally:
        for mount in mounts():
            if mount.kind == KIND and mount.point.startswith(os.fsencode(tmp_path)):
                take_off(Path(os.fsdecode(mount.point)))
    assert len(results) == len(session)
    following = [step.command for step in session[1:]] + [""]
    for step, ran, after in zip(session, results, following, strict=True):
        where = f"{path.name}:{step.line}: $ {step.command}"
        expected = "\n".join(step.expected).rstrip("\n").splitlines()
        same = len(expected) == len(ran.printed) and all(map(fits, expected, ran.printed))
        assert same, "\n".join([where, "printed:", *ran.printed, "and not:", *expected])
        assert ran.status == 0 or after == "echo $?", f"{where}\nexit {ran.status}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in LINK.findall("\n".join(prose(path))):
        if "://" in target:
            continue
        goal = (path.parent / target).resolve() if target else path
        assert goal.exists(), f"{path.name} links to {target}"
        if anchor:
            assert anchor in anchors(goal), f"{path.name} links to {target}{anchor}"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_an_example(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    text = command.get_help(click.Context(command, info_name=name))
    _, heading, rest = text.partition("Example:\n")
    assert heading, text
    assert rest.strip().startswith(f"treering {name}"), text


def test_the_reference_says_what_the_commands_say(tmp_path: Path) -> None:
    made = tmp_path / "cli.md"
    # In a process of its own: click keeps in a command what the first context made of it.
    subprocess.run([sys.executable, TOP / "docs" / "make_cli.py", made], check=True)
    assert (TOP / "docs" / "cli.md").read_text() == made.read_text(), "cli.md is old: make docs"


def glossary() -> list[list[str]]:
    """The rows of the glossary's tables, less heads and rulers."""
    lines = prose(TOP / "docs" / "glossary.md")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return [row for row in rows if row[0] != "word" and not set(row[0]) <= set("-")]


@pytest.mark.parametrize("row", glossary(), ids=lambda row: row[0])
def test_words_live_where_the_glossary_says(row: list[str]) -> None:
    _, meaning, where = row
    assert meaning.endswith(".")
    paths = re.findall(r"`([^`]+)`", where)
    assert paths
    for path in paths:
        assert path.endswith((".py", "/")), path
        assert (TOP / path).exists(), path


def own_files() -> Iterator[Path]:
    """All files of the project, less what tools make."""
    for folder, names, files in os.walk(TOP):
        names[:] = [
            name
            for name in names
            if name not in GENERATED
            and not name.endswith(".egg-info")
            and not (name.startswith(".") and name != ".ci")
        ]
        yield from (Path(folder, name) for name in files)


def test_no_package_registry_is_named() -> None:
    hosts = [host.encode() for host in REGISTRIES]
    for path in own_files():
        if path.is_file():
            content = path.read_bytes()
            named = [host.decode() for host in hosts if host in content]
            assert not named, f"{path.relative_to(TOP)} names {named}"
