"""treering push: send commits to a remote."""

from __future__ import annotations

import click

from ..context import Context, common_options, pass_context
from ..options import jobs_option


@click.command("push")
@jobs_option("packs to send")
@click.argument("remote", required=False)
@click.argument("branches", nargs=-1, metavar="[BRANCH]...")
@common_options
@pass_context
def command(context: Context, jobs: int, remote: str | None, branches: tuple[str, ...]) -> None:
    """Send what REMOTE lacks of a branch, and move its branch there once all of it is verified.

    Without arguments: the current branch, to its upstream, else to origin, else to the only remote.
    An interrupted push goes on where it was.

    \b
    Example:
      treering push backup main
    """
    from ..replication import push_branches

    push_branches(context, remote, branches, jobs)
