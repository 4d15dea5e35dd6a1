"""Plots as SVG files: bars of tools side by side, and curves on logarithmic axes.

The text stays text, and the same figures give the same file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "treering", "font.size": 9})


def bars(
    file: Path, title: str, groups: Sequence[str], values: Mapping[str, Sequence[float | None]]
) -> None:
    """A group of bars for each of `groups`, in it one bar for each tool of `values`; seconds."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(values)
    for number, (tool, heights) in enumerate(values.items()):
        places = [group + (number - (len(values) - 1) / 2) * width for group in range(len(groups))]
        axes.bar(places, [height or 0 for height in heights], width, label=tool)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel("seconds")
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    _save(figure, file)


def curves(
    file: Path,
    title: str,
    x: str,
    y: str,
    lines: Mapping[str, Sequence[tuple[float, float]]],
) -> None:
    """Points (x, y) of each line, joined, on logarithmic axes."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for label, points in lines.items():
        axes.loglog(*zip(*points, strict=True), marker="o", markersize=3, label=label)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(figure, file)


def _save(figure: Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})
