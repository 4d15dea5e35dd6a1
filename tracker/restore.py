"""The command-sized operations over `checkout`: restore in place, restore elsewhere, clone.

In place, the commit lock is held, uncommitted changes are looked for first, and the restore log
stands while the tree, or a file in it, is between two states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from ..store import trees
from ..store.errors import Conflict, NotFound
from ..store.history import Commit
from ..store.nodes import Entry
from ..store.progress import SILENT, Progress
from ..store.quoting import quote_path
from ..store.repository import Repository
from ..store.trees import Tree, load_root
from . import restore_log
from .checkout import Restorer
from .live_top import scan_state, sync_tree
from .restore_plan import Action, Options, Result
from .scope import Scope
from .snapshot import top_entry
from .status import StatusItem, StatusScan
from .unrestored import Unrestored

LISTED: Final = 5


def _ignore(_action: Action) -> None:
    pass


def restore_in_place(
    repository: Repository,
    top: Path,
    tree: Tree,
    options: Options,
    *,
    force: bool = False,
    progress: Progress = SILENT,
    on_action: Callable[[Action], None] = _ignore,
) -> Result:
    """Bring the work tree, or the paths in scope, to a stored tree. Without paths and without
    `force`, Conflict when that would lose uncommitted changes."""
    wanted = tree.top
    _check_paths(repository, tree, options.scope)
    with repository.lock("commit", "a commit"):
        log = restore_log.Restore(tree.name, tuple(options.scope.paths), options.delete)
        restore_log.refuse_if_pending(repository, options.scope)
        earlier = restore_log.pending(repository)
        resumed = earlier is not None and earlier.is_same(log)
        options = replace(options, earlier=earlier.earlier() if earlier else None)
        if options.scope.whole and not force and not resumed:
            progress.begin("comparing")
            _refuse_losses(repository, top, wanted, options)
        if not options.dry_run:
            restore_log.begin(repository, log)
        progress.begin("restoring")
        result = _restorer(repository, wanted, top, options, progress, on_action).run()
        if not options.dry_run:
            # The log may go only when what was overwritten in place is durable: a power cut would
            # leave old bytes under the new times, and nothing to tell.
            sync_tree(repository, top)
            _end_log(repository, log, result)
        return result


def _end_log(repository: Repository, log: restore_log.Restore, result: Result) -> None:
    """The log goes, or names what is half restored; where that is too much, it stays as it is."""
    if not result.half_count:
        restore_log.end(repository)
    elif result.half_count == len(result.half) and b"" not in result.half:
        restore_log.begin(repository, log._replace(failed=tuple(result.half)))


def restore_clone(
    repository: Repository, top: Path, commit: Commit, *, progress: Progress = SILENT
) -> Result:
    """Fill the new work tree of a clone."""
    wanted = load_root(repository.store, commit.root).top
    progress.begin("restoring")
    return _restorer(repository, wanted, top, Options(), progress, _ignore).run()


def _restorer(
    repository: Repository,
    wanted: Entry,
    top: Path,
    options: Options,
    progress: Progress,
    on_action: Callable[[Action], None],
) -> Restorer:
    return Restorer(
        repository,
        wanted,
        top,
        options,
        state=scan_state(repository, top),
        unrestored=Unrestored(repository),
        progress=progress,
        on_action=on_action,
    )


def restore_elsewhere(
    repository: Repository,
    target: Path,
    tree: Tree,
    options: Options,
    *,
    progress: Progress = SILENT,
    on_action: Callable[[Action], None] = _ignore,
) -> Result:
    """Restore a stored tree, or the paths in scope, into another folder, made if need be."""
    _check_paths(repository, tree, options.scope)
    if not options.dry_run:
        target.mkdir(parents=True, exist_ok=True)
    progress.begin("restoring")
    restorer = Restorer(
        repository, tree.top, target, options, progress=progress, on_action=on_action
    )
    return restorer.run()


def _check_paths(repository: Repository, tree: Tree, scope: Scope) -> None:
    what = "commit" if tree.commit else "root"
    for path in scope.paths:
        try:
            trees.lookup(repository.store, tree.top, path)
        except NotFound as error:
            raise NotFound(
                f"{quote_path(path)} is not in that {what}", hint="see: treering ls REV"
            ) from error


def _refuse_losses(repository: Repository, top: Path, wanted: Entry, options: Options) -> None:
    scan = StatusScan(repository, top)
    before = top_entry(repository, scan.head)
    lost = [
        item.path
        for item in scan.items()
        if _is_lost(repository, item, before, wanted, options.delete)
    ]
    if lost:
        names = ", ".join(quote_path(path) for path in lost[:LISTED])
        more = f" and {len(lost) - LISTED} more" if len(lost) > LISTED else ""
        raise Conflict(
            f"uncommitted changes would be lost: {names}{more}",
            hint="commit them, or give them up with --force",
        )


def _is_lost(
    repository: Repository, item: StatusItem, before: Entry | None, wanted: Entry, delete: bool
) -> bool:
    """Whether restoring `wanted` would lose what status found. A new folder is one item, and
    counts as a whole: what is in it was not looked at."""
    if item.what == "deleted":
        return False
    if item.what == "modified":
        if not item.is_folder:
            return True
        old = _find(repository, before, item.path)
        if old is not None and old.is_folder:
            return False  # only its mode, owner or xattrs
    return delete or _find(repository, wanted, item.path) is not None


def _find(repository: Repository, top: Entry | None, path: bytes) -> Entry | None:
    if top is None:
        return None
    try:
        return trees.lookup(repository.store, top, path)
    except NotFound:
        return None
