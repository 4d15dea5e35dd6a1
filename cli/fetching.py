"""What `fetch` and `clone` do: which refs of a remote come to which here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..store.errors import InvalidInput, NotFound
from ..store.history import BRANCHES, REMOTES, TAGS
from ..store.remotes.fetch_plan import FetchUpdate
from ..store.remotes.push_plan import rejected_error
from ..store.remotes.refspecs import full_name, parse, target_name, words
from .context import Context
from .ref_lines import amount, say_documents, say_transfer, transfer_json
from .replication import open_remote, remote_url
from .sizes import count
from .summary import SHOWN

if TYPE_CHECKING:
    from ..store.remotes.transfer import FetchResult


@dataclass(frozen=True)
class FetchRequest:
    """What was asked for on the command line. `bare`: branches keep their names. Nothing is brought
    from a remote that lacks the branch `needed`."""

    refs: tuple[str, ...] = ()
    tags: bool = False
    prune: bool = False
    force: bool = False
    dry_run: bool = False
    bare: bool = False
    needed: str | None = None
    jobs: int = 4


def fetch_refs(context: Context, name: str, request: FetchRequest) -> FetchResult:
    """Bring refs of one remote."""
    from ..store.remotes.transfer import fetch

    repository = context.repository
    if request.prune and request.refs:
        raise InvalidInput("--prune looks at all branches of a remote: name none")
    remote = open_remote(context, remote_url(repository, name))
    prefix = BRANCHES if request.bare else f"{REMOTES}{name}/"
    branch = repository.history.branch()
    try:
        updates = _updates(context, name, remote.refs(), request, prefix)
        with context.progress() as progress:
            return fetch(
                repository,
                remote,
                updates,
                context.person(hint=False),
                prune=prefix if request.prune else None,
                checked_out=BRANCHES + branch if branch and context.top else None,
                jobs=request.jobs,
                dry_run=request.dry_run,
                progress=progress,
            )
    finally:
        remote.close()


def _updates(
    context: Context, name: str, theirs: Mapping[str, str], request: FetchRequest, prefix: str
) -> list[FetchUpdate]:
    found = []
    if request.needed is not None and request.needed not in theirs:
        raise _lacks(name, theirs, request.needed)
    if not request.refs:
        branches = sorted(ref for ref in theirs if ref.startswith(BRANCHES))
        found = [FetchUpdate(ref, prefix + ref.removeprefix(BRANCHES)) for ref in branches]
    for text in words(request.refs):
        found.append(_update(context, name, theirs, text, prefix))
    if request.tags or not request.refs:
        found += _tags(context, name, theirs, found, request)
    if request.force:
        found = [update._replace(force=True) for update in found]
    return found


def _lacks(name: str, theirs: Mapping[str, str], needed: str) -> NotFound:
    there = sorted(ref.removeprefix(BRANCHES) for ref in theirs if ref.startswith(BRANCHES))
    known = ", ".join(there[:SHOWN]) + (", ..." if len(there) > SHOWN else "")
    hint = f"it has: {known}" if there else "it has no branches yet"
    return NotFound(f"there is no branch '{needed.removeprefix(BRANCHES)}' on {name}", hint=hint)


def _tags(
    context: Context,
    name: str,
    theirs: Mapping[str, str],
    found: list[FetchUpdate],
    request: FetchRequest,
) -> list[FetchUpdate]:
    """All tags where they were asked for, else the new ones; others that differ are said."""
    named = {update.target for update in found}
    mine = context.repository.history.refs(TAGS)
    wanted = []
    for ref in sorted(theirs):
        if not ref.startswith(TAGS) or ref in named:
            continue
        if ref not in mine or request.tags or request.force:
            wanted.append(FetchUpdate(ref, ref))
        elif mine[ref] != theirs[ref]:
            tag = ref.removeprefix(TAGS)
            context.notice(f"{tag} of {name} would clobber existing tag (--force moves it)")
    return wanted


def _update(
    context: Context, name: str, theirs: Mapping[str, str], text: str, prefix: str
) -> FetchUpdate:
    spec = parse(text)
    if spec.source is None:
        raise InvalidInput(f"'{text}': what is to be fetched?")
    source = full_name(spec.source, theirs)
    if source is None:
        raise NotFound(f"there is no '{spec.source}' on {name}")
    if spec.target is not None:
        local = target_name(spec.target, context.repository.history.refs(), source)
        return FetchUpdate(source, local, spec.force)
    if source.startswith(TAGS):
        return FetchUpdate(source, source, spec.force)
    return FetchUpdate(source, prefix + source.removeprefix(BRANCHES), spec.force)


def say_fetches(context: Context, results: Mapping[str, FetchResult], *, dry_run: bool) -> None:
    """Say what was fetched from each remote; Conflict for what was refused."""
    if context.json:
        say_documents(
            [
                transfer_json(name, result, dry_run=dry_run, rejected=result.rejected)
                for name, result in results.items()
            ]
        )
    else:
        for name, result in results.items():
            _say(context, name, result, dry_run)
    if rejected := [one for result in results.values() for one in result.rejected]:
        raise rejected_error(rejected)


def _say(context: Context, name: str, result: FetchResult, dry_run: bool) -> None:
    moved = f"Fetched {count(result.commits, 'commit')} from {name}: {amount(result)} received"
    if dry_run:
        moved = f"Would fetch from {name}:"
    nothing = f"everything is up to date with {name}"
    if result.rejected:
        nothing = f"nothing could be fetched from {name}"
    say_transfer(context, result, moved, nothing)
