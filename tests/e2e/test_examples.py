"""The examples of every --help run as they are written.

Those of one command are run by one bash, in their order, in a fresh copy of one prepared folder:
`tree` with seven commits on main, the branch experiment, tags, a new file, and the remotes origin
and backup. The folder is put back to where it was made, so that the paths of remotes stay true.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from attached_trees import away, take_off
from faulting import copy
from live_trees import PROGRAM, Work, build, environment, make_home

from treering.cli.main import cli


def examples(ctx: click.Context) -> Iterator[tuple[str, str]]:
    """(command, its examples) for the commands below this one that have any."""
    group = ctx.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        below = click.Context(command, ctx, info_name=name)
        _, heading, text = command.get_help(below).partition("Example:\n")
        if heading:
            yield below.command_path, text.partition("\n\n")[0]
        if isinstance(command, click.Group):
            yield from examples(below)


ON_ATTACHED = ("treering detach", "treering driver", "treering driver status", "treering maps")
FROM_OUTSIDE = ("treering attach", "treering detach")
EXAMPLES = list(examples(click.Context(cli, info_name="treering")))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, the copy of which beside it is what every test starts with."""
    folder = tmp_path_factory.mktemp("examples") / "ada"
    top = folder / "tree"
    top.mkdir(parents=True)
    work = Work(make_home(folder), top)
    work("init", "-q")
    fill(work)
    add_remotes(work)
    work.write("photos/new.jpg", "not committed")
    copy(folder, folder.with_name("template"))
    return folder


def fill(work: Work) -> None:
    """Seven commits on main, the last but one is where the branch experiment parts."""
    build(work.top, {"notes.txt": b"notes", "photos/2024/a.jpg": b"a", "disk.img": b"boot"})
    with (work.top / "disk.img").open("r+b") as disk:
        disk.truncate(2 << 30)
    work.commit("first")
    for number in range(5):
        work.write("notes.txt", f"notes\n{number}\n")
        work.write(f"photos/2024/{number}.jpg", f"photo {number}")
        work.commit(f"photo {number}")
    work("switch", "-q", "-c", "experiment")
    work.write("tried.txt", "tried")
    work.commit("an experiment")
    work("switch", "-q", "main")
    work.write("photos/2025/b.jpg", "b")
    work.commit("a new year")


def add_remotes(work: Work) -> None:
    work("tag", "v0.9", "HEAD~2")
    for name, path in (("origin", "photos"), ("backup", "more")):
        bare = work.top.parent / "backup" / path
        work("init", "-q", "--bare", str(bare))
        work("remote", "add", name, str(bare))
    work("push", "-q", "backup", "main~1:main", "experiment")
    work("push", "-q", "-u", "origin", "main")


@pytest.mark.parametrize(("command", "text"), EXAMPLES, ids=[path for path, _ in EXAMPLES])
def test_examples_run_as_they_are_written(prepared: Path, command: str, text: str) -> None:
    shutil.rmtree(prepared)
    copy(prepared.with_name("template"), prepared)
    with attached_for(command, Work(prepared / "home", prepared / "tree")):
        run(prepared, command, text)


@contextmanager
def attached_for(command: str, work: Work) -> Iterator[None]:
    """The tree attached, for commands that ask its driver."""
    try:
        if command in ON_ATTACHED:
            away(work, "attach")
        yield
    finally:
        take_off(work.top)


def run(prepared: Path, command: str, text: str) -> None:
    found = environment(prepared / "home")
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", text],
        cwd=prepared if command in FROM_OUTSIDE else prepared / "tree",
        env={**found, "PATH": f"{PROGRAM.parent}:{found['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    assert f"+ {command}" in done.stderr
    assert "Traceback" not in done.stderr
