"""What `push` and `commit --push` do: refspecs into updates, the push, the remote-tracking
branches after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..store.errors import Conflict, InvalidInput, NotFound, TreeringError
from ..store.history import BRANCHES, REMOTES, TAGS, RefUpdate
from ..store.remotes.push_plan import Lease, PushUpdate
from ..store.remotes.refspecs import Refspec, full_name, parse, target_name, words
from .context import Context
from .ref_lines import amount, say_documents, say_transfer, transfer_json
from .refs import move_refs
from .replication import open_remote, remote_url
from .sizes import count
from .upstreams import Upstream, configured, default_remote, set_upstream

if TYPE_CHECKING:
    from ..store.remotes.base import Remote
    from ..store.remotes.sending_ahead import SendAhead
    from ..store.remotes.transfer import PushResult

AHEAD_JOBS: Final = 2


@dataclass(frozen=True)
class PushRequest:
    """What was asked for on the command line. `leases` are REF or REF:EXPECT; "" is every ref."""

    remote: str | None = None
    refs: tuple[str, ...] = ()
    branches: bool = False
    tags: bool = False
    delete: bool = False
    force: bool = False
    leases: tuple[str, ...] = ()
    set_upstream: bool = False
    dry_run: bool = False
    jobs: int = 4


class _Aim:
    """Turns refspecs into updates for one remote whose refs are known."""

    def __init__(self, context: Context, name: str, theirs: Iterable[str]) -> None:
        self._history = context.repository.history
        self._name = name
        self._theirs = set(theirs)
        self.sources: dict[str, str] = {}
        """Remote ref -> the local branch that goes there."""

    def updates(self, request: PushRequest) -> list[PushUpdate]:
        specs = [parse(text) for text in words(request.refs)]
        if request.delete:
            if not specs or any(spec.target for spec in specs):
                raise InvalidInput("--delete takes the names of refs", hint="push --delete R REF")
            specs = [Refspec(None, spec.source, spec.force) for spec in specs]
        for kind, wanted in ((BRANCHES, request.branches), (TAGS, request.tags)):
            if wanted:
                specs += [Refspec(ref, ref, False) for ref in sorted(self._history.refs(kind))]
        found = [self._update(spec, request.force) for spec in specs]
        # --all and --tags may name once more what was named.
        return list(dict.fromkeys(found))

    def _update(self, spec: Refspec, force: bool) -> PushUpdate:
        if spec.source is None:
            assert spec.target is not None
            ref = full_name(spec.target, self._theirs)
            if ref is None:
                target_name(spec.target, self._theirs, None)
                raise NotFound(f"there is no '{spec.target}' on {self._name} to delete")
            return PushUpdate(None, ref, force or spec.force)
        source, held = self._source(spec.source)
        if spec.target is None and source is None:
            raise InvalidInput(
                f"'{spec.source}' is no branch or tag: where is it to go?",
                hint=f"say so: {spec.source}:BRANCH",
            )
        target = spec.target or source
        assert target is not None
        ref = target if target == source else target_name(target, self._theirs, source)
        if source is not None and source.startswith(BRANCHES):
            self.sources[ref] = source
        return PushUpdate(held, ref, force or spec.force)

    def _source(self, name: str) -> tuple[str | None, str]:
        """The local ref, if it is one, and what it holds."""
        history = self._history
        if name == "HEAD":
            branch = history.branch()
            if branch is not None:
                name = BRANCHES + branch
        ref = full_name(name, history.refs())
        if ref is not None:
            return ref, history.refs()[ref]
        if name.startswith(BRANCHES):
            raise no_commit(name.removeprefix(BRANCHES))
        try:
            return None, history.resolve(name).id
        except NotFound as error:
            raise NotFound(f"there is no branch, tag or revision '{name}' here") from error


def no_commit(branch: str) -> NotFound:
    return NotFound(
        f"there is no commit on branch '{branch}'", hint="make one with: treering commit"
    )


@contextmanager
def sending_ahead(context: Context) -> Iterator[SendAhead | None]:
    """What a push to the upstream would send, sent while it is stored; None where there is nobody
    to send it to, which the push will say."""
    from ..store.remotes.sending_ahead import SendAhead
    from ..store.remotes.transfer import check_compatible

    repository = context.repository
    with ExitStack() as stack:
        ahead = None
        with suppress(TreeringError):
            name = default_remote(repository, repository.history.branch())
            remote = open_remote(context, remote_url(repository, name))
            stack.callback(remote.close)
            check_compatible(repository, remote.describe())
            ahead = stack.enter_context(SendAhead(repository, remote, jobs=AHEAD_JOBS))
        yield ahead


def push_refs(context: Context, request: PushRequest, ahead: SendAhead | None = None) -> None:
    """Push, and say what was sent, `ahead` of it too."""
    from ..store.remotes.transfer import push

    repository = context.repository
    branch = repository.history.branch()
    name = request.remote or default_remote(repository, branch)
    url = remote_url(repository, name)
    if not (request.refs or request.branches or request.tags or request.delete):
        request = PushRequest(**{**vars(request), "refs": (_default_ref(context, name, branch),)})
    who = context.person(hint=False)
    remote = open_remote(context, url)
    try:
        aim = _Aim(context, name, remote.refs())
        updates = _leased(context, name, remote, aim.updates(request), request.leases)
        if not updates:
            raise NotFound("there is nothing to push: no such branch or tag")
        with context.progress() as progress:
            result = push(
                repository,
                remote,
                updates,
                who,
                jobs=request.jobs,
                dry_run=request.dry_run,
                progress=progress,
            )
    finally:
        remote.close()
    if ahead is not None:
        size = result.bytes + ahead.bytes
        result = result._replace(objects=result.objects + ahead.objects, bytes=size)
    if not request.dry_run:
        _track(context, name, updates)
        if request.set_upstream:
            _follow(context, name, aim.sources)
    _say(context, name, result, updates, request.dry_run)


def _default_ref(context: Context, name: str, branch: str | None) -> str:
    """The current branch, to the branch of the same name, as Git's `simple` does."""
    if branch is None:
        raise InvalidInput("HEAD is on no branch", hint="name one: treering push REMOTE BRANCH")
    upstream = configured(context.repository, branch)
    if upstream and upstream.remote == name and upstream.merge != BRANCHES + branch:
        other = upstream.merge.removeprefix(BRANCHES)
        raise InvalidInput(
            f"the upstream of '{branch}' has another name: {name}/{other}",
            hint=f"treering push {name} {branch}:{other}, or treering push {name} {branch}",
        )
    if context.repository.history.ref(BRANCHES + branch) is None:
        raise no_commit(branch)
    return BRANCHES + branch


