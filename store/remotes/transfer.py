"""Push and fetch: bring commits, with their roots whole, from one repository to another.

Both walk each new commit against its first parent, parents first, so that the work follows what
changed, and both leave refs alone until everything behind them is verified and durable. Run again
after an interruption, they go on where they were: what arrived is not sent again. The repository
belongs to the calling thread; objects travel in threads of `sending` and `receiving`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from ..batches import batched
from ..errors import Corrupt, InvalidInput, NotFound, RemoteError, UnsupportedFormat
from ..history import TAGS, Commit, History, HistoryObject, Person, RefUpdate
from ..ids import Key
from ..progress import SILENT, Progress
from ..ref_moves import move_refs
from ..repository import Repository
from .base import Description, Remote
from .checking import COMMIT_ID, base_of, valid_ref
from .fetch_plan import FetchPlan, FetchUpdate, plan_fetch, settle
from .push_plan import PushUpdate, Rejection, plan_push, rejected_error, short
from .receive_rules import check_names
from .receiving import Receiver
from .sending import Sender, Weigher

DEFAULT_JOBS: Final = 4
MAX_ROUNDS: Final = 3
ASK_AT_ONCE: Final = 1 << 13
HISTORY_BYTES: Final = 4 << 20
MAX_HISTORY_FETCH: Final = 16 << 30
"""An endless stream of history ends here."""

Item = TypeVar("Item")


class PushResult(NamedTuple):
    """What was sent, and the refs that moved there. No refs: everything was up to date, and what
    was sent nevertheless repaired the remote."""

    objects: int
    bytes: int
    commits: int
    moved: tuple[RefUpdate, ...]


class FetchResult(NamedTuple):
    """What came in, the refs that moved here, and those that may not be moved."""

    objects: int
    bytes: int
    commits: int
    moved: tuple[RefUpdate, ...]
    rejected: tuple[Rejection, ...] = ()


def check_compatible(repository: Repository, description: Description) -> None:
    """UnsupportedFormat or InvalidInput unless objects can travel between the two as they are."""
    ours = repository.format
    for what, here, there in (
        ("format version", ours.version, description.version),
        ("ids", ours.ids, description.ids),
        ("cipher", ours.cipher, description.cipher),
    ):
        if here != there:
            raise UnsupportedFormat(f"the remote has {what} {there}, this repository {here}")
    if ours.block_size != description.block_size:
        raise InvalidInput(
            f"the remote has blocks of {description.block_size} bytes, this repository of"
            f" {ours.block_size}: their objects cannot be shared",
            hint=f"make the other one with: treering init --block-size {ours.block_size}",
        )


# -- push ----------------------------------------------------------------------------------------


def push(
    repository: Repository,
    remote: Remote,
    updates: Sequence[PushUpdate],
    who: Person,
    *,
    jobs: int = DEFAULT_JOBS,
    dry_run: bool = False,
    progress: Progress = SILENT,
) -> PushResult:
    """Bring commits and tags to the remote and move its refs to them, all or none. Conflict names
    every ref that may not be moved; Corrupt or NotFound for an object that is damaged or absent
    here. With `dry_run` nothing is sent and nothing moves, and the result says what would."""
    description = remote.describe()
    check_compatible(repository, description)
    refs = _checked_refs(remote)
    plan = plan_push(repository.history, refs, updates, description)
    if plan.rejected:
        raise rejected_error(plan.rejected)
    moves = list(plan.moves)
    if not moves:
        moves = _repairs(repository.history, remote, plan.current, description)
    if not moves:
        return PushResult(0, 0, 0, ())
    sender = (Weigher if dry_run else Sender)(repository, remote, jobs=jobs, progress=progress)
    return _Push(repository, remote, sender, progress).run(moves, list(refs.values()), who)


def _repairs(
    history: History,
    remote: Remote,
    updates: Sequence[PushUpdate],
    description: Description,
) -> list[RefUpdate]:
    """Refs that stay where they are, of which the remote has lost something: it no longer says
    that it holds their roots whole."""
    open_to_us = [
        (update, tip)
        for update in updates
        if update.commit and update.ref != description.checked_out
        if (tip := history.peeled(update.commit))
    ]
    roots = [history.commit(tip).root for _, tip in open_to_us]
    levels = _all_answered(open_to_us, remote.held(roots)) if roots else ()
    return [
        RefUpdate(update.ref, update.commit, update.commit)
        for (update, _), level in levels
        if level != "whole"
    ]


class _Push:
    def __init__(
        self, repository: Repository, remote: Remote, sender: Sender, progress: Progress
    ) -> None:
        self._repository = repository
        self._history = repository.history
        self._remote = remote
        self._sender = sender
        self._progress = progress

    def run(self, moves: list[RefUpdate], theirs: list[str], who: Person) -> PushResult:
        tips = {move: self._history.peeled(move.new) for move in moves if move.new}
        try:
            commits = self._history.oldest_first(filter(None, tips.values()), self._here(theirs))
            commits += [tip for move, tip in tips.items() if tip and move.new == move.old]
            self._progress.begin("sending")
            self._send_roots(commits, self._whole_there(commits))
            if not self._sender.only_weighs:
                self._send_history(commits, [move.new for move in moves if move.new])
                self._finalize(moves, commits, who)
        finally:
            self._sender.close()
        sender = self._sender
        moved = tuple(move for move in moves if move.old != move.new)
        return PushResult(sender.objects, sender.bytes, len(commits), moved)

    def _here(self, theirs: list[str]) -> list[str]:
        """The commits behind the remote's refs that are here too."""
        return [tip for held in theirs if (tip := self._history.peeled(held)) is not None]

    def _whole_there(self, commits: list[str]) -> set[bytes]:
        """Those roots of the commits and their parents that the remote holds whole."""
        roots: dict[bytes, None] = {}
        for commit in map(self._history.commit, commits):
            roots[commit.root] = None
            for parent in commit.parents:
                roots[self._history.commit(parent).root] = None
        whole: set[bytes] = set()
        for batch in batched(roots, ASK_AT_ONCE):
            levels = _all_answered(batch, self._remote.held(batch))
            whole.update(root for root, level in levels if level == "whole")
        return whole

    def _send_roots(self, commits: list[str], whole: set[bytes]) -> None:
        """Send the root of every commit; `whole` are roots that the remote has, and grows."""
        sent: set[bytes] = set()

        def usable(root: bytes) -> bool:
            return root in sent or (root in whole and self._repository.held(root) != "none")

        for commit in map(self._history.commit, commits):
            if commit.root in sent or commit.root in whole:
                continue
            self._sender.offer_root(commit.root, base_of(self._history, commit, usable))
            sent.add(commit.root)
        self._sender.finish()

    def _send_history(self, commits: list[str], held: list[str]) -> None:
        for batch in batched(commits, ASK_AT_ONCE):
            answers = _all_answered(batch, self._remote.known_commits(batch))
            unknown = [commit for commit, known in answers if not known]
            for objects in _by_size(self._history.export(unknown)):
                self._remote.store_history(objects)
        for objects in _by_size(self._history.export_tags(held)):
            self._remote.store_history(objects)

    def _finalize(self, moves: list[RefUpdate], commits: list[str], who: Person) -> None:
        missing: list[Key] = []
        for attempt in range(1 + MAX_ROUNDS):
            missing = self._remote.finalize(moves, who)
            if not missing:
                return
            if attempt < MAX_ROUNDS:
                # What is missing below these ids is not known: offer everything once more.
                self._sender.offer(missing)
                self._send_roots(commits, set())
        raise RemoteError(
            f"the remote still misses {len(missing)} objects after {MAX_ROUNDS} tries",
            hint="look at the remote with: treering fsck",
        )


