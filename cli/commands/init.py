"""treering init: make a repository for a folder, elsewhere, or bare."""

from __future__ import annotations

import click

from ...store.errors import InvalidInput
from ...store.format import DEFAULT_BLOCK_SIZE
from ..context import Context, common_options, pass_context
from ..output import say, say_json
from ..sizes import format_size, parse_size


@click.command("init")
@click.argument("directory", required=False, default=".")
@click.option("--bare", is_flag=True, help="A repository without a work tree, to push to.")
@click.option("--block-size", "block_size", metavar="SIZE", help="4KiB to 8MiB; 64KiB by default.")
@click.option("--repo", metavar="PATH", help="Keep the repository here, on another disk say.")
@common_options
@pass_context
def command(
    context: Context, directory: str, bare: bool, block_size: str | None, repo: str | None
) -> None:
    """Make a repository for DIRECTORY (here by default).

    The repository is the folder .treering inside it, or PATH with --repo.

    \b
    Example:
      treering init films
      treering init --bare ../backup/films
    """
    from ...store.repository import Repository
    from ...tracker.work_tree import create_work_tree

    size = parse_size(block_size) if block_size else DEFAULT_BLOCK_SIZE
    top = (context.start / directory).resolve()
    if bare and repo:
        raise InvalidInput("--bare and --repo exclude each other")
    if bare:
        Repository.create(top, size)
        made, what = top, "bare repository"
    else:
        top.mkdir(parents=True, exist_ok=True)
        made = create_work_tree(top, size, (context.start / repo).resolve() if repo else None)
        what = "repository"
    if context.json:
        say_json({"repository": str(made), "bare": bare, "block_size": size})
    elif not context.quiet:
        blocks = "" if size == DEFAULT_BLOCK_SIZE else f" with blocks of {format_size(size)}"
        say(f"Made an empty {what} in {made}{blocks}")
