"""Making, moving and deleting branches and tags."""

from __future__ import annotations

from ..store.errors import Conflict, InvalidInput, NotFound
from ..store.history import RefUpdate, valid_branch
from .context import Context


def check_name(name: str, noun: str) -> None:
    """InvalidInput for what Git would not take as the name of a branch or tag."""
    if not valid_branch(name) or name in ("HEAD", "@"):
        raise InvalidInput(f"'{name}' is not a valid name for a {noun}")


def make_ref(context: Context, prefix: str, name: str, revision: str, *, force: bool) -> str:
    """Make a ref at a revision, or with `force` move one; the commit's id."""
    noun = _noun(prefix)
    check_name(name, noun)
    history = context.repository.history
    old = history.ref(prefix + name)
    if old is not None and not force:
        raise Conflict(f"a {noun} named '{name}' exists already", hint="--force moves it")
    commit = context.commit(revision)
    if commit.id != old:
        move_refs(context, [RefUpdate(prefix + name, old, commit.id)], f"{noun}: {name}")
    return commit.id


def existing(context: Context, prefix: str, name: str) -> str:
    """What a ref names. NotFound where there is none."""
    target = context.repository.history.ref(prefix + name)
    if target is None:
        raise NotFound(f"there is no {_noun(prefix)} '{name}'")
    return target


def move_refs(context: Context, updates: list[RefUpdate], message: str) -> None:
    repository = context.repository
    repository.history.update_refs(updates, context.person(hint=False), message)
    repository.mark_finalized(updates)


def _noun(prefix: str) -> str:
    return "tag" if prefix.endswith("tags/") else "branch"