# -- fetch ---------------------------------------------------------------------------------------


def fetch(
    repository: Repository,
    remote: Remote,
    updates: Sequence[FetchUpdate],
    who: Person,
    *,
    prune: str | None = None,
    checked_out: str | None = None,
    jobs: int = DEFAULT_JOBS,
    dry_run: bool = False,
    progress: Progress = SILENT,
) -> FetchResult:
    """Bring the remote's refs here and move local ones to them; see `plan_fetch`. NotFound for a
    ref that the remote lacks; RemoteError for data that is not what its id says. With `dry_run`
    nothing comes in and nothing moves."""
    check_compatible(repository, remote.describe())
    refs = _checked_refs(remote)
    history = repository.history
    plan = plan_fetch(history, refs, updates, prune=prune, checked_out=checked_out)
    check_names(history.refs(), plan.moves)
    if dry_run or not plan.moves:
        return FetchResult(0, 0, 0, plan.moves, plan.rejected)
    return _fetch(repository, remote, plan, who, jobs, progress)


def _fetch(
    repository: Repository,
    remote: Remote,
    plan: FetchPlan,
    who: Person,
    jobs: int,
    progress: Progress,
) -> FetchResult:
    haves = sorted(set(repository.history.tips().values()))
    progress.begin("receiving")
    commits = _fetch_history(repository, remote, plan.moves, haves)
    receiver = Receiver(repository, remote, jobs=jobs, progress=progress)
    try:
        roots = _receive_roots(repository, receiver, commits)
        receiver.finish()
    except BaseException:
        receiver.abort()
        raise
    plan = settle(repository.history, plan)
    repository.mark_held(roots, "whole")
    if plan.moves:
        move_refs(repository, plan.moves, who, "fetch")
    return FetchResult(receiver.objects, receiver.bytes, len(commits), plan.moves, plan.rejected)


