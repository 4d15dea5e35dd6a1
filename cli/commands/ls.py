"""treering ls: list what a commit holds."""

from __future__ import annotations

import stat
import sys
import time
from collections.abc import Iterator

import click

from ...store.nodes import Entry, EntryKind
from ...store.trees import Located
from ..completion import offering, revisions
from ..context import Context, common_options, pass_context
from ..output import Json, path_json, say, say_json, show_path

TYPES = {
    EntryKind.FILE: stat.S_IFREG,
    EntryKind.FOLDER: stat.S_IFDIR,
    EntryKind.SYMLINK: stat.S_IFLNK,
    EntryKind.FIFO: stat.S_IFIFO,
    EntryKind.CHARACTER_DEVICE: stat.S_IFCHR,
    EntryKind.BLOCK_DEVICE: stat.S_IFBLK,
}


@click.command("ls")
@click.option("-l", "long", is_flag=True, help="Mode, owner, size and time of each.")
@click.option("-R", "recursive", is_flag=True, help="What is in the folders, too.")
@click.option("-z", "zero", is_flag=True, help="Do not quote names; end them with NUL.")
@click.argument(
    "revision", metavar="[REV[:PATH]]", default="HEAD", shell_complete=offering(revisions)
)
@common_options
@pass_context
def command(context: Context, long: bool, recursive: bool, zero: bool, revision: str) -> None:
    """List a folder of a commit: the top one, or PATH. root:HEX[:PATH] and node:HEX, with 7 or more
    digits of the id of a root or a folder's node, list that.

    \b
    Example:
      treering ls -l HEAD~1:photos
    """
    listed = _listing(context, revision, recursive)
    if context.json:
        say_json([_json(item) for item in listed])
        return
    context.page()
    for path, entry in listed:
        name = show_path(path, zero) + ("/" if entry.is_folder else "")
        if long:
            name = _long(entry) + name
            if entry.kind == EntryKind.SYMLINK and entry.more.target is not None:
                name += f" -> {show_path(entry.more.target, zero)}"
        if zero:
            sys.stdout.buffer.write(name.encode("utf-8", "surrogateescape") + b"\0")
        else:
            say(name)


def _listing(context: Context, revision: str, recursive: bool) -> Iterator[Located]:
    from ...store import directories, trees
    from ..object_names import place_of

    entry, path, _ = place_of(context, revision)
    store = context.repository.store
    if not entry.is_folder:
        yield Located(path, entry)
        return
    prefix = path + b"/" if path else b""
    if recursive:
        yield from trees.walk(store, entry, prefix)
        return
    for below in directories.entries(store, entry.content):
        yield Located(prefix + below.name, below)


def _long(entry: Entry) -> str:
    mode = stat.filemode(TYPES[EntryKind(entry.kind)] | entry.mode)
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.mtime_ns // 10**9))
    return f"{mode} {entry.uid:>5} {entry.gid:>5} {entry.size:>14} {moment} "


def _json(item: Located) -> Json:
    entry = item.entry
    found: Json = {
        **path_json(item.path),
        "kind": entry.kind_name,
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "mtime_ns": entry.mtime_ns,
        "size": entry.size,
        "content": entry.content.hex(),
    }
    if entry.is_folder:
        found["files"] = entry.files
    more = entry.more
    if more.target is not None:
        found.update(path_json(more.target, "target"))
    if more.xattrs:
        found["xattrs"] = {
            name.decode("utf-8", "replace"): value.hex() for name, value in more.xattrs
        }
    if more.device is not None:
        found["device"] = more.device
    return found
