"""treering fetch: bring commits from a remote."""

from __future__ import annotations

import click

from ..context import Context, common_options, pass_context
from ..options import jobs_option


@click.command("fetch")
@jobs_option("requests to make")
@click.argument("remote", required=False)
@common_options
@pass_context
def command(context: Context, jobs: int, remote: str | None) -> None:
    """Bring the branches and new tags of REMOTE (the upstream by default), as REMOTE/BRANCH.

    The work tree and your own branches stay as they are.

    \b
    Example:
      treering fetch origin
    """
    from ..replication import default_remote, fetch_all, say_fetch

    repository = context.repository
    name = remote or default_remote(repository, repository.history.branch())
    say_fetch(context, name, fetch_all(context, name, jobs=jobs))
