"""treering status: what differs from the last commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..context import Context, common_options, pass_context
from ..output import Json, path_json, region_json, region_line, say, say_json, show_path
from ..sizes import count
from ..summary import ahead_behind, ahead_behind_line, finish_report, report_json

if TYPE_CHECKING:
    from ...tracker.status import StatusItem

WORDS = {"new": "new:      ", "modified": "modified: ", "deleted": "deleted:  "}


@click.command("status")
@click.option("--regions", is_flag=True, help="The changed regions of each modified file.")
@click.option("-z", "zero", is_flag=True, help="Do not quote names.")
@common_options
@pass_context
def command(context: Context, regions: bool, zero: bool) -> None:
    """Show what differs between the work tree and the last commit.

    Files are told apart by their stat data and read only where it does not tell; --regions reads
    the changed files. Of an attached tree the driver's maps tell, and no file is looked at that did
    not change. A new folder is one line.

    \b
    Example:
      treering status --regions
    """
    from ...tracker import merge_state, restore_log
    from ...tracker.map_status import live_status
    from ..clashes import merging_json, say_merging

    top = context.work_tree()
    repository = context.repository
    with context.progress() as progress:
        progress.begin("comparing")
        scan, items = live_status(repository, top, want_regions=regions, progress=progress)
    branch = repository.history.branch()
    upstream = ahead_behind(repository, branch)
    pending, merging = restore_log.pending(repository), merge_state.pending(repository)
    if context.json:
        say_json(
            {
                "branch": branch,
                "head": scan.head.id if scan.head else None,
                "upstream": upstream,
                "merging": merging_json(merging, top),
                "changes": [_item_json(item) for item in items],
                "touched_folders": scan.touched,
                "interrupted_restore": pending.commit if pending else None,
                "half_restored": [path_json(path) for path in pending.failed] if pending else [],
                **report_json(scan.report),
            }
        )
        finish_report(context, scan.report)
        return
    say(f"On branch {branch}" if branch else f"HEAD detached at {scan.head and scan.head.short}")
    if scan.head is None:
        say("No commits yet")
    if upstream:
        say(ahead_behind_line(upstream))
        if upstream["behind"] and not pending and not merging:
            both = "merge the two with: treering pull --merge"
            say(f"  ({both if upstream['ahead'] else 'bring it forwards with: treering pull'})")
    if pending:
        text = restore_log.summary(pending)
        say(f"{text[0].upper()}{text[1:]}.")
        say(f"  (finish it with: {restore_log.command(pending)})")
        if back := restore_log.undo(pending):
            say(f"  (or go back with: {back})")
    elif merging:
        say_merging(merging, top, zero)
    if items:
        say("Changes since the last commit:")
        for item in items:
            say(f"        {WORDS[item.what]}  {show_path(item.path, zero)}")
            for region in item.regions:
                say(f"            {region_line(region)}")
    if scan.touched:
        say(f"{count(scan.touched, 'folder')} with a new modification time")
    if not items and not scan.touched:
        say("nothing to commit, work tree clean")
    finish_report(context, scan.report)


def _item_json(item: StatusItem) -> Json:
    found: Json = {"what": item.what, **path_json(item.path), "folder": item.is_folder}
    if item.regions:
        found["regions"] = list(map(region_json, item.regions))
    return found
