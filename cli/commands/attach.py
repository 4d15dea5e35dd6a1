"""treering attach: mount the driver over a work tree."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import click

from ...store.errors import DriverError
from ..context import Context, common_options, pass_context
from ..driver_socket import socket_folder
from ..notify import notify
from ..output import flush, path_json, say, say_json
from ..sizes import count
from ..summary import finish_report, report_json
from ..worker_client import worker_socket

if TYPE_CHECKING:
    from pathlib import Path

    from ...tracker.attaching import CaughtUp, Evidence


@click.command("attach")
@click.argument("directory", required=False, default=".")
@click.option("--foreground", is_flag=True, help="Do not return before the tree is detached.")
@click.option("--force", is_flag=True, help="Even if others hold files of it open.")
@click.option(
    "--journal",
    type=click.Choice(["on", "off"]),
    default="on",
    show_default=True,
    help="Without it writes are quicker, and after a crash the whole tree is looked at.",
)
@common_options
@pass_context
def command(context: Context, directory: str, foreground: bool, force: bool, journal: str) -> None:
    """Mount the driver over the work tree at DIRECTORY (here by default), which sees every write
    from then on: status and diff need not look at files.

    Programs keep their paths. Who is in the tree already would go on past the driver, so it is
    attached from outside. Needs Linux 6.6, and root or fusermount3.

    \b
    Example:
      treering attach tree
    """
    from ...tracker import attaching
    from ...tracker.fuse.control import socket_path

    context.start = (context.start / directory).resolve()
    top = context.work_tree()
    repository = context.repository.path
    socket = socket_path(socket_folder(), top)
    strangers = attaching.check_way(top, force=force)
    plan = attaching.Plan(top, repository, context.repository.block_size, socket, journal == "on")
    context.close()
    os.chdir("/")  # as the mount will be over it, we would stand in what is below
    backing = attaching.open_backing(top)
    try:
        evidence = attaching.Evidence(repository, backing, plan.block_size)
        process = attaching.start(plan)
        try:
            context.use(repository, top)
            found = _catch_up(context, top, evidence, outsiders=bool(strangers))
        except BaseException:
            process.terminate()  # it takes the mount off
            raise
    finally:
        os.close(backing)
    _say(context, top, found, attaching.named(strangers))
    if foreground:
        flush()
        context.close()
        notify("READY=1")
        _wait(process)


def _catch_up(context: Context, top: Path, evidence: Evidence, *, outsiders: bool) -> CaughtUp:
    from ...tracker import attaching
    from ...tracker.attached import attachment
    from .. import worker

    log = attaching.log_path(context.repository.path)
    there = attachment(context.repository)
    if there is None:
        raise DriverError("the driver has ended", hint=f"see {log}")
    with context.progress() as progress:
        progress.begin("scanning")
        found = attaching.catch_up(
            context.repository, top, there, evidence, progress, outsiders=outsiders
        )
    worker.start(worker_socket(there.socket), there.process, log)
    return found


def _say(context: Context, top: Path, found: CaughtUp, strangers: str) -> None:
    if context.json:
        say_json(
            {
                "attached": path_json(os.fsencode(top)),
                "changes": found.changes,
                "complete": found.complete,
                **report_json(found.report),
            }
        )
    elif not context.quiet:
        say(f"Attached {top}: {count(found.changes, 'change')} since the last commit")
    if strangers:
        context.notice(f"{strangers} may write past the driver: status and diff go on scanning")
    elif not found.complete:
        context.notice("not all could be read: status and diff go on scanning")
    finish_report(context, found.report)


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Until it was detached; a signal detaches it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: process.terminate())
    code = process.wait()
    if code:
        raise DriverError(f"the driver ended with code {code}")
