"""Arguments that are revisions first and paths then, told apart as Git does: by `--`, or by what
they name."""

from __future__ import annotations

import os
from collections.abc import Callable

import click

from ..store.errors import InvalidInput, NotFound, TreeringError
from .context import Context
from .ranges import names

PATHS = "treering.paths"
"""What stood behind `--`, in click's `meta`."""


class PathsCommand(click.Command):
    """A command that has to know what stood behind `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            ctx.meta[PATHS] = args[place + 1 :]
            args = args[:place]
        return super().parse_args(ctx, args)


def revisions_and_paths(
    context: Context,
    arguments: tuple[str, ...],
    find: Callable[[str], object] | None = None,
) -> tuple[list[str], list[str]]:
    """The revisions, and the paths as they were given. Without `--`, the first argument that names
    no revision begins the paths; `find` looks up one that may be more than a commit, and raises
    where it names nothing. NotFound when there is nothing at a path: then it was to be a
    revision, or it is gone, and needs `--`."""
    behind = click.get_current_context().meta.get(PATHS)
    if behind is not None:
        return list(arguments), behind
    for place, text in enumerate(arguments):
        error = _no_revision(text, find or context.repository.history.resolve)
        if error is not None:
            for path in arguments[place:]:
                if not os.path.lexists(context.start / path):
                    raise _neither(path, error)
            return list(arguments[:place]), list(arguments[place:])
    return list(arguments), []


def _no_revision(text: str, find: Callable[[str], object]) -> TreeringError | None:
    """Why this is no revision; None when it is one."""
    if text in (".", "..") or text.startswith(("./", "../")):
        return NotFound(f"unknown revision '{text}'")
    try:
        for name in names(text):
            find(name)
    except (NotFound, InvalidInput) as error:
        return error
    return None


def _neither(text: str, error: TreeringError) -> TreeringError:
    if not error.message.startswith("unknown revision"):
        return error
    return NotFound(
        f"unknown revision '{text}', and no such path in the work tree",
        hint="put -- before a path that is gone: treering COMMAND REV -- PATH",
    )
