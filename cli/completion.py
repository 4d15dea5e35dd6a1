"""What a shell may offer behind a word: branches, tags, remotes, and the paths in REV:PATH.

Runs at each press of a key: it opens the repository for reading only as far as it must, walks the
nodes of one folder, and is silent about whatever goes wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

import click

from .context import Context

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VARIABLE: Final = "_TREERING_COMPLETE"
MOST: Final = 1000
"""Offers of one word: nobody reads more."""

Offer = Callable[[Context, str], Iterator[str]]


def revisions(context: Context, word: str) -> Iterator[str]:
    """Branches, tags, HEAD; behind a colon the paths of that commit."""
    from ..store.history import BRANCHES, REMOTES, TAGS

    if ":" in word:
        yield from _paths(context, word)
        return
    first, dots, last = word.rpartition("..")
    known = [
        ref.removeprefix(BRANCHES).removeprefix(TAGS).removeprefix(REMOTES)
        for ref in context.repository.history.refs()
    ]
    for name in ("HEAD", *sorted(known)):
        if name.startswith(last):
            yield first + dots + name


def _paths(context: Context, word: str) -> Iterator[str]:
    from ..store import directories, trees

    revision, _, path = word.partition(":")
    folder, _, begun = path.rpartition("/")
    commit, where = context.split_revision(f"{revision}:{folder}")
    start = f"{revision}:{folder}/" if folder else f"{revision}:"
    store = context.repository.store
    top = trees.lookup(store, trees.load_root(store, commit.root).top, where)
    for entry in directories.entries(store, top.content):
        name = os.fsdecode(entry.name)
        if name.startswith(begun):
            yield f"{start}{name}{'/' if entry.is_folder else ''}"


def branches(context: Context, word: str) -> Iterator[str]:
    from ..store.history import BRANCHES

    return _below(context, BRANCHES, word)


def tags(context: Context, word: str) -> Iterator[str]:
    from ..store.history import TAGS

    return _below(context, TAGS, word)


def local_refs(context: Context, word: str) -> Iterator[str]:
    """What can be pushed."""
    yield from branches(context, word)
    yield from tags(context, word)


def remote_refs(context: Context, word: str) -> Iterator[str]:
    """What can be fetched, as far as it is known here: the branches of all remotes."""
    from ..store.history import REMOTES

    names = {ref.split("/", 3)[3] for ref in context.repository.history.refs(REMOTES)}
    return (name for name in sorted(names) if name.startswith(word))


def files(context: Context, word: str) -> Iterator[str]:
    """Nothing of ours: the shell offers the files it sees."""
    return iter(())


def _below(context: Context, prefix: str, word: str) -> Iterator[str]:
    names = (ref.removeprefix(prefix) for ref in context.repository.history.refs(prefix))
    return (name for name in sorted(names) if name.startswith(word))


def remotes(context: Context, word: str) -> Iterator[str]:
    names = context.repository.config.subsections("remote")
    return (name for name in names if name.startswith(word))


def offering(*some: Offer) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """For `shell_complete` of an argument: what its first word may be, and what those behind it;
    files, as the shell offers them, where nothing fits."""

    def offer(ctx: click.Context, parameter: click.Parameter, word: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        given = ctx.params.get(parameter.name or "") or ()
        place = len(given) if isinstance(given, tuple) else 0
        context = Context()
        try:
            for path in (ctx.parent and ctx.parent.params.get("directory")) or ():
                context.start = (context.start / path).resolve()
            found = some[min(place, len(some) - 1)](context, word)
            items = [CompletionItem(value) for value in islice(found, MOST)]
        except Exception:  # nothing may disturb the line that is being typed
            items = []
        finally:
            context.close()
        return items or [CompletionItem(word, type="file")]

    return offer


def complete(program: click.Command) -> None:
    """Answer a shell's question, which stands in the environment."""
    from click.shell_completion import shell_complete

    instruction = os.environ[VARIABLE]
    shell_complete(program, {}, "treering", VARIABLE, instruction)
