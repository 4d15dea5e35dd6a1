"""treering cat: print a file of a commit."""

from __future__ import annotations

import sys

import click

from ...store.errors import InvalidInput
from ...store.quoting import quote_path
from ..context import Context, common_options, pass_context


@click.command("cat")
@click.argument("what", metavar="REV:PATH")
@common_options
@pass_context
def command(context: Context, what: str) -> None:
    """Print a file as it was in a commit.

    \b
    Example:
      treering cat HEAD~1:notes.txt
    """
    from ...store import trees

    if ":" not in what:
        raise InvalidInput(f"'{what}' names no path", hint="write it as REV:PATH, like HEAD:notes")
    commit, path = context.split_revision(what)
    store = context.repository.store
    root = trees.load_root(store, commit.root)
    entry = trees.lookup(store, root.top, path)
    if not entry.is_file:
        raise InvalidInput(f"{quote_path(path)} is not a file", hint="see: treering ls REV:PATH")
    out = sys.stdout.buffer
    for piece in trees.read_file(store, entry, root.block_size):
        out.write(piece)
    out.flush()
