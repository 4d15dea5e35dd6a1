"""Making, moving and deleting branches and tags."""

from __future__ import annotations

from ..store import ref_moves
from ..store.errors import Conflict, InvalidInput, NotFound
from ..store.history import TAGS, RefUpdate, valid_branch
from .context import Context


def check_name(name: str, noun: str) -> None:
    """InvalidInput for what Git would not take as the name of a branch or tag."""
    if not valid_branch(name) or name in ("HEAD", "@"):
        raise InvalidInput(f"'{name}' is not a valid name for a {noun}")


def make_ref(context: Context, prefix: str, name: str, revision: str, *, force: bool) -> str:
    """Make a ref at a revision, or with `force` move one; the commit's id."""
    old = _free(context, prefix, name, force)
    commit = context.commit(revision)
    if commit.id != old:
        update = RefUpdate(prefix + name, old, commit.id)
        move_refs(context, [update], f"{_noun(prefix)}: {name}")
    return commit.id


def make_tag(context: Context, name: str, revision: str, message: str, *, force: bool) -> None:
    """Make an annotated tag at a revision, or with `force` put it in the place of one."""
    old = _free(context, TAGS, name, force)
    commit, history = context.commit(revision), context.repository.history
    made = history.write_tag(name, commit.id, context.person(), message)
    move_refs(context, [RefUpdate(TAGS + name, old, made)], f"tag: {name}")


def _free(context: Context, prefix: str, name: str, force: bool) -> str | None:
    """What the ref holds, which is nothing unless `force` may move it."""
    noun = _noun(prefix)
    check_name(name, noun)
    old = context.repository.history.ref(prefix + name)
    if old is not None and not force:
        raise Conflict(f"a {noun} named '{name}' exists already", hint="--force moves it")
    return old


def existing(context: Context, prefix: str, name: str) -> str:
    """What a ref names. NotFound where there is none."""
    target = context.repository.history.ref(prefix + name)
    if target is None:
        raise NotFound(f"there is no {_noun(prefix)} '{name}'")
    return target


def move_refs(context: Context, updates: list[RefUpdate], message: str) -> None:
    ref_moves.move_refs(context.repository, updates, context.person(hint=False), message)


def _noun(prefix: str) -> str:
    return "tag" if prefix.endswith("tags/") else "branch"
