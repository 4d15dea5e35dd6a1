"""Which commits are kept: those that a ref leads to, and those that only a reflog still does."""

from __future__ import annotations

from collections.abc import Iterator

from .history import Commit, History


def of_refs(history: History) -> Iterator[Commit]:
    """What HEAD or any ref leads to, newest first."""
    return history.log(_ref_tips(history))


def of_reflogs_alone(history: History) -> Iterator[Commit]:
    """What a reflog leads to, and no ref, newest first."""
    return history.log(_reflog_tips(history), _ref_tips(history))


def of_all(history: History) -> Iterator[Commit]:
    """What a ref or a reflog leads to, newest first."""
    return history.log(_ref_tips(history) | _reflog_tips(history))


def _ref_tips(history: History) -> set[str]:
    head = history.head()
    return {*history.tips().values(), *([head] if head else [])}


def _reflog_tips(history: History) -> set[str]:
    named = {oid for name in ("HEAD", *history.refs()) for oid in history.reflog_ids(name)}
    return {tip for oid in named if (tip := history.peeled(oid)) is not None}
