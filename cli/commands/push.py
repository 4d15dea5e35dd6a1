"""treering push: send commits and tags to a remote."""

from __future__ import annotations

import click

from ...store.errors import InvalidInput
from ..completion import local_refs, offering, remotes
from ..context import Context, common_options, pass_context
from ..options import jobs_option

LEASE = "--force-with-lease"


class PushCommand(click.Command):
    """A command with an option whose value stands behind `=` or is left out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [f"{LEASE}=" if text == LEASE else text for text in args])


@click.command("push", cls=PushCommand)
@click.option("--all", "branches", is_flag=True, help="Every branch.")
@click.option("--tags", is_flag=True, help="Every tag, beside what is named.")
@click.option("-d", "--delete", is_flag=True, help="Delete the named refs of the remote.")
@click.option("-f", "--force", is_flag=True, help="Move refs even if they lose commits by it.")
@click.option(
    LEASE,
    "leases",
    metavar="[=REF[:EXPECT]]",
    multiple=True,
    help="The same, but only if they are where we last saw them, or at EXPECT.",
)
@click.option("-u", "--set-upstream", is_flag=True, help="Follow the pushed branch from now on.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would move; send nothing.")
@click.option("--atomic", is_flag=True, help="All refs or none. It is always so.")
@jobs_option("packs to send")
@click.argument("remote", required=False, shell_complete=offering(remotes))
@click.argument("refs", nargs=-1, metavar="[REF]...", shell_complete=offering(local_refs))
@common_options
@pass_context
def command(
    context: Context,
    branches: bool,
    tags: bool,
    delete: bool,
    force: bool,
    leases: tuple[str, ...],
    set_upstream: bool,
    dry_run: bool,
    atomic: bool,
    jobs: int,
    remote: str | None,
    refs: tuple[str, ...],
) -> None:
    """Send what REMOTE lacks of some refs, and move its refs there once all of it is verified.
    Several refs move all or none.

    REF is a branch or a tag (`main`, `tag v1`), LOCAL:REMOTE for another name there, :REMOTE to
    delete, +REF to force it. Without REF: the current branch. Without REMOTE: the upstream's, else
    origin, else the only one. An interrupted push goes on where it was. The other side can forbid
    moves with receive.denyNonFastForwards, receive.denyDeletes and receive.denyCurrentBranch.

    \b
    Example:
      treering push backup main experiment:tried
      treering push --force-with-lease backup experiment
    """
    from ..pushing import PushRequest, push_refs

    if delete and (branches or tags):
        raise InvalidInput("--delete goes with neither --all nor --tags")
    if branches and refs:
        raise InvalidInput("--all takes no refs")
    request = PushRequest(
        remote, refs, branches, tags, delete, force, leases, set_upstream, dry_run, jobs
    )
    push_refs(context, request)
