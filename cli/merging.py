"""What `merge` does, and `pull --merge` with what it fetched: a fast-forward, or a real merge."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..store.errors import Conflict
from ..store.history import BRANCHES, REMOTES, TAGS, Commit
from ..tracker import merge_state, restore_log
from ..tracker.entry_merge import Side
from ..tracker.merge import Outcome, start
from ..tracker.merge_plan import Request
from ..tracker.restore_plan import Result
from . import exits
from .clashes import clash_json, say_advice, say_clashes
from .context import Context
from .forwarding import Forward, forward, forward_line
from .output import Json, say
from .sizes import count
from .summary import change_line, finish_report, report_json, say_commit, say_moved

FORWARD = "fast-forward"


@dataclass(frozen=True)
class Wish:
    """What was asked for on the command line. `forward`: whether HEAD may (True), must or must not
    be moved forwards alone where that is enough."""

    message: str = ""
    regions: bool = False
    favour: Side | None = None
    forward: bool | None = None
    unrelated: bool = False


@dataclass
class Done:
    """What became of it: nothing, a step forwards, or a merge. `old` is where HEAD was."""

    theirs: Commit
    label: str
    old: str | None
    step: Forward | None = None
    outcome: Outcome | None = None
    result: Result = field(default_factory=Result)


def merge(context: Context, revision: str, wish: Wish) -> Done:
    """Merge a revision into HEAD. Conflict when something is in the way, or not finished."""
    repository = context.repository
    history = repository.history
    theirs, label = context.commit(revision), label_of(context, revision)
    head = history.head()
    done = Done(theirs, label, head)
    again = ("merge", revision)
    if head is None or _is_interrupted(context, again):
        return _forward(context, done, again)
    merge_state.refuse_if_pending(repository)
    restore_log.refuse_if_pending(repository)
    if history.is_ancestor(theirs.id, head):
        return done
    if history.is_ancestor(head, theirs.id) and wish.forward is not False:
        return _forward(context, done, again)
    if wish.forward is True:
        raise Conflict(
            f"HEAD and '{label}' have diverged: HEAD cannot just be moved forwards",
            hint=f"merge them with: treering merge {revision}",
        )
    message = wish.message or default_message(context, revision, label)
    request = Request(theirs, label, message, wish.regions, wish.favour, wish.unrelated)
    person = context.person()
    with context.progress() as progress:
        done.outcome = start(repository, context.work_tree(), request, person, progress=progress)
    done.result = done.outcome.result
    return done


def refuse_unfinished(context: Context) -> None:
    """Conflict where a merge is under way, or one was interrupted: what was asked for may have been
    about that one."""
    pending = restore_log.pending(context.repository)
    if pending is not None and pending.move is not None and pending.move.merging is not None:
        restore_log.refuse_if_pending(context.repository)
    merge_state.refuse_if_pending(context.repository)


def _is_interrupted(context: Context, again: tuple[str, ...]) -> bool:
    """Whether this very step forwards was begun."""
    pending = restore_log.pending(context.repository)
    move = pending.move if pending else None
    return move is not None and move.verb == FORWARD and move.again == again


def _forward(context: Context, done: Done, again: tuple[str, ...]) -> Done:
    done.step = Forward(done.old, done.theirs, again, FORWARD)
    done.result = forward(context, done.step)
    return done


def _ref_of(context: Context, revision: str) -> str | None:
    """The full name of the ref that a revision is, if it is one."""
    history = context.repository.history
    names = (revision, *(prefix + revision for prefix in (BRANCHES, TAGS, REMOTES)))
    return next((name for name in names if name.startswith("refs/") and history.ref(name)), None)


def label_of(context: Context, revision: str) -> str:
    """What a merged revision is called: its branch or tag, else its short commit id."""
    ref = _ref_of(context, revision)
    if ref is None:
        return context.commit(revision).short
    for prefix in (BRANCHES, TAGS, REMOTES):
        ref = ref.removeprefix(prefix)
    return ref


def default_message(context: Context, revision: str, label: str) -> str:
    """Merge branch 'night', as Git says it."""
    ref = _ref_of(context, revision) or ""
    kinds = {BRANCHES: "branch", TAGS: "tag", REMOTES: "remote-tracking branch"}
    kind = next((noun for prefix, noun in kinds.items() if ref.startswith(prefix)), "commit")
    branch = context.repository.history.branch()
    into = f" into {branch}" if branch not in (None, "main", "master") else ""
    return f"Merge {kind} '{label}'{into}\n"


def say_done(context: Context, done: Done) -> None:
    """What people read of it; sets the exit code where conflicts are left."""
    if done.outcome is not None:
        say_outcome(context, done.outcome)
    elif done.step is not None:
        say(forward_line(context, done.old, done.theirs))
        say_moved(done.result)
    else:
        say(f"Already up to date with '{done.label}'")


def say_outcome(context: Context, outcome: Outcome) -> None:
    commit, clashes = outcome.commit, outcome.merging.clashes
    if commit is not None:
        say_commit(context, commit)
        say(f" {change_line(commit.record.change)}")
    say_moved(outcome.result)
    if clashes:
        say(f"Merging '{outcome.merging.label}' left {count(len(clashes), 'conflict')}:")
        say_clashes(list(clashes))
        say_advice(list(clashes))


def finish(context: Context, result: Result, outcome: Outcome | None) -> None:
    """What goes to stderr, and the exit code."""
    if result.unowned:
        context.notice(f"the owners of {count(result.unowned, 'file')} could not be set")
    finish_report(context, result.report)
    if outcome is not None and outcome.merging.clashes:
        context.exit_code = exits.CONFLICT


def done_json(done: Done) -> Json:
    """The document that --json prints of a merge."""
    outcome, commit = done.outcome, None
    if outcome is not None:
        commit = outcome.commit.id if outcome.commit else None
    elif done.step is not None:
        commit = done.theirs.id
    clashes = outcome.merging.clashes if outcome else ()
    return {
        "label": done.label,
        "theirs": done.theirs.id,
        "old": done.old,
        "commit": commit,
        "fast_forward": done.step is not None,
        "conflicts": [clash_json(clash) for clash in clashes],
        **result_json(done.result),
    }


def result_json(result: Result) -> Json:
    numbers = {"files": result.files, "bytes": result.size, "deleted": result.deleted}
    return {**numbers, **report_json(result.report)}
