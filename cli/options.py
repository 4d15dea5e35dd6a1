"""Options that several commands take."""

from __future__ import annotations

from collections.abc import Callable

import click

from .context import Function


def jobs_option(what: str) -> Callable[[Function], Function]:
    """--jobs: how much to do at once."""
    return click.option(
        "--jobs",
        metavar="N",
        type=click.IntRange(1, 64),
        default=4,
        show_default=True,
        help=f"How many {what} at once.",
    )
