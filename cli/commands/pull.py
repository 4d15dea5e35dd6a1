"""treering pull: bring commits from a remote, and the work tree up to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..completion import offering, remote_refs, remotes
from ..context import Context, common_options, pass_context
from ..options import jobs_option
from ..output import Json, say, say_json
from ..ref_lines import amount, say_transfer, transfer_json
from ..sizes import count
from ..summary import ahead_behind_line, finish_report, report_json, say_moved

if TYPE_CHECKING:
    from ...tracker.restore_plan import Result
    from ..pulling import Pulled
    from ..upstreams import Upstream


@click.command("pull")
@jobs_option("requests to make")
@click.argument("remote", required=False, shell_complete=offering(remotes))
@click.argument("branch", required=False, shell_complete=offering(remote_refs))
@common_options
@pass_context
def command(context: Context, jobs: int, remote: str | None, branch: str | None) -> None:
    """Fetch, then move the current branch and its work tree, in place, forwards to BRANCH of
    REMOTE: the upstream by default, else the branch of the same name.

    Only what differs is written. Uncommitted changes elsewhere are carried along; where they would
    be lost, and where both sides have commits of their own, nothing moves here. An interrupted pull
    is finished by running it again.

    \b
    Example:
      treering pull
      treering pull origin main
    """
    from ..pulling import current_branch, pull, source_of

    own = current_branch(context)
    source = source_of(context, own, remote, branch)
    pulled = pull(context, own, source, alone=branch is not None, jobs=jobs)
    if context.json:
        say_json(_document(source, pulled))
    elif not context.quiet:
        _say(context, own, source, pulled)
    for result in _results(pulled):
        if result.unowned:
            context.notice(f"the owners of {count(result.unowned, 'file')} could not be set")
        finish_report(context, result.report)


def _results(pulled: Pulled) -> list[Result]:
    return [pulled.resumed[1], pulled.result] if pulled.resumed else [pulled.result]


def _document(source: Upstream, pulled: Pulled) -> Json:
    resumed = None
    if pulled.resumed:
        commit, result = pulled.resumed
        resumed = {"commit": commit.id, **_written(result)}
    return {
        "fetched": transfer_json(source.remote, pulled.fetched, dry_run=False),
        "upstream": source.tracking,
        "old": pulled.old,
        "new": pulled.new.id,
        "ahead": pulled.ahead,
        "resumed": resumed,
        **_written(pulled.result),
    }


def _written(result: Result) -> Json:
    numbers = {"files": result.files, "bytes": result.size, "deleted": result.deleted}
    return {**numbers, **report_json(result.report)}


def _say(context: Context, own: str, source: Upstream, pulled: Pulled) -> None:
    fetched, name = pulled.fetched, source.remote
    if fetched.moved:
        commits = count(fetched.commits, "commit")
        say_transfer(context, fetched, f"Fetched {commits} from {name}: {amount(fetched)}", "")
    if not pulled.behind:
        say(ahead_behind_line({"ref": source.tracking, "ahead": pulled.ahead, "behind": 0}))
        return
    old = f"{pulled.old[:10]}.." if pulled.old else ""
    say(f"Fast-forward of '{own}': {old}{pulled.new.short} {pulled.new.title}")
    say_moved(pulled.result)
