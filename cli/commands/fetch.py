"""treering fetch: bring commits and tags from a remote."""

from __future__ import annotations

import click

from ...store.errors import InvalidInput, NotFound
from ..completion import offering, remote_refs, remotes
from ..context import Context, common_options, pass_context
from ..options import jobs_option


@click.command("fetch")
@click.option("--all", "everywhere", is_flag=True, help="From every remote.")
@click.option("-t", "--tags", is_flag=True, help="All tags, beside what is named.")
@click.option("-p", "--prune", is_flag=True, help="Forget branches that are gone there.")
@click.option("-f", "--force", is_flag=True, help="Move tags and own branches that differ, too.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would move; bring nothing.")
@jobs_option("requests to make")
@click.argument("remote", required=False, shell_complete=offering(remotes))
@click.argument("refs", nargs=-1, metavar="[REF]...", shell_complete=offering(remote_refs))
@common_options
@pass_context
def command(
    context: Context,
    everywhere: bool,
    tags: bool,
    prune: bool,
    force: bool,
    dry_run: bool,
    jobs: int,
    remote: str | None,
    refs: tuple[str, ...],
) -> None:
    """Bring the branches and new tags of REMOTE (the upstream by default), as REMOTE/BRANCH, or
    only some: REF is a branch or a tag there, THEIRS:OURS brings it to a branch of our own.

    The work tree and your own branches stay as they are, but for those named as OURS. A tag that
    is here already and differs is moved by --force only.

    \b
    Example:
      treering fetch origin
      treering fetch --prune --tags origin
    """
    from ..fetching import FetchRequest, fetch_refs, say_fetches
    from ..upstreams import default_remote

    repository = context.repository
    if everywhere and remote:
        raise InvalidInput("--all takes no remote and no refs")
    if everywhere:
        names = repository.config.subsections("remote")
        if not names:
            raise NotFound("there is no remote", hint="add one with: treering remote add NAME URL")
    else:
        names = [remote or default_remote(repository, repository.history.branch())]
    request = FetchRequest(refs, tags, prune, force, dry_run, jobs=jobs)
    results = {name: fetch_refs(context, name, request) for name in names}
    say_fetches(context, results, dry_run=dry_run)
