"""A commit as text, for log and show."""

from __future__ import annotations

from collections.abc import Iterator

from ..store.history import BRANCHES, REMOTES, TAGS, Commit, History, Tag
from .output import Json, format_time
from .summary import change_line


def decorations(history: History) -> dict[str, str]:
    """Commit id -> " (HEAD -> main, origin/main)"."""
    names: dict[str, list[str]] = {}
    branch, head = history.branch(), history.head()
    if head:
        names.setdefault(head, []).append(f"HEAD -> {branch}" if branch else "HEAD")
    for ref, target in history.tips().items():
        if ref == f"{BRANCHES}{branch}":
            continue
        short = f"tag: {ref.removeprefix(TAGS)}" if ref.startswith(TAGS) else ref
        short = short.removeprefix(BRANCHES).removeprefix(REMOTES)
        names.setdefault(target, []).append(short)
    return {target: f" ({', '.join(found)})" for target, found in names.items()}


def full(commit: Commit, names: str) -> Iterator[str]:
    """The lines that log and show print of a commit."""
    yield f"commit {commit.id}{names}"
    yield f"Root:   {commit.root.hex()}"
    if len(commit.parents) > 1:
        yield "Merge:  " + " ".join(parent[:10] for parent in commit.parents)
    yield f"Author: {commit.author.name} <{commit.author.email}>"
    yield f"Date:   {format_time(commit.author)}"
    yield ""
    for line in commit.message.rstrip("\n").split("\n"):
        yield f"    {line}".rstrip()
    yield ""
    yield f"    {change_line(commit.record.change)}"


def full_tag(tag: Tag) -> Iterator[str]:
    """The lines that show prints of an annotated tag."""
    yield f"tag {tag.name}"
    if tag.tagger is not None:
        yield f"Tagger: {tag.tagger.name} <{tag.tagger.email}>"
        yield f"Date:   {format_time(tag.tagger)}"
    yield ""
    yield from tag.message.rstrip("\n").split("\n")
    yield ""


def tag_json(tag: Tag) -> Json:
    tagger = tag.tagger._asdict() if tag.tagger is not None else None
    return {"id": tag.id, "tagger": tagger, "message": tag.message}
