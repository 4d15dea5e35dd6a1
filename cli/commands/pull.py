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
from ..summary import ahead_behind_line, say_moved

if TYPE_CHECKING:
    from ..pulling import Pulled
    from ..upstreams import Upstream


@click.command("pull")
@click.option("--merge", "merging", is_flag=True, help="Merge where both sides have commits.")
@click.option("--regions", is_flag=True, help="Merge as with: treering merge --regions.")
@jobs_option("requests to make")
@click.argument("remote", required=False, shell_complete=offering(remotes))
@click.argument("branch", required=False, shell_complete=offering(remote_refs))
@common_options
@pass_context
def command(
    context: Context,
    merging: bool,
    regions: bool,
    jobs: int,
    remote: str | None,
    branch: str | None,
) -> None:
    """Fetch, then move the current branch and its work tree, in place, forwards to BRANCH of
    REMOTE: the upstream by default, else the branch of the same name.

    Only what differs is written. Uncommitted changes elsewhere are carried along; where they would
    be lost nothing moves here. Where both sides have commits of their own nothing moves either,
    unless --merge is given: then theirs are merged, see treering merge. An interrupted pull is
    finished by running it again.

    \b
    Example:
      treering pull
      treering pull origin main
      treering pull --merge
    """
    from ..merging import Wish, finish
    from ..pulling import current_branch, pull, source_of

    own = current_branch(context)
    source = source_of(context, own, remote, branch)
    wish = Wish(regions=regions) if merging or regions else None
    pulled = pull(context, own, source, wish, alone=branch is not None, jobs=jobs)
    if context.json:
        say_json(_document(source, pulled))
    elif not context.quiet:
        _say(context, source, pulled)
    if pulled.resumed:
        finish(context, pulled.resumed[1], None)
    finish(context, pulled.result, pulled.merged.outcome if pulled.merged else None)


def _document(source: Upstream, pulled: Pulled) -> Json:
    from ..merging import done_json, result_json

    resumed = None
    if pulled.resumed:
        commit, result = pulled.resumed
        resumed = {"commit": commit.id, **result_json(result)}
    return {
        "fetched": transfer_json(source.remote, pulled.fetched, dry_run=False),
        "upstream": source.tracking,
        "old": pulled.old,
        "new": pulled.new.id,
        "ahead": pulled.ahead,
        "resumed": resumed,
        "merged": done_json(pulled.merged) if pulled.merged else None,
        **result_json(pulled.result),
    }


def _say(context: Context, source: Upstream, pulled: Pulled) -> None:
    from ..forwarding import forward_line
    from ..merging import say_done

    fetched, name = pulled.fetched, source.remote
    if fetched.moved:
        commits = count(fetched.commits, "commit")
        say_transfer(context, fetched, f"Fetched {commits} from {name}: {amount(fetched)}", "")
    if not pulled.behind:
        say(ahead_behind_line({"ref": source.tracking, "ahead": pulled.ahead, "behind": 0}))
        return
    if pulled.merged is not None:
        say_done(context, pulled.merged)
        return
    say(forward_line(context, pulled.old, pulled.new))
    say_moved(pulled.result)