def _leased(
    context: Context,
    name: str,
    remote: Remote,
    updates: list[PushUpdate],
    leases: Sequence[str],
) -> list[PushUpdate]:
    """The updates with what `--force-with-lease` expects of the remote's refs."""
    history = context.repository.history
    targets = [update.ref for update in updates]
    expected: dict[str, str | None] = {}
    for text in leases:
        ref, colon, expect = text.partition(":")
        full = full_name(ref, targets) if ref else None
        if ref and full is None:
            raise InvalidInput(f"--force-with-lease={text}: '{ref}' is not pushed")
        for target in [full] if full else targets:
            if colon:
                expected[target] = history.resolve(expect).id if expect else None
            elif target not in expected:
                expected[target] = _last_seen(context, name, target)
    return [
        update._replace(lease=Lease(expected[update.ref])) if update.ref in expected else update
        for update in updates
    ]


def _last_seen(context: Context, name: str, ref: str) -> str:
    if ref.startswith(BRANCHES):
        tracking = f"{REMOTES}{name}/{ref.removeprefix(BRANCHES)}"
        found = context.repository.history.ref(tracking)
        if found is not None:
            return found
    raise Conflict(
        f"rejected: {ref.removeprefix(BRANCHES)} of {name} was never seen here: no lease on it",
        hint=f"treering fetch {name}, or say what is expected: --force-with-lease=REF:EXPECT",
    )


def _track(context: Context, name: str, updates: list[PushUpdate]) -> None:
    """Remember where the remote's branches are now."""
    history = context.repository.history
    moves = []
    for update in updates:
        if not update.ref.startswith(BRANCHES):
            continue
        local = f"{REMOTES}{name}/{update.ref.removeprefix(BRANCHES)}"
        old = history.ref(local)
        if old != update.commit:
            moves.append(RefUpdate(local, old, update.commit))
    if moves:
        try:
            move_refs(context, moves, "push")
        except Conflict:
            context.notice("another command has moved the remote-tracking branches meanwhile")


def _follow(context: Context, name: str, sources: dict[str, str]) -> None:
    for ref, source in sources.items():
        if ref.startswith(BRANCHES):
            branch = source.removeprefix(BRANCHES)
            set_upstream(context.repository, branch, Upstream(name, ref))
            if not context.quiet and not context.json:
                context.notice(f"branch '{branch}' follows {name}/{ref.removeprefix(BRANCHES)}")


def _say(
    context: Context, name: str, result: PushResult, updates: list[PushUpdate], dry_run: bool
) -> None:
    if context.json:
        say_documents([transfer_json(name, result, dry_run=dry_run)])
        return
    pushed = ", ".join(update.ref.split("/", 2)[2] for update in updates)
    nothing = f"{pushed}: everything is up to date on {name}"
    if result.objects:
        lost = "would be sent again" if dry_run else "sent again"
        nothing = f"{pushed}: up to date on {name}, which had lost {amount(result)}: {lost}"
    verb, sent = ("Would push", "to send") if dry_run else ("Pushed", "sent")
    moved = f"{verb} {count(result.commits, 'commit')} to {name}: {amount(result)} {sent}"
    if not (result.commits or result.objects):
        verb = "Would move" if dry_run else "Moved"
        moved = f"{verb} {count(len(result.moved), 'ref')} on {name}; there was nothing to send"
    say_transfer(context, result, moved, nothing)
