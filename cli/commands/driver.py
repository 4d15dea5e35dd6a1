"""treering driver: the driver of an attached work tree."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from ...store.errors import DriverError
from .. import driver_files
from ..context import Context, common_options, pass_context
from ..driver_files import DriverFile
from ..output import path_json, say, say_json
from ..sizes import count, format_seconds, format_size


@click.group("driver", no_args_is_help=True)
@common_options
def command() -> None:
    """The driver of an attached work tree.

    \b
    Example:
      treering driver status
    """


@command.command("status")
@click.argument("directory", required=False, default=".")
@common_options
@pass_context
def status(context: Context, directory: str) -> None:
    """Show what the driver of the work tree at DIRECTORY (here by default) does.

    \b
    Example:
      treering driver status
    """
    from ...tracker.attached import attachment

    context.start = (context.start / directory).resolve()
    top = context.work_tree()
    attached = attachment(context.repository)
    if attached is None:
        raise DriverError(f"{top} is not attached", hint="treering attach mounts its driver")
    found = attached.status()
    if context.json:
        shown = {key: value for key, value in found.items() if key != "top"}
        say_json({**path_json(os.fsencode(top), "top"), **shown})
        return
    say(f"{top} is attached: process {found['pid']}, up {format_seconds(found['uptime'])}")
    dirty = count(found["dirty"], "path")
    say(f"era {found['era']}: {dirty} changed, {format_size(found['dirty_bytes'])} of blocks")
    if found["frozen"]:
        say(f"a commit is taking {count(found['frozen'], 'path')}")
    rate = found["requests_per_second"]
    say(f"{found['requests']:,} requests, {rate:,} a second; {found['inodes']:,} inodes known")
    syncs = count(found["journal_syncs"], "sync")
    say(f"change journal: {syncs}" if found["journal"] else "change journal: off")
    if found["base"] is None:
        say("the maps are not complete: status and diff scan")


@command.command("install")
@click.option("--root", metavar="DIR", default="/", help="Below this folder, as packagers want it.")
@common_options
@pass_context
def install(context: Context, root: str) -> None:
    """Write a systemd unit that attaches a tree at start, for the whole machine as root, else for
    your own services; as root also what mount(8) needs for a line of fstab.

    \b
    Enable it for a tree:
      systemctl enable --now treering-attach@$(systemd-escape -p /srv/data)
    Or as a line of /etc/fstab:
      /srv/data /srv/data fuse.treering defaults 0 0

    \b
    Example:
      treering driver install --root packaged
    """
    files = _files(context, root)
    driver_files.install(files)
    _say_files(context, "installed", [file.path for file in files])


@command.command("uninstall")
@click.option("--root", metavar="DIR", default="/", help="Below this folder.")
@common_options
@pass_context
def uninstall(context: Context, root: str) -> None:
    """Delete what `driver install` wrote. Attached trees stay attached.

    \b
    Example:
      treering driver uninstall --root packaged
    """
    _say_files(context, "deleted", driver_files.uninstall(_files(context, root)))


def _files(context: Context, root: str) -> list[DriverFile]:
    program = Path(sys.argv[0]).absolute()
    return driver_files.driver_files(program, context.start / root, os.environ)


def _say_files(context: Context, what: str, paths: list[Path]) -> None:
    if context.json:
        say_json({what: [path_json(os.fsencode(path)) for path in paths]})
    elif not context.quiet:
        for path in paths:
            say(f"{what} {path}")
        if not paths:
            say("nothing to delete")
