"""Lines that several commands print: changes, problems, ahead and behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..store.history import REMOTES, Commit
from ..store.quoting import quote_path
from ..store.repository import Repository
from ..store.root_record import Change
from ..tracker.report import Report
from . import exits
from .context import Context
from .output import Json, path_json, say, tell
from .sizes import count, format_size
from .upstreams import followed

if TYPE_CHECKING:
    from ..tracker.restore_plan import Result

SHOWN = 10


def change_line(change: Change) -> str:
    """3 files, 64 regions, 4.0 MiB changed, 2.1 MiB stored"""
    return (
        f"{count(change.files, 'file')}, {count(change.regions, 'region')},"
        f" {format_size(change.size)} changed, {format_size(change.stored)} stored"
    )


def finish_report(context: Context, report: Report, new_sockets: int = 0) -> None:
    """Say what was met, on stderr, and set the exit code when something was not done. Sockets are
    said when they are new, and all with -v."""
    if report.problem_count:
        context.exit_code = exits.WARNINGS
    if context.json:
        return
    for remark in report.remarks[: None if context.verbose else SHOWN]:
        context.notice(f"{quote_path(remark.path)}: {remark.what}")
    if len(report.remarks) > SHOWN and not context.verbose:
        context.notice(f"and {len(report.remarks) - SHOWN} more such remarks (-v shows them)")
    sockets = report.sockets if context.verbose else new_sockets
    if sockets:
        context.notice(f"{count(sockets, 'socket')} left out")
    shown = report.problems[: None if context.verbose else SHOWN]
    for problem in shown:
        tell(f"treering: warning: {quote_path(problem.path)}: {problem.what}")
    if report.problem_count > len(shown):
        tell(f"treering: warning: and {report.problem_count - len(shown)} more")


def message_of(paragraphs: tuple[str, ...]) -> str:
    """The message that -m, given several times, means; empty when there is none."""
    text = "\n\n".join(paragraphs).strip()
    return text + "\n" if text else ""


def say_commit(context: Context, commit: Commit) -> None:
    """[main 0123456789] title"""
    branch = context.repository.history.branch() or "detached HEAD"
    say(f"[{branch} {commit.short}] {commit.title}")


def say_moved(result: Result) -> None:
    """What a move wrote and deleted, unless it was nothing."""
    done = []
    if result.files:
        done.append(f"{count(result.files, 'file')}, {format_size(result.size)} written")
    if result.deleted:
        done.append(f"{count(result.deleted, 'name')} deleted")
    if done:
        say(f" {', '.join(done)}")


def report_json(report: Report) -> Json:
    def listed(remarks: list[Any]) -> list[Json]:
        return [{**path_json(remark.path), "what": remark.what} for remark in remarks]

    return {
        "problems": listed(report.problems),
        "problem_count": report.problem_count,
        "remarks": listed(report.remarks),
        "sockets": report.sockets,
    }


def ahead_behind(repository: Repository, branch: str | None) -> Json | None:
    """How a branch and what it follows differ, or None where it follows nothing."""
    history = repository.history
    head = history.head()
    upstream = followed(repository, branch) if branch else None
    target = history.ref(upstream.tracking) if upstream else None
    if upstream is None or target is None or head is None:
        return None
    ahead, behind = history.ahead_behind(head, target)
    return {"ref": upstream.tracking, "ahead": ahead, "behind": behind}


def ahead_behind_line(found: Json) -> str:
    name = found["ref"].removeprefix(REMOTES)
    ahead, behind = found["ahead"], found["behind"]
    if ahead and behind:
        return f"Your branch and '{name}' have diverged: {ahead} and {count(behind, 'commit')}."
    if ahead:
        return f"Your branch is ahead of '{name}' by {count(ahead, 'commit')}."
    if behind:
        return f"Your branch is behind '{name}' by {count(behind, 'commit')}."
    return f"Your branch is up to date with '{name}'."
