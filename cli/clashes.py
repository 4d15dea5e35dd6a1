"""What people read of a merge under way: the paths in dispute, and what to do about each."""

from __future__ import annotations

from pathlib import Path

from ..tracker.merge_state import Clash, Merging, unsettled
from .output import Json, path_json, say, show_path
from .sizes import count

WORDS = {
    "changed": "changed on both sides:",
    "added": "added on both sides:",
    "deleted-here": "deleted here, changed there:",
    "deleted-there": "changed here, deleted there:",
    "kind": "of another kind there:",
    "attributes": "attributes changed on both sides:",
}


def say_clashes(clashes: list[Clash], zero: bool = False) -> None:
    """What is in dispute at each path, and where their version stands."""
    width = max(len(WORDS[clash.what]) for clash in clashes)
    for clash in clashes:
        beside = f"  (theirs: {show_path(clash.beside, zero)})" if clash.beside else ""
        say(f"        {WORDS[clash.what]:{width}}  {show_path(clash.path or b'.', zero)}{beside}")


def say_advice(clashes: list[Clash]) -> None:
    """What to do about these."""
    if any(clash.beside is not None for clash in clashes):
        say("  (put what is right in the place of ours, and delete theirs)")
    say("  (or take one side with: treering merge --ours [PATH], or --theirs [PATH])")
    say("  (then: treering merge --continue; or go back with: treering merge --abort)")


def say_merging(merging: Merging, top: Path, zero: bool = False) -> None:
    """The lines of status about a merge."""
    left = unsettled(merging, top)
    if not left:
        say(f"Merging '{merging.label}' ({merging.theirs[:10]}): everything is settled.")
        say(
            "  (finish it with: treering merge --continue; or go back with: treering merge --abort)"
        )
        return
    conflicts = count(len(left), "conflict")
    say(f"Merging '{merging.label}' ({merging.theirs[:10]}): {conflicts} left:")
    say_clashes(left, zero)
    say_advice(left)


def merging_json(merging: Merging | None, top: Path) -> Json | None:
    if merging is None:
        return None
    return {
        "label": merging.label,
        "commit": merging.theirs,
        "conflicts": [clash_json(clash) for clash in unsettled(merging, top)],
    }


def clash_json(clash: Clash) -> Json:
    theirs = path_json(clash.beside, "theirs") if clash.beside is not None else {"theirs": None}
    return {**path_json(clash.path), "what": clash.what, **theirs}
