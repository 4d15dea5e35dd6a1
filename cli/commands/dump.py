"""treering dump: a commit, or a part of it, as a tar archive."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from ...store.errors import InvalidInput, storage_error
from ..completion import offering, revisions
from ..context import Context, common_options, pass_context
from ..output import say_json, write


@click.command("dump")
@click.option("-o", "--output", metavar="FILE", help="Write into FILE, not to stdout.")
@click.argument("what", metavar="[REV[:PATH]]", default="HEAD", shell_complete=offering(revisions))
@common_options
@pass_context
def command(context: Context, what: str, output: str | None) -> None:
    """Write what a commit holds, or what lies at PATH, as a tar archive: with owners, times,
    attributes, ACLs, hard links, devices and holes, for GNU tar and bsdtar.

    \b
    Example:
      treering dump HEAD:photos | tar -tv
      treering dump -o ../photos.tar HEAD~1
    """
    from ...store import trees
    from ...tracker.archive import Archive

    if output is None and context.json:
        raise InvalidInput("with --json the archive needs a file", hint="name one with -o FILE")
    if output is None and sys.stdout.isatty():
        raise InvalidInput(
            "an archive is nothing for a terminal", hint="name a file with -o, or pipe it into tar"
        )
    commit, path = context.split_revision(what)
    store = context.repository.store
    root = trees.load_root(store, commit.root)
    pieces = Archive(store, root.top, root.block_size, commit.record).stream(path)
    if output is None:
        for piece in pieces:
            write(piece)
        return
    size = _write_file(context.start / output, pieces)
    if context.json:
        say_json({"file": output, "commit": commit.id, "bytes": size})


def _write_file(path: Path, pieces: Iterable[bytes]) -> int:
    """Write a file; the bytes in it. Nothing is left of one that was not finished."""
    size = 0
    with _open(path) as file:
        for piece in pieces:
            try:
                size += file.write(piece)
            except OSError as error:
                raise storage_error(f"writing {path}", error) from error
    return size


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("wb", buffering=1 << 20)
    except OSError as error:
        raise storage_error(f"opening {path}", error) from error
    try:
        yield file
        file.close()
    except BaseException as error:
        _give_up(file, path)
        if isinstance(error, OSError):
            raise storage_error(f"writing {path}", error) from error
        raise


def _give_up(file: BinaryIO, path: Path) -> None:
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        path.unlink(missing_ok=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
    file.close()
