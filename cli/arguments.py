"""Arguments that are revisions first and paths then, told apart as Git does: by `--`, or by what
they name."""

from __future__ import annotations

import click

from ..store.errors import InvalidInput, NotFound
from .context import Context

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
    context: Context, arguments: tuple[str, ...]
) -> tuple[list[str], list[str]]:
    """The revisions, and the paths as they were given. Without `--`, the first argument that names
    no revision begins the paths; it must be in the work tree then."""
    behind = click.get_current_context().meta.get(PATHS)
    if behind is not None:
        return list(arguments), behind
    for place, text in enumerate(arguments):
        if not _is_revision(context, text):
            _check_paths(context, arguments[place:])
            return list(arguments[:place]), list(arguments[place:])
    return list(arguments), []


def _is_revision(context: Context, text: str) -> bool:
    history = context.repository.history
    if text in (".", "..") or text.startswith(("./", "../")):
        return False
    try:
        for part in text.removeprefix("^").split("..", 1):
            history.resolve(part or "HEAD")
    except (NotFound, InvalidInput):
        return False
    return True


def _check_paths(context: Context, texts: tuple[str, ...]) -> None:
    for text in texts:
        if not (context.start / text).exists():
            raise NotFound(
                f"'{text}' is neither a revision nor a path in the work tree",
                hint="put -- before a path that is gone: treering COMMAND REV -- PATH",
            )
