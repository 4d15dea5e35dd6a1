"""Figures as Markdown tables, put where a document marks a place for them.

A document holds `<!-- figures: NAME -->` ... `<!-- end -->`; what is between is written by a
benchmark, the rest by people.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from data import REGION, REGIONS
from rounds import STEPS, Sample

BUDGETS: Mapping[tuple[str, str, str], float] = {
    ("image", "first", "restic"): 0.35,
    ("image", "first", "borg"): 0.5,
    ("tree", "first", "restic"): 0.35,
    ("tree", "first", "borg"): 0.35,
    ("tree", "none", "restic"): 0.25,
    ("image", "some", "restic"): 0.35,
    ("image", "restore", "restic"): 0.6,
    ("tree", "restore", "restic"): 0.6,
}
"""treering's time, as a part of a peer's."""

SIZE_BUDGET = 1.15
"""The store after three commits, as a part of the smallest peer's."""

NODE = 8.3 * 1024
"""Bytes that the push budget gives a rewritten node."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def fill(document: Path, places: Mapping[str, str]) -> None:
    """Put each text where the document marks its place. A place that is not there is an error."""
    text = document.read_text()
    for name, content in places.items():
        mark = re.compile(rf"(<!-- figures: {re.escape(name)} -->\n).*?(<!-- end -->)", re.S)
        found = mark.search(text)
        if not found:
            raise SystemExit(f"{document} has no place for {name}")
        text = f"{text[: found.start()]}{found[1]}\n{content}\n\n{found[2]}{text[found.end() :]}"
    document.write_text(text)


class Results:
    """Samples, and what is asked of them."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self.samples = list(samples)

    def of(self, data: str, step: str, tool: str) -> list[Sample]:
        chosen = (data, step, tool)
        return [s for s in self.samples if (s.data, s.step, s.tool) == chosen]

    def tools(self) -> list[str]:
        return list(dict.fromkeys(s.tool for s in self.samples))

    def wall(self, data: str, step: str, tool: str) -> float | None:
        found = self.of(data, step, tool)
        return statistics.median(s.wall for s in found) if found else None

    def ratios(self, data: str, step: str, tool: str) -> list[float]:
        """treering's time to the tool's, round by round."""
        ours = {s.round: s.wall for s in self.of(data, step, "treering")}
        return [ours[s.round] / s.wall for s in self.of(data, step, tool) if s.round in ours]

    def median(self, data: str, step: str, tool: str, field: str) -> float:
        return float(statistics.median(getattr(s, field) for s in self.of(data, step, tool)))


def times(results: Results, data: str) -> str:
    """Seconds of every tool at every step; CPU seconds behind them."""
    tools = results.tools()
    rows = []
    for step in STEPS:
        cells = []
        for tool in tools:
            wall = results.wall(data, step, tool)
            cpu = results.median(data, step, tool, "cpu") if wall is not None else 0
            cells.append("" if wall is None else f"{wall:.2f} ({cpu:.1f})")
        rows.append([step, *cells])
    return table(["step", *tools], rows)


def budgets(results: Results) -> str:
    """The budgets, what was measured, and the span of the rounds."""
    rows = []
    for (data, step, tool), budget in BUDGETS.items():
        ratios = results.ratios(data, step, tool)
        if ratios:
            median = statistics.median(ratios)
            span = f"{median:.2f} ({min(ratios):.2f} - {max(ratios):.2f})"
            verdict = "met" if median <= budget else "**missed**"
            rows.append([data, step, tool, span, f"{budget:.2f}", verdict])
    return table(["data", "step", "peer", "treering : peer", "budget", ""], rows)


def mib(value: float) -> str:
    return f"{value / (1 << 20):,.1f}"


def sizes(results: Results) -> str:
    """MiB stored at the end, and as a part of the smallest peer's; rsync's plain copy aside."""
    rows = []
    for data in dict.fromkeys(s.data for s in results.samples):
        ends = {
            tool: results.median(data, "some", tool, "size")
            for tool in results.tools()
            if results.of(data, "some", tool)
        }
        peers = [size for tool, size in ends.items() if tool not in ("treering", "rsync")]
        ratio = f"{ends['treering'] / min(peers):.2f}" if peers and "treering" in ends else ""
        cells = [mib(ends[tool]) if tool in ends else "" for tool in results.tools()]
        rows.append([data, *cells, ratio])
    return table(["data", *results.tools(), "treering : smallest peer"], rows)


def memory(results: Results) -> str:
    """The largest peak of anonymous memory at any step, MiB."""
    rows = []
    for data in dict.fromkeys(s.data for s in results.samples):
        peaks = [
            max(s.memory for s in results.samples if (s.data, s.tool) == (data, tool))
            for tool in results.tools()
        ]
        rows.append([data, *(f"{peak / (1 << 20):.0f}" for peak in peaks)])
    return table(["data", *results.tools()], rows)


def sent(results: Results) -> str:
    """What the push of the changed part sent. The regions of the image do not compress, so its
    budget is known: each region, and of each rewritten node its size."""
    rows = []
    for data in dict.fromkeys(s.data for s in results.samples):
        found = [s.sent for s in results.of(data, "push some", "treering") if s.sent is not None]
        if found:
            size, objects = sorted(found)[len(found) // 2]
            row = [data, f"{size / 1024:,.1f} KiB", str(objects)]
            allowed = 1.1 * REGION * REGIONS + NODE * (objects - REGIONS)
            row.append(f"{size / allowed:.2f}" if data == "image" else "")
            rows.append(row)
    return table(["data", "sent for the changed part", "objects", "sent : budget"], rows)
