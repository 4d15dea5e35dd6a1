"""treering maps: the two block maps of an attached work tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...store.errors import DriverError
from ..context import Context, common_options, pass_context
from ..output import Json, path_json, say, say_json, show_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...tracker.map_table import BlockRow


@click.command("maps")
@click.option(
    "--physical", is_flag=True, help="Where on the device the file has the blocks now, too."
)
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@common_options
@pass_context
def command(context: Context, physical: bool, paths: tuple[str, ...]) -> None:
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
    from ...tracker.map_table import block_rows, with_places
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
    rows = block_rows(repository, base, attached.rows("maps"))
    shown: Iterator[BlockRow]
    shown = (row for row in rows if scope.relation(row.path) is Relation.INSIDE)
    if physical:
        shown = with_places(attached, shown, repository.block_size)
    if context.json:
        found = [_json(row, physical=physical) for row in shown]
        say_json({"base": attached.base, "blocks": found})
        return
    context.page()
    device = ("device offset",) if physical else ()
    say(_columns("block index", "block address", *device, "status", "file index"))
    for row in shown:
        say(_line(row, physical=physical))


def _columns(*texts: str) -> str:
    """The last one is as wide as it is."""
    *columns, status, file = texts
    widths = (21, 24, 15)
    aligned = [f"{text:<{width}}" for text, width in zip(columns, widths, strict=False)]
    return " ".join([*aligned, f"{status:<9}", file])


def _line(row: BlockRow, *, physical: bool) -> str:
    block = str(row.first) if row.blocks == 1 else f"{row.first}-{row.first + row.blocks - 1}"
    address = row.address
    where = address if isinstance(address, str) else f"{address.pack.hex()[:10]}+{address.offset}"
    device = ("none" if row.device is None else str(row.device),) if physical else ()
    return _columns(block, where, *device, row.status, show_path(row.path))


def _json(row: BlockRow, *, physical: bool) -> Json:
    found: Json = {**path_json(row.path), "block": row.first, "count": row.blocks}
    if isinstance(row.address, str):
        found["address"] = row.address
    else:
        found["address"] = {"pack": row.address.pack.hex(), "offset": row.address.offset}
    if physical:
        found["device"] = row.device
    return {**found, "status": row.status}
