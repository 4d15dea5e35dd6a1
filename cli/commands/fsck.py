"""treering fsck: check the repository."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from ...store.errors import InvalidInput
from ...store.quoting import quote_path
from .. import exits
from ..context import Context, common_options, pass_context
from ..output import Json, path_json, say, say_json
from ..sizes import count, format_size

if TYPE_CHECKING:
    from ...store.fsck import Findings, Subset


@click.command("fsck")
@click.option("--read-data", is_flag=True, help="Read and verify every object.")
@click.option("--subset", metavar="N/M", help="With --read-data: only the N-th of M parts.")
@click.option("--rebuild-index", is_flag=True, help="Make the block index anew from the packs.")
@common_options
@pass_context
def command(context: Context, read_data: bool, subset: str | None, rebuild_index: bool) -> None:
    """Check that all commits are there and whole.

    Without --read-data: commits, packs' footers, the block index, and every node of every root. An
    object found bad leaves the index, so that the next commit or push of it heals the repository.

    \b
    Example:
      treering fsck --read-data --subset 1/7
    """
    from ...store import fsck, rebuild

    part = _subset(subset) if subset else fsck.ALL_PACKS
    if subset and not read_data:
        raise InvalidInput("--subset goes with --read-data")
    repository = context.repository
    with context.progress() as progress:
        if rebuild_index:
            packs, objects = rebuild.rebuild_index(repository, progress=progress)
            context.notice(f"index rebuilt: {count(packs, 'pack')}, {count(objects, 'object')}")
        findings = fsck.fsck(repository, read_data=read_data, subset=part, progress=progress)
    if findings.problems:
        context.exit_code = exits.CORRUPT
    if context.json:
        say_json(_json(findings))
        return
    for problem in findings.problems:
        say(f"damaged: {fsck.describe(problem)}")
    for found in findings.affected:
        say(f"affects: {found.commit[:10]}:{quote_path(found.path)}")
    read = f", {format_size(findings.bytes_read)} read" if read_data else ""
    verdict = f"{count(len(findings.problems), 'problem')} found" if findings.problems else "whole"
    say(
        f"{count(findings.commits, 'commit')}, {count(findings.packs, 'pack')},"
        f" {count(findings.objects, 'object')}{read}: {verdict}"
    )
    if findings.problems and not context.quiet:
        context.notice("hint: the next commit stores again what is still in the work tree")


def _subset(text: str) -> Subset:
    from ...store.fsck import Subset

    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InvalidInput(f"--subset '{text}' should be N/M with N from 1 to M")
    return Subset(int(found[1]), int(found[2]))


def _json(findings: Findings) -> Json:
    return {
        "whole": not findings.problems,
        "commits": findings.commits,
        "packs": findings.packs,
        "objects": findings.objects,
        "bytes_read": findings.bytes_read,
        "problems": [
            {"what": problem.what, "objects": [key[1:].hex() for key in problem.keys]}
            for problem in findings.problems
        ],
        "affected": [
            {"commit": found.commit, **path_json(found.path)} for found in findings.affected
        ],
    }
