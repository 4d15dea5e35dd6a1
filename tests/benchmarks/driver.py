"""`make bench-driver`: an attached tree beside the file system below, bindfs and passthrough_ll.

Each task is done on each system in turn, ROUNDS times; the table has medians, and what treering
makes of the others' rate (of a time, the inverse), with the budgets. Needs root.
Usage: driver.py [--work DIR] [--rounds N] [--write docs/performance.md] [--systems A,B] [TASK ...]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import driver_systems
import report
from driver_systems import SYSTEMS
from driver_work import TASKS, Task

BUDGETS: Final = {
    ("1 MiB writes", "passthrough_ll"): 0.8,
    ("4 KiB random writes", "passthrough_ll"): 0.8,
    ("4 KiB random writes, 4 clients", "passthrough_ll"): 0.8,
    ("creates", "passthrough_ll"): 0.5,
    ("git status", "native"): 0.5,
    ("pgbench, 4 clients", "native"): 0.7,
}
Found = Mapping[str, list[float]]


def measure(task: Task, systems: list[str], rounds: int, work: Path) -> Found:
    """The figures of each system, one a round."""
    found: dict[str, list[float]] = {name: [] for name in systems}
    for number in range(rounds):
        for name in systems:
            place = work / name.replace(", ", "-").replace(" ", "-")
            place.mkdir(exist_ok=True)
            with SYSTEMS[name](place) as top:
                found[name].append(task.run(top))
            print(
                f"{number} {task.name:32} {name:22} {found[name][-1]:10.2f} {task.unit}", flush=True
            )
    return found


def ratios(task: Task, found: Found, other: str) -> list[float]:
    """treering's rate to another's, round by round."""
    pairs = zip(found["treering"], found[other], strict=True)
    return [ours / theirs if task.more else theirs / ours for ours, theirs in pairs]


def tables(results: Mapping[Task, Found], systems: list[str]) -> dict[str, str]:
    rows = []
    for task, found in results.items():
        figures = [_figure(task, found.get(name, [])) for name in systems]
        rows.append([f"{task.name}, {task.unit}", *figures])
    budgets = []
    for (name, other), wanted in BUDGETS.items():
        for task, found in results.items():
            if task.name == name and other in found and "treering" in found:
                each = ratios(task, found, other)
                middle = statistics.median(each)
                span = f"{middle:.2f} ({min(each):.2f} - {max(each):.2f})"
                verdict = "met" if middle >= wanted else "**missed**"
                budgets.append([name, other, span, f"{wanted:.2f}", verdict])
    head = ["task", "other", "treering : other", "budget", ""]
    return {
        "driver": report.table(["task", *systems], rows),
        "driver budgets": report.table(head, budgets),
    }


def _figure(task: Task, values: list[float]) -> str:
    if not values:
        return ""
    middle = statistics.median(values)
    return f"{middle:,.0f}" if task.more else f"{middle:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/treering-bench-driver"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--systems", default=",".join(SYSTEMS).replace(", ", "; "))
    parser.add_argument("tasks", nargs="*")
    arguments = parser.parse_args()
    systems = [name.replace("; ", ", ") for name in arguments.systems.split(",")]
    driver_systems.install()
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.work.chmod(0o755)
    results = {}
    for task in TASKS:
        if not arguments.tasks or any(word in task.name for word in arguments.tasks):
            chosen = [name for name in systems if not task.only or name in task.only]
            results[task] = measure(task, chosen, arguments.rounds, arguments.work)
    made = tables(results, systems)
    for name, text in made.items():
        print(f"\n{name}\n\n{text}")
    for name, size in driver_systems.memory.items():
        print(f"\nanonymous memory of the driver, {name}: {size / 2**20:.0f} MiB")
    if arguments.write:
        report.fill(arguments.write, made)
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
