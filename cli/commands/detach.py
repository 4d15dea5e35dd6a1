"""treering detach: take the driver off a work tree."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ...store.errors import DriverError, StorageError
from ..context import Context, common_options, pass_context
from ..output import path_json, say, say_json


@click.command("detach")
@click.argument("directory", required=False, default=".")
@click.option("--force", is_flag=True, help="Even if others use it: they keep what they have open.")
@click.option(
    "--wait", type=float, default=10.0, show_default=True, help="Seconds to wait for others."
)
@common_options
@pass_context
def command(context: Context, directory: str, force: bool, wait: float) -> None:
    """Take the driver off the work tree at DIRECTORY (here by default). What changes from then on
    is found by the scan.

    A shell that stands in the tree is in the way: leave it first.

    \b
    Example:
      treering detach tree
    """
    from ...tracker import detaching

    # Without a look at it: what is mounted there may be dead.
    place = Path(os.path.normpath(context.start / directory))
    os.chdir("/")
    top = detaching.mounted_top(place)
    context.start = top
    try:
        repository = context.repository.path
        context.close()
        detaching.detach(repository, top, force=force, wait=wait)
    except (DriverError, StorageError, OSError):
        if detaching.is_served(top):
            raise
        detaching.clear_away(top)
    if context.json:
        say_json({"detached": path_json(os.fsencode(top))})
    elif not context.quiet:
        say(f"Detached {top}")
