"""`make docs`: writes cli.md, the reference of all commands, from the commands themselves.

Nothing in it depends on the terminal or the machine, so that a test can compare the page with what
`reference` returns. What every command takes is listed once, at the top.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from treering.cli.main import COMMANDS, cli

HEAD = """# Commands

What `treering COMMAND --help` says, of all commands. Written by `make docs` from the commands.
The [tutorial](tutorial.md) shows them at work.
"""
EXAMPLE = "Example:\n"

Record = tuple[str, str]
"""An option's names and what it does."""


def reference() -> str:
    """The page."""
    top = click.Context(cli, info_name="treering", **cli.context_settings)
    own, shared = options(top)
    lines = [HEAD, "| command | |", "|---|---|"]
    lines += [f"| [{name}](#treering-{name}) | {prose(COMMANDS[name])} |" for name in COMMANDS]
    lines += ["", "Before the command may stand:", "", *table(own)]
    lines += ["Before or behind any command:", "", *table(shared)]
    for name in COMMANDS:
        command = cli.get_command(top, name)
        assert command is not None
        lines += section(click.Context(command, top, info_name=name), shared, "##")
    return "\n".join(lines).rstrip() + "\n"


def options(top: click.Context) -> tuple[list[Record], list[Record]]:
    """Those that only `treering` itself takes, and those that every command takes, too."""
    first = cli.get_command(top, next(iter(COMMANDS)))
    assert first is not None
    behind = list(records(click.Context(first, top), []))
    before = list(records(top, []))
    return [one for one in before if one not in behind], [one for one in before if one in behind]


def section(ctx: click.Context, shared: list[Record], heading: str) -> Iterator[str]:
    """The lines about one command, then about those below it."""
    command = ctx.command
    yield from (f"{heading} {ctx.command_path}", "")
    usage = [ctx.command_path, *command.collect_usage_pieces(ctx)]
    yield from ("```", " ".join(usage), "```", "")
    yield from description(command.help or "")
    if own := list(records(ctx, shared)):
        yield from table(own)
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below is not None
            yield from section(click.Context(below, ctx, info_name=name), shared, heading + "#")


def records(ctx: click.Context, shared: list[Record]) -> Iterator[Record]:
    """The options of a command, less the `shared` ones."""
    for parameter in ctx.command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if isinstance(parameter, click.Option) and record and record not in shared:
            yield record


def table(some: list[Record]) -> Iterator[str]:
    yield from ("| option | |", "|---|---|")
    for names, text in some:
        code = names.replace("|", "\\|")
        yield f"| `{code}` | {prose(' '.join(text.split()))} |"
    yield ""


def description(text: str) -> Iterator[str]:
    """The paragraphs of a docstring; those that click leaves as they are, as blocks."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if not paragraph.startswith("\b\n"):
            yield from (prose(paragraph), "")
            continue
        block = paragraph.removeprefix("\b\n")
        if block.startswith(EXAMPLE):
            yield from (EXAMPLE, "```sh")
        else:
            yield "```"
        yield from inspect.cleandoc("\n" + block.removeprefix(EXAMPLE)).splitlines()
        yield from ("```", "")


def prose(text: str) -> str:
    """Text in which Markdown sees no markup but code."""
    pieces = re.split(r"(`[^`]*`)", text)
    pieces[::2] = [re.sub(r"([*<|])", r"\\\1", piece) for piece in pieces[::2]]
    return "".join(pieces)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference())
