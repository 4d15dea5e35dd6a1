"""treering maps: the two block maps of an attached work tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...store.errors import DriverError
from ..context import Context, common_options, pass_context
from ..output import Json, path_json, say, say_json, show_path

if TYPE_CHECKING:
    from ...tracker.map_table import BlockRow

HEADER = f"{'block index':<21} {'block address':<24} {'status':<9} file index"


@click.command("maps")
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@common_options
@pass_context
def command(context: Context, paths: tuple[str, ...]) -> None:
    """Show which blocks changed since the last commit, of all files or of those at PATH: the block
    or blocks of the file, where their committed content lies (pack and offset; hole; or new, for
    what the commit does not have), and in which of the two maps they are: active, or frozen while
    a commit takes them, and captured when it has.

    \b
    Example:
      treering maps disk.img
    """
    from ...store.errors import NotFound
    from ...store.trees import load_root
    from ...tracker.attached import attachment
    from ...tracker.map_table import block_rows
    from ...tracker.scope import Relation, Scope

    scope = Scope(context.tree_paths(paths))
    top, repository = context.work_tree(), context.repository
    attached = attachment(repository)
    if attached is None:
        raise DriverError(f"{top} is not attached", hint="treering attach makes its maps")
    base = None
    if attached.base is None:
        context.notice("the scan at attach could not read all: there may be more changes")
    elif attached.base:
        try:
            base = load_root(repository.store, bytes.fromhex(attached.base)).top
        except NotFound:
            context.notice("the root that the maps are relative to is not there")
    rows = block_rows(repository, base, attached.pages("maps", "from"))
    shown = (row for row in rows if scope.relation(row.path) is Relation.INSIDE)
    if context.json:
        say_json({"base": attached.base, "blocks": [_json(row) for row in shown]})
        return
    context.page()
    say(HEADER)
    for row in shown:
        say(_line(row))


def _line(row: BlockRow) -> str:
    block = str(row.first) if row.blocks == 1 else f"{row.first}-{row.first + row.blocks - 1}"
    address = row.address
    where = address if isinstance(address, str) else f"{address.pack.hex()[:10]}+{address.offset}"
    return f"{block:<21} {where:<24} {row.status:<9} {show_path(row.path)}"


def _json(row: BlockRow) -> Json:
    found: Json = {**path_json(row.path), "block": row.first, "count": row.blocks}
    if isinstance(row.address, str):
        found["address"] = row.address
    else:
        found["address"] = {"pack": row.address.pack.hex(), "offset": row.address.offset}
    return {**found, "status": row.status}
