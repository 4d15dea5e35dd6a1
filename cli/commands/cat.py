"""treering cat: print a file of a commit."""

from __future__ import annotations

import click

from ...store.errors import InvalidInput
from ...store.quoting import quote_path
from ..completion import offering, revisions
from ..context import Context, common_options, pass_context
from ..output import write
from ..ranges import split_path
from ..sizes import parse_size


@click.command("cat")
@click.option("--offset", metavar="SIZE", default="0", help="Begin this far into the file.")
@click.option("--length", metavar="SIZE", help="Print no more than this.")
@click.argument("what", metavar="REV:PATH", shell_complete=offering(revisions))
@common_options
@pass_context
def command(context: Context, what: str, offset: str, length: str | None) -> None:
    """Print a file as it was in a commit, or a part of it: only the blocks of that part are read.
    block:HEX, with 7 or more digits of its id, prints one block.

    \b
    Example:
      treering cat HEAD~1:notes.txt
      treering cat --offset 1GiB --length 4KiB HEAD:disk.img
    """
    from ...store import trees
    from ..object_names import place_of

    if split_path(what)[1] is None:
        raise InvalidInput(f"'{what}' names no path", hint="write it as REV:PATH, like HEAD:notes")
    entry, path, block_size = place_of(context, what)
    if not entry.is_file:
        raise InvalidInput(f"{quote_path(path)} is not a file", hint="see: treering ls REV:PATH")
    start = min(parse_size(offset), entry.size)
    count = parse_size(length) if length is not None else None
    for piece in trees.read_file(context.repository.store, entry, block_size, start, count):
        write(piece)