def _fetch_history(
    repository: Repository, remote: Remote, moves: Sequence[RefUpdate], haves: list[str]
) -> list[Commit]:
    """Bring the commits and tags; the commits that no ref of ours leads to yet, parents first,
    verified."""
    history = repository.history
    wants = sorted({move.new for move in moves if move.new is not None})
    room = MAX_HISTORY_FETCH
    for objects in _by_size(remote.history(wants, haves) if wants else ()):
        room -= sum(len(one.content) for one in objects)
        if room < 0:
            raise RemoteError("the remote does not stop sending history")
        history.add_objects(objects, repository.tmp)
    try:
        tips = {move: _tip(history, move) for move in moves if move.new is not None}
        commits = [history.commit(one) for one in history.oldest_first(tips.values(), haves)]
        for commit in commits:
            history.check_parents(commit)
    except (NotFound, Corrupt) as error:
        raise RemoteError(f"the remote's history is not whole: {error.message}") from error
    return commits


def _tip(history: History, move: RefUpdate) -> str:
    """The commit that a ref leads to, which may be one of ours. Corrupt when it leads to none, or
    when anything but a tag is put at a tag object."""
    assert move.new is not None
    tip = history.peeled(move.new)
    if tip is None or (tip != move.new and not move.name.startswith(TAGS)):
        raise Corrupt(f"{short(move.name)} is at {move.new[:10]}, which is no commit")
    return history.commit(tip).id


def _receive_roots(
    repository: Repository, receiver: Receiver, commits: list[Commit]
) -> list[bytes]:
    """Receive the roots of all commits; those that were not held whole."""
    received: dict[bytes, None] = {}

    def whole(root: bytes) -> bool:
        return root in received or repository.held(root) == "whole"

    for commit in commits:
        if not whole(commit.root):
            receiver.receive(commit.root, base_of(repository.history, commit, whole))
            received[commit.root] = None
    return list(received)


# -- both ----------------------------------------------------------------------------------------


def _checked_refs(remote: Remote) -> dict[str, str]:
    refs = remote.refs()
    for name, commit_id in refs.items():
        if not COMMIT_ID.fullmatch(commit_id):
            raise RemoteError(f"the remote's ref {name[:80]!r} is not a commit")
        if not valid_ref(name):
            raise RemoteError(f"the remote has a ref of an odd name: {name[:80]!r}")
    return refs


def _all_answered(
    asked: Sequence[Item], answers: Sequence[object]
) -> Iterator[tuple[Item, object]]:
    if len(asked) != len(answers):
        raise RemoteError("the remote did not answer all questions")
    return zip(asked, answers, strict=True)


def _by_size(objects: Iterable[HistoryObject]) -> Iterator[list[HistoryObject]]:
    """History objects in batches of some MiB. A commit's objects may fall into two."""
    batch: list[HistoryObject] = []
    size = 0
    for one in objects:
        batch.append(one)
        size += len(one.content)
        if size >= HISTORY_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
