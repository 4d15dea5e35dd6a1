"""treering stats: how much commits hold, and how much is stored for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...store.history import Commit
from ...store.quoting import quote_path
from ..completion import offering, revisions
from ..context import Context, common_options, pass_context
from ..output import Json, path_json, say, say_json
from ..sizes import count, format_size

if TYPE_CHECKING:
    from ...store.stats import Logical, RepositoryStats, Stored, TreeStats
    from ...store.tally import Amount


@click.command("stats")
@click.argument("what", metavar="[REV[:PATH]]", required=False, shell_complete=offering(revisions))
@common_options
@pass_context
def command(context: Context, what: str | None) -> None:
    """Show how much a commit holds, or what lies at PATH of it, how much is stored for that, and
    what it alone holds: what would be freed if it went, and every other commit that a branch, a tag
    or a reflog leads to stayed. Without REV, show the whole repository.

    The size counts each file, and each name of it, whole; what is stored counts each block once.
    Deduplication is the size without holes against the plain bytes of these blocks, compression
    those against their bytes in packs. Only nodes are read.

    \b
    Example:
      treering stats
      treering stats HEAD~1:photos
    """
    from ...store.stats import repository_stats, tree_stats

    repository = context.repository
    if what is None:
        with context.progress() as progress:
            whole = repository_stats(repository, progress=progress)
        if context.json:
            say_json(_whole_json(whole))
        else:
            _say_whole(whole)
        return
    commit, path = context.split_revision(what)
    with context.progress() as progress:
        found = tree_stats(repository, commit, path, progress=progress)
    if context.json:
        say_json({"commit": commit.id, **path_json(path), **_tree_json(found)})
    else:
        _say_tree(commit, path, found)


def _say_whole(found: RepositoryStats) -> None:
    packs = found.packs
    say(
        f"{count(found.commits, 'commit')}, {count(packs.number, 'pack')},"
        f" {format_size(packs.size)} on disk"
    )
    say("All commits together show:")
    _say_figures(found.logical, found.stored)
    if found.reflog_commits:
        kept = found.reflogs
        say(
            f"Only reflogs keep: {count(found.reflog_commits, 'commit')},"
            f" {count(kept.objects, 'object')}, {format_size(kept.stored)} stored"
        )
    garbage = found.garbage
    say(f"Garbage: {count(garbage.records, 'object')}, {format_size(garbage.stored)} stored")


def _say_tree(commit: Commit, path: bytes, found: TreeStats) -> None:
    say(f"{commit.short}:{quote_path(path)}" if path else f"{commit.short} {commit.title}")
    _say_figures(found.logical, found.stored)
    alone = found.alone
    say(
        f"It alone holds: {count(alone.objects, 'object')}, {format_size(alone.plain)},"
        f" {format_size(alone.stored)} stored"
    )


def _say_figures(shown: Logical, stored: Stored) -> None:
    _say_row("files", f"{shown.files:,}")
    _say_row("folders", f"{shown.folders:,}")
    holes = f", {format_size(shown.holes)} of it in holes" if shown.holes else ""
    _say_row("size", format_size(shown.size) + holes)
    say("Stored for it, each object once:")
    for name, amount in zip(("blocks", "nodes"), stored, strict=True):
        sizes = f"{format_size(amount.plain)}, {format_size(amount.stored)} stored"
        _say_row(name, f"{amount.objects:,}, {sizes}")
    for name, ratio in _ratios(shown, stored).items():
        _say_row(name, "-" if ratio is None else f"{ratio:.2f} x")


def _say_row(name: str, value: str) -> None:
    say(f"  {name:<15}{value}")


def _ratios(shown: Logical, stored: Stored) -> dict[str, float | None]:
    """How many times the blocks are shown for once that they are stored, and what zstd saves."""
    blocks = stored.blocks
    return {
        "deduplication": (shown.size - shown.holes) / blocks.plain if blocks.plain else None,
        "compression": blocks.plain / blocks.stored if blocks.stored else None,
    }


def _figures_json(shown: Logical, stored: Stored) -> Json:
    return {
        **shown._asdict(),
        "blocks": _amount_json(stored.blocks),
        "nodes": _amount_json(stored.nodes),
        **_ratios(shown, stored),
    }


def _amount_json(amount: Amount) -> Json:
    return {"objects": amount.objects, "plain": amount.plain, "stored": amount.stored}


def _tree_json(found: TreeStats) -> Json:
    return {**_figures_json(found.logical, found.stored), "alone": _amount_json(found.alone)}


def _whole_json(found: RepositoryStats) -> Json:
    garbage = found.garbage
    return {
        "commits": found.commits,
        **_figures_json(found.logical, found.stored),
        "reflogs": {"commits": found.reflog_commits, **_amount_json(found.reflogs)},
        "packs": {"packs": found.packs.number, "bytes": found.packs.size},
        "garbage": {"objects": garbage.records, "stored": garbage.stored},
    }
