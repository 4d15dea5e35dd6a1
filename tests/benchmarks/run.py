"""`make bench`: treering beside restic, borg, bup and rsync, on the same data in the same run.

Makes the data sets in WORK once, installs the peers from Debian when it can, runs all steps in
turns (see rounds.py), and writes tables and plots into the document (`--write`). The samples
themselves go to figures/performance.json beside it, from which `--again` writes the tables anew.
Interrupted, it writes what it has. `--quick` takes less data and one round, three minutes in all,
and only prints.
Usage: run.py [--work DIR] [--rounds N] [--quick] [--write docs/performance.md] [--tools A,B]
              [image|tree|commands ...]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import commands
import peers
import report
from data import FULL, QUICK, Change, ImageChange, Scale, TreeChange, make_image, make_tree
from report import Results
from rounds import STEPS, Comparison, Sample

WHAT = ("image", "tree", "commands")


def compared(name: str, work: Path, scale: Scale, tools: list[type[peers.Tool]]) -> Comparison:
    if name == "image":
        data = make_image(work, scale)
        change: Change = ImageChange(data)
    else:
        data = make_tree(work, scale)
        change = TreeChange(data)
    return Comparison(name, data, change, [tool(data, work / tool.name) for tool in tools])


def samples(arguments: argparse.Namespace, tools: list[type[peers.Tool]]) -> Iterator[Sample]:
    scale = QUICK if arguments.quick else FULL
    for name in ("image", "tree"):
        if name in arguments.what:
            comparison = compared(name, arguments.work, scale, tools)
            for sample in comparison.run(arguments.rounds):
                print(
                    f"{sample.data:6} {sample.step:10} {sample.tool:9} {sample.wall:8.2f} s"
                    f"  cpu {sample.cpu:7.2f}  {report.mib(sample.memory):>8} MiB"
                    f"  stored {report.mib(sample.size):>9} MiB",
                    flush=True,
                )
                yield sample


def machine(tools: list[type[peers.Tool]], work: Path) -> str:
    """What it was measured on, in a line; and how each tool was used."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        f"Linux {platform.release()}, {os.cpu_count()} cores, {memory:.0f} GiB,"
        f" Python {platform.python_version()}.",
        "",
    ]
    for tool in tools:
        version = tool(work, work).version()
        lines.append(f"- {tool.name} {version}: {tool.note}")
    return "\n".join(lines)


def tables(kept: dict[str, object]) -> dict[str, str]:
    """What the document's places get, by their names."""
    results = Results(Sample(**each) for each in kept["samples"])  # type: ignore[attr-defined]
    places = {"machine": str(kept["machine"])}
    for name in dict.fromkeys(sample.data for sample in results.samples):
        places[f"{name} times"] = report.times(results, name)
    if results.samples:
        places["budgets"] = report.budgets(results)
        places["sizes"] = report.sizes(results)
        places["sent"] = report.sent(results)
        places["memory"] = report.memory(results)
    if kept["commands"]:
        head = ["command", "median of the whole process (span)", "budget", ""]
        timed = [commands.Timed(*each).row() for each in kept["commands"]]  # type: ignore[attr-defined]
        places["commands"] = report.table(head, timed)
    return places


def plots(kept: dict[str, object], folder: Path) -> None:
    from plot import bars  # needs matplotlib, which `--quick` does not

    results = Results(Sample(**each) for each in kept["samples"])  # type: ignore[attr-defined]
    for name in dict.fromkeys(sample.data for sample in results.samples):
        values = {
            tool: [results.wall(name, step, tool) for step in STEPS] for tool in results.tools()
        }
        bars(folder / f"{name}.svg", f"{name}: seconds of each step, medians", STEPS, values)


def measured(arguments: argparse.Namespace) -> dict[str, object]:
    tools = peers.installed(arguments.tools.split(","))
    kept: dict[str, object] = {"machine": machine(tools, arguments.work)}
    found: list[dict[str, object]] = []
    kept["samples"] = found
    try:
        for sample in samples(arguments, tools):
            found.append(asdict(sample))
    except KeyboardInterrupt:
        print("interrupted: the figures up to here")
    scale = QUICK if arguments.quick else FULL
    timed = commands.commands(arguments.work, arguments.rounds, scale)
    kept["commands"] = [tuple(each) for each in timed] if "commands" in arguments.what else []
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/treering-bench"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--tools", default=",".join(tool.name for tool in peers.TOOLS))
    parser.add_argument("what", nargs="*", default=WHAT)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.work, arguments.rounds = arguments.work / "quick", 1
    arguments.work.mkdir(parents=True, exist_ok=True)
    figures = (arguments.write or arguments.work / "performance.md").parent / "figures"
    file = figures / "performance.json"
    if not arguments.again:
        kept = measured(arguments)
        figures.mkdir(exist_ok=True)
        file.write_text(json.dumps(kept, indent=1) + "\n")
    kept = json.loads(file.read_text())
    for place, text in tables(kept).items():
        print(f"\n## {place}\n\n{text}")
    if arguments.write:
        report.fill(arguments.write, tables(kept))
        plots(kept, figures)
    if arguments.quick:
        shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
